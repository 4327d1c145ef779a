"""A deadline that waits for the loop too.

Where more is asked of a gateway than it can do, a round of its loop takes as long as
some answers may: what has come is not read before the deadline has passed, and whoever
answered at once is taken for dead. Here a wait ends when there were enough rounds.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

_LOOKS: Final = 10
"""So many times the loop looks for an answer, at equal distances."""


class Patience:
    """Ends what takes longer than some seconds in which the loop turns.

    Args:
        seconds: How long it may take; where rounds of the loop are longer than a tenth
            of it, ten rounds.

    Raises:
        TimeoutError: Where it is left, when it took longer.
    """

    __slots__ = ("_left", "_loop", "_step", "_timeout", "_timer")

    def __init__(self, seconds: float) -> None:
        self._step = seconds / _LOOKS
        self._left = _LOOKS
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._timeout.__aenter__()
        self._wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self._step, self._look)

    def _look(self) -> None:
        self._left -= 1
        if self._left:
            self._wait()
        else:
            self._timeout.reschedule(self._loop.time())
