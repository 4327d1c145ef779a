"""A store that may fail, so that its failing costs no more than it must.

Each call has a deadline. Behind one that failed nobody asks for a while, and then one
does: an outage adds its deadline to a few requests, and not to each. What has to be
counted and could not be is owed, and counted as soon as the store is back: late, and
perhaps twice, but not lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Literal, TypeAlias

from imagegate import log
from imagegate.patience import Patience
from imagegate.quotas.store import Quotas, QuotasLost, Reading, Slot, Step
from imagegate.redis_server import AT_ONCE

Trouble: TypeAlias = Literal["unasked", "owed", "paid", "lost"]
_MOST_OWED: Final = 10_000


class _NotAsked(QuotasLost):
    """Nobody was asked, so that nothing can have been heard."""


class Guarded:
    """A store with a deadline, a breaker, and a list of what is owed.

    Args:
        inner: The store.
        seconds: How long one call may take.
        pause: How long nobody asks after a call failed.
        tell: Called for each thing that went wrong, and for what was made good.
    """

    def __init__(
        self,
        inner: Quotas,
        *,
        seconds: float = 0.25,
        pause: float = 1.0,
        tell: Callable[[Trouble], None] = lambda _: None,
    ) -> None:
        self._inner = inner
        self._seconds = seconds
        self._pause = pause
        self._tell = tell
        self._closed_until = 0.0
        self._failing = False
        self._trying = False
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._owed: deque[tuple[Step, float, bool]] = deque()  # and if it is told
        self._paying: asyncio.Task[None] | None = None

    @property
    def owed(self) -> int:
        """How many changes could not be made yet."""
        return len(self._owed)

    async def take(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> Sequence[Reading]:
        """Take places, or say that it is not known what there is."""
        try:
            async with self._tried():
                return await self._inner.take(slots, places, now)
        except QuotasLost as error:
            self._tell("unasked")
            if not isinstance(error, _NotAsked):
                self._owe_back(slots, places, now)
            raise
        except asyncio.CancelledError:
            self._owe_back(slots, places, now)
            raise

    async def settle(self, step: Step, now: float) -> None:
        """Make a change, now or later."""
        try:
            async with self._tried():
                await self._inner.settle(step, now)
        except QuotasLost:
            self._owe(step, now)

    async def close(self) -> None:
        """Try to make up for what is owed, and let go of the store."""
        if self._paying is not None:
            self._paying.cancel()
            await asyncio.wait({self._paying})
        self._closed_until = 0.0
        await self._pay()
        if self._owed:
            log.error("imagegate.quotas_lost", changes=len(self._owed))
            for _ in self._owed:
                self._tell("lost")
        await self._inner.close()

    # -- what is owed -----------------------------------------------------------

    def _owe_back(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> None:
        """Owe places: they may have been taken, and only the answer lost."""
        if places:
            held = tuple(slot for slot in slots if slot.holds)
            self._owe(Step(slots=held, drop=tuple(places)), now, told=False)

    def _owe(self, step: Step, now: float, *, told: bool = True) -> None:
        if len(self._owed) >= _MOST_OWED:
            self._owed.popleft()
            self._tell("lost")
        self._owed.append((step, now, told))
        if told:
            self._tell("owed")

    async def _pay(self) -> None:
        """Make the changes that are owed, oldest first, as long as it works."""
        while self._owed:
            step, now, told = self._owed[0]
            try:
                async with self._tried(paying=True):
                    await self._inner.settle(step, now)
            except QuotasLost:
                return
            self._owed.popleft()
            if told:
                self._tell("paid")

    # -- the breaker ------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _tried(self, *, paying: bool = False) -> AsyncIterator[None]:
        """Let one call pass, or refuse it at once; keep its deadline."""
        async with self._turns:
            trial = self._failing and not paying
            if trial and (self._trying or time.monotonic() < self._closed_until):
                raise _NotAsked("not asked: it has just failed")
            self._trying |= trial
            try:
                async with Patience(self._seconds):
                    yield
            except (QuotasLost, TimeoutError) as error:
                self._failed(str(error) or "no answer in time")
                raise QuotasLost(str(error)) from error
            else:
                self._worked(paying=paying)
            finally:
                self._trying &= not trial

    def _worked(self, *, paying: bool) -> None:
        """Note that somebody answers, and have what is owed paid, by one alone."""
        if self._failing:
            self._failing = False
            log.info("imagegate.quotas_back", owed=len(self._owed))
        idle = self._paying is None or self._paying.done()
        if self._owed and idle and not paying:
            self._paying = asyncio.create_task(self._pay())

    def _failed(self, why: str) -> None:
        self._closed_until = time.monotonic() + self._pause
        if not self._failing:
            self._failing = True
            log.error("imagegate.quotas_unavailable", reason=why)
