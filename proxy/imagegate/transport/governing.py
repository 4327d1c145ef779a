"""What holds for one transport: the policy, where records go, who asks.

A policy that is wrong is an error at once. The audit is opened with the first
request, because servers make their clients before they fork, and a journal belongs to
one process.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from starlette.types import Scope

from imagegate.audit import Audit
from imagegate.audit.journal import Journal
from imagegate.engine.gate import Gate
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.gates import Gates, load_gate
from imagegate.middleware import Identify, Limits, PolicyMiddleware
from imagegate.middleware.own import OwnPaths
from imagegate.seen import MemorySeen, Seen
from imagegate.transport.forwarding import forward


class Options(TypedDict, total=False):
    """What may be said about a transport besides its policy and its audit.

    Attributes:
        principal: Who asks: always the same, or found out from each request.
        limits: How much of a request is taken.
        seen: Keeps what was judged, for requests that refer to it; in memory, and
            for this transport alone, unless a store is given.
        own_paths: Paths that are none of the policy's business, as of the
            middleware.
        prefix: What stands before the provider's paths in the base URL, without a
            slash at its end: `/llm` for `https://relay.example/llm/v1`.
    """

    principal: Principal | Identify
    limits: Limits
    seen: Seen
    own_paths: Sequence[str]
    prefix: str


class Governing:
    """The middleware of one transport, from its first request to its end."""

    def __init__(
        self,
        policy: str | Path | Gate | Gates,
        audit: str | Path | Audit,
        **options: Unpack[Options],
    ) -> None:
        """Take what holds.

        Args:
            policy: A file, a folder, the name of one that ships; or laid out, or
                what holds one, to replace it while this runs.
            audit: A directory for a journal, which is then opened and closed here,
                or an audit that is open, which whoever opened it closes.
            options: The rest.

        Raises:
            OSError: When there is no such policy.
            PolicyError: When the policy cannot be used; it says why, and where.
            TypeError: For an option that there is not.
            ValueError: When one of `own_paths` could lead to an image.
        """
        # Python lets any name through here: `identify` instead of `principal`, say,
        # would make everybody anonymous without a word.
        if unknown := options.keys() - Options.__annotations__.keys():
            known = ", ".join(Options.__annotations__)
            raise TypeError(f"no option {min(unknown)!r}; there are {known}")
        self.prefix = options.get("prefix", "")
        self._gate = load_gate(policy) if isinstance(policy, str | Path) else policy
        self._audit = audit
        self._identify = _identify(options.get("principal", ANONYMOUS))
        self._limits = options.get("limits")
        self._seen = options.get("seen") or MemorySeen()
        self._own_paths = options.get("own_paths", ())
        self._lock = threading.Lock()
        self._begun: PolicyMiddleware | None = None
        self._pid = 0
        self._closing: weakref.finalize[..., Governing] | None = None
        self._closed = False
        OwnPaths(self._own_paths)  # what is wrong with them is said now

    def begun(self) -> PolicyMiddleware | None:
        """Return what judges requests, if it was begun here.

        Raises:
            RuntimeError: When it cannot be used any more, or not in this process.
        """
        if self._closed:
            raise RuntimeError("the transport is closed")
        if self._begun is not None and self._pid != os.getpid():
            raise RuntimeError(
                "the transport was used before the process forked, and its audit"
                " belongs to the other process; make one transport in each"
            )
        return self._begun

    def begin(self) -> PolicyMiddleware:
        """Open the audit, if that is ours to do; it may read files, and so block."""
        with self._lock:
            begun = self.begun()
            if begun is not None:
                return begun
            audit = self._audit
            if isinstance(audit, str | Path):
                journal = Journal.open(Path(audit))
                self._closing = weakref.finalize(self, _close, journal, os.getpid())
                audit = journal
            self._begun, self._pid = self._built(audit), os.getpid()
            return self._begun

    def close(self) -> None:
        """Close the audit, if it was opened here; it may write, and so block."""
        with self._lock:
            self._closed = True
            if self._closing is not None:
                self._closing()

    def _built(self, audit: Audit) -> PolicyMiddleware:
        return PolicyMiddleware(
            forward,
            gate=self._gate,
            audit=audit,
            identify=self._identify,
            limits=self._limits,
            seen=self._seen,
            own_paths=self._own_paths,
            way="in_process",
        )


def _close(journal: Journal, pid: int) -> None:
    """Close a journal, unless it is another process's."""
    if pid == os.getpid():
        journal.close_now()


def _identify(principal: Principal | Identify) -> Identify:
    if not isinstance(principal, Principal):
        return principal
    always = principal

    async def identify(scope: Scope) -> Principal:
        del scope
        return always

    return identify
