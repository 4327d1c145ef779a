"""One thread that makes what was written last; whoever waits shares the next round."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeAlias

from imagegate.audit.sink import AuditUnavailableError

_Waiting: TypeAlias = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Flusher:
    """Does its work when it is asked to: once for all who asked before it began."""

    def __init__(self, work: Callable[[], None], *, pause: float) -> None:
        """Start the thread.

        Args:
            work: What to do; raises `AuditUnavailableError` when it cannot.
            pause: How long to wait for more after being asked, in seconds.
        """
        self._work = work
        self._pause = pause
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._thread = threading.Thread(
            target=self._run, name="imagegate-audit-flusher", daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """Ask for a round; nobody waits for it."""
        if not self._asked.is_set():
            self._asked.set()

    async def done(self) -> None:
        """Wait for a round that begins after now.

        Raises:
            AuditUnavailableError: When its work could not be done.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting.append((loop, future))
        self.wake()
        await future

    def stop(self) -> None:
        """Do a last round and end the thread."""
        self._stopping.set()
        self._asked.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._asked.wait()
            self._stopping.wait(self._pause)
            self._asked.clear()
            self._round()
        self._round()

    def _round(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        error: AuditUnavailableError | None = None
        try:
            self._work()
        except AuditUnavailableError as why:
            error = why
        except Exception as why:  # noqa: BLE001 - the edge of a thread: fail closed
            error = AuditUnavailableError(repr(why))
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]]
        by_loop = defaultdict(list)
        for loop, future in waiting:
            by_loop[loop].append(future)
        for loop, futures in by_loop.items():
            tell(loop, futures, error)


def tell(
    loop: asyncio.AbstractEventLoop,
    futures: Iterable[asyncio.Future[None]],
    error: AuditUnavailableError | None,
) -> None:
    """Tell those who wait, from another thread, how it went."""
    try:
        loop.call_soon_threadsafe(_resolve, futures, error)
    except RuntimeError:
        return  # the loop has been closed, and nobody waits any more


def _resolve(
    futures: Iterable[asyncio.Future[None]], error: AuditUnavailableError | None
) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(AuditUnavailableError(*error.args))
