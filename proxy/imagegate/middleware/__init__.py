"""PolicyMiddleware: the engine around any ASGI application that answers requests.

It knows no HTTP client. Embedded in somebody's application or in front of the
forwarder, a request walks the same rooms: find the door, read, decide, record, and
only then go on; each piece of the answer is observed, recorded, and then relayed.

It runs on asyncio. Embedded, it governs all paths of the application that it is
around: a path that is no door is refused, unless it is named in `own_paths`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imagegate.audit import Audit
from imagegate.engine.gate import Gate
from imagegate.engine.quota import Outage
from imagegate.gates import Gates
from imagegate.middleware.asked import asked_in
from imagegate.middleware.load import Load
from imagegate.middleware.own import OwnPaths
from imagegate.middleware.responder import Responder
from imagegate.middleware.setup import (
    Identify,
    Limits,
    Setup,
    Way,
    anonymous,
    load_of,
)
from imagegate.quotas import MemoryQuotas, Quotas
from imagegate.seen import MemorySeen, Seen

__all__ = ["Identify", "Limits", "PolicyMiddleware", "Way", "anonymous", "load_of"]

_LAST_SECONDS: Final = 5.0
"""What exchanges get to write down how they ended, when the server stops."""


class PolicyMiddleware:
    """Holds requests against a policy, each against the one that holds as it comes."""

    def __init__(  # noqa: PLR0913 - the parts, each by its name
        self,
        app: ASGIApp,
        *,
        gate: Gate | Gates,
        audit: Audit,
        identify: Identify = anonymous,
        limits: Limits | None = None,
        seen: Seen | None = None,
        quotas: Quotas | None = None,
        outage: Outage = "refuse",
        load: Load | None = None,
        own_paths: Sequence[str] = (),
        way: Way = "http",
        realm: str = "",
    ) -> None:
        """Wrap an application.

        Args:
            app: Forwards, or answers, what is let through. When its client leaves
                before the answer is complete, it gets `http.disconnect`, its `send`
                raises an `OSError`, and it is cancelled.
            gate: The policy, laid out; or what holds one, to replace it while this
                runs.
            audit: Where records go.
            identify: Says who asks.
            limits: How much of a request is taken.
            seen: Keeps what was judged, for requests that refer to it; in memory
                unless several processes are to share it.
            quotas: Counts what the policy's quotas are about; in memory unless several
                processes are to share it.
            outage: What is done where that cannot be asked.
            load: Counts what is under way at once, where several of these share it.
            own_paths: Paths of the application that are none of the policy's
                business, below any mount point: `/health`, or `/static/*` with all
                that is below. They are neither judged nor recorded.
            way: How requests come, for the records.
            realm: Names the provider, where several share what was judged and counted.

        Raises:
            ValueError: When one of `own_paths` could lead to an image.
        """
        gates = Gates.of(gate)
        self._setup = Setup(
            app=app,
            gates=gates,
            edition=gates.current,
            audit=audit,
            identify=identify,
            limits=limits or Limits(),
            seen=seen or MemorySeen(),
            quotas=quotas or MemoryQuotas(),
            outage=outage,
            load=load or load_of(limits or Limits()),
            way=way,
            realm=realm,
        )
        self._own = OwnPaths(own_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] == "lifespan":
            await self._setup.app(scope, self._last(receive), send)
            return
        if scope["type"] not in {"http", "websocket"}:
            raise ValueError(f"cannot judge a scope of type {scope['type']!r}")
        asked = asked_in(scope)
        if self._own.has(asked):
            told = {**scope, "headers": asked.head.without()}
            await self._setup.app(told, receive, send)
            return
        setup = self._setup = self._setup.up_to_date()
        await Responder(setup, asked, receive, send).respond()

    async def ended(self) -> None:
        """Wait until what was under way is on record, for some seconds at most.

        A server that stops cancels requests, and does not wait for them. The lifespan
        that comes by here waits by itself; one that does not, as of an application
        in which this is mounted, awaits this before it closes the audit.
        """
        await self._setup.load.ended(_LAST_SECONDS)

    def _last(self, receive: Receive) -> Receive:
        """Let an application hear of the shutdown behind the last exchange."""

        async def receiving() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.ended()
            return message

        return receiving
