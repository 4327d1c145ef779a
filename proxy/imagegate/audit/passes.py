"""Those who write in one pass of an event loop share an append.

An append costs two calls of the kernel, whatever is in it. Who is the first in a pass
writes at once: where there is one connection, nobody waits. Who comes behind, in
another task, waits for the end of the pass, when one append writes what all of them
have. While passes have several writers, the first one waits with the others.

What is promised stays what it is without: whoever comes back without an error has
its records in the file, in the order of coming; whoever is cancelled while it waits
has them there too.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from imagegate.audit.chain import Entry, entries_of
from imagegate.audit.events import Written

_Loop: TypeAlias = asyncio.AbstractEventLoop
_Outcome: TypeAlias = "tuple[asyncio.Future[None], Exception | None]"


class Appends(Protocol):
    """What appends entries: `Ledger.append`."""

    def __call__(self, entries: list[Entry], *, keep: bool = False) -> None:
        """Append entries; those written leave the list.

        Raises:
            AuditUnavailableError: When not all of them could be written.
        """


class _Waiting(msgspec.Struct):
    records: Sequence[Written]
    future: asyncio.Future[None]


class _Pass(msgspec.Struct):
    """A pass in which somebody writes.

    Attributes:
        first: Whose task was the first.
        at_once: Whether that one has written.
        waiting: Who waits for the end.
    """

    first: asyncio.Task[Any] | None
    at_once: bool
    waiting: list[_Waiting] = []


class Passes:
    """What waits for the end of a pass, of each loop."""

    def __init__(self, append: Appends) -> None:
        """Take what appends."""
        self._append = append
        self._lock = threading.Lock()
        self._passes: dict[_Loop, _Pass] = {}
        self._crowded: _Loop | None = None  # its last pass had several writers

    def write(self, records: Sequence[Written]) -> asyncio.Future[None] | None:
        """Write records, now or at the end of this pass.

        Returns:
            What to wait for; None when they are written.

        Raises:
            AuditUnavailableError: When not all of them could be written.
        """
        waiting = self._join(records)
        if waiting is None:
            self._append(entries_of(records))
        return waiting

    def finish(self) -> None:
        """Write what waits on any loop; from any thread."""
        with self._lock:
            passes, self._passes = self._passes, {}
        for loop, each in passes.items():
            for future, error in self._written(each.waiting):
                with contextlib.suppress(RuntimeError):  # a loop that was closed
                    loop.call_soon_threadsafe(_tell, future, error)

    def _join(self, records: Sequence[Written]) -> asyncio.Future[None] | None:
        """Let records wait if there are those of others, or are likely to be."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return None  # there are no passes
        task = asyncio.current_task(loop)
        with self._lock:
            now = self._passes.get(loop)
            if now is None:
                now = _Pass(task, loop is not self._crowded)
                self._passes[loop] = now
                loop.call_soon(self._end, loop)
                if now.at_once:
                    return None
            elif task is now.first and not now.waiting:
                return None  # the same one again
            future: asyncio.Future[None] = loop.create_future()
            now.waiting.append(_Waiting(records, future))
            return future

    def _end(self, loop: _Loop) -> None:
        """End a pass; called by its loop."""
        with self._lock:
            ended = self._passes.pop(loop, None)
        if ended is None or not ended.waiting:
            return
        several = len(ended.waiting) + ended.at_once > 1
        self._crowded = loop if several else None
        for future, error in self._written(ended.waiting):
            _tell(future, error)

    def _written(self, waiting: Sequence[_Waiting]) -> list[_Outcome]:
        """Write what waits, and say of each how that went.

        All is written in one piece. Where that fails each is tried alone, as it would
        have been without the others.
        """
        left: list[Entry] | None = None
        try:
            left = entries_of([record for each in waiting for record in each.records])
            self._append(left, keep=len(waiting) > 1)
        except Exception as error:  # noqa: BLE001 - each gets its own, and none is left waiting
            if len(waiting) == 1:
                return [(waiting[0].future, error)]
        else:
            return [(each.future, None) for each in waiting]
        return [
            (each.future, self._tried(rest))
            for each, rest in zip(waiting, _shared(waiting, left), strict=True)
        ]

    def _tried(self, rest: Sequence[Written]) -> Exception | None:
        try:
            if rest:
                self._append(entries_of(rest))
        except Exception as error:  # noqa: BLE001 - as above
            return error
        return None


def _shared(
    waiting: Sequence[_Waiting], left: Sequence[Entry] | None
) -> Iterator[Sequence[Written]]:
    """Yield of each who waits the records that are not written."""
    total = sum(len(each.records) for each in waiting)
    there = 0 if left is None else total - len(left)
    for each in waiting:
        yield each.records[there:]
        there = max(0, there - len(each.records))


def _tell(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return  # who waited was cancelled
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
