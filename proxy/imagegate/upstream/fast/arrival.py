"""Going on within the call that brings what was waited for.

asyncio wakes a task in the next round of its loop, behind all else that has come by
then. With megabytes on many connections, what was read has left the processor's cache
when it is to be sent. So who waits for more of a large answer goes on at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context


class Arrival:
    """What a task takes for a future, as far as one task needs it that waits.

    It waits as often as it likes, and never for two things at once.
    """

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_context", "_loop", "_wake")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # By this a task knows it; `True` says that it was waited for with `await`.
        self._asyncio_future_blocking = False
        self._cancelled = False
        self._context: Context
        self._wake: Callable[[Arrival], object] | None = None

    def __await__(self) -> Generator[Arrival, None, None]:
        self._asyncio_future_blocking = True
        yield self

    # -- for the task -----------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop on which it is waited for."""
        return self._loop

    def add_done_callback(
        self, wake: Callable[[Arrival], object], *, context: Context
    ) -> None:
        """Take what lets the task go on."""
        self._wake, self._context = wake, context

    def cancel(self, msg: object = None) -> bool:
        """End the waiting, in the next round; tell whether it was not over."""
        del msg
        if self._wake is None:
            return False
        self._cancelled = True
        self._go_on_soon(self._wake)
        return True

    def result(self) -> None:
        """Tell the task how the waiting ended."""
        if self._cancelled:
            self._cancelled = False
            raise asyncio.CancelledError

    # -- for who brings what is waited for --------------------------------------

    def done(self) -> bool:
        """Whether the waiting is over."""
        return self._wake is None

    def set_result(self, result: None) -> None:
        """Let the task go on at once, or soon where another one is at work."""
        del result
        wake = self._wake
        if wake is None:
            return
        if asyncio.current_task(self._loop) is not None:
            self._go_on_soon(wake)
            return
        self._wake = None
        self._context.run(wake, self)

    def _go_on_soon(self, wake: Callable[[Arrival], object]) -> None:
        self._wake = None
        self._loop.call_soon(wake, self, context=self._context)
