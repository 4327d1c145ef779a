"""A store that fails costs no more than it must, and what is owed is not lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from imagegate.quotas import (
    Guarded,
    MemoryQuotas,
    Quotas,
    QuotasLost,
    Reading,
    Slot,
    Step,
    Trouble,
    guarded,
)
from imagegate.redis_server import AT_ONCE

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
SLOT = Slot("images.principal.day:x", 0, 2_000_000_000, holds=True)
COUNTED = Slot("requests.principal.day:x", 0, 2_000_000_000, holds=False)
BOUND = 5.0


class Shaky:
    """A store that works, fails, or does not answer, as a test wants."""

    def __init__(self) -> None:
        self.inner: Quotas = MemoryQuotas()
        self.failing = False
        self.hanging = False
        self.asked = 0
        self.closed = False

    async def _go(self) -> None:
        self.asked += 1
        if self.hanging:
            await asyncio.Event().wait()
        if self.failing:
            raise QuotasLost("down")

    async def take(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> Sequence[Reading]:
        await self._go()
        return await self.inner.take(slots, places, now)

    async def settle(self, step: Step, now: float) -> None:
        await self._go()
        await self.inner.settle(step, now)

    async def close(self) -> None:
        self.closed = True


class Told(list[Trouble]):
    def __call__(self, trouble: Trouble) -> None:
        self.append(trouble)


async def until_paid(store: Guarded) -> None:
    async with asyncio.timeout(BOUND):
        while store.owed:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0)


async def test_what_works_is_passed_on() -> None:
    store = Guarded(Shaky())

    assert await store.take((SLOT,), ["d"], NOW) == [Reading(0, 0)]
    await store.settle(Step(slots=(SLOT,), drop=("d",), add=1), NOW)
    assert await store.take((SLOT,), [], NOW) == [Reading(1, 0)]
    await store.close()


async def test_a_store_that_does_not_answer_has_a_deadline() -> None:
    shaky = Shaky()
    store = Guarded(shaky, seconds=0.05)
    shaky.hanging = True
    began = time.monotonic()

    with pytest.raises(QuotasLost):
        await store.take((SLOT,), [], NOW)

    assert time.monotonic() - began < 1.0


async def test_an_outage_costs_a_few_requests_their_time_and_not_each() -> None:
    shaky, told = Shaky(), Told()
    store = Guarded(shaky, pause=BOUND, tell=told)
    shaky.failing = True

    for _ in range(100):
        with pytest.raises(QuotasLost):
            await store.take((SLOT,), [], NOW)

    assert shaky.asked == 1
    assert told == ["unasked"] * 100


async def test_behind_the_pause_one_asks_and_the_others_do_not_wait() -> None:
    shaky = Shaky()
    store = Guarded(shaky, seconds=0.3, pause=0.05)
    shaky.failing = True
    with pytest.raises(QuotasLost):
        await store.take((SLOT,), [], NOW)
    await asyncio.sleep(0.06)
    shaky.failing, shaky.hanging = False, True

    found = await asyncio.gather(
        *(store.take((SLOT,), [], NOW) for _ in range(20)), return_exceptions=True
    )

    assert shaky.asked == 2
    assert all(isinstance(each, QuotasLost) for each in found)


async def test_it_comes_back_by_itself() -> None:
    shaky = Shaky()
    store = Guarded(shaky, pause=0.01)
    shaky.failing = True
    with pytest.raises(QuotasLost):
        await store.take((SLOT,), [], NOW)
    shaky.failing = False
    await asyncio.sleep(0.02)

    assert await store.take((SLOT,), [], NOW) == [Reading(0, 0)]


async def test_images_that_start_in_an_outage_are_counted_behind_it() -> None:
    shaky, told = Shaky(), Told()
    store = Guarded(shaky, pause=0.01, tell=told)
    await store.take((SLOT,), ["d"], NOW)
    shaky.failing = True

    await store.settle(Step(slots=(SLOT,), drop=("d",), add=1), NOW)
    await store.settle(Step(slots=(SLOT,), add=2), NOW)
    assert store.owed == 2
    shaky.failing = False
    await asyncio.sleep(0.02)
    await store.take((COUNTED,), [], NOW)
    await until_paid(store)

    assert await store.take((SLOT,), [], NOW) == [Reading(3, 0)]
    assert told == ["owed", "owed", "paid", "paid"]


async def test_a_place_that_may_have_been_taken_is_given_back() -> None:
    """The answer was lost, and perhaps not the question."""
    shaky = Shaky()
    store = Guarded(shaky, pause=0.01)
    shaky.failing = True
    with pytest.raises(QuotasLost):
        await store.take((SLOT, COUNTED), ["d"], NOW)
    await shaky.inner.take((SLOT,), ["d"], NOW)  # it had arrived
    shaky.failing = False
    await asyncio.sleep(0.02)

    await store.settle(Step(slots=(COUNTED,), add=1), NOW)
    await until_paid(store)

    assert await store.take((SLOT,), [], NOW) == [Reading(0, 0)]


async def test_paying_stops_where_it_fails_and_goes_on_later() -> None:
    shaky = Shaky()
    store = Guarded(shaky, pause=0.0)
    shaky.failing = True
    for _ in range(3):
        await store.settle(Step(slots=(SLOT,), add=1), NOW)

    class Once(Shaky):
        async def settle(self, step: Step, now: float) -> None:
            await super().settle(step, now)
            self.failing = True

    once = Once()
    store._inner = once
    await store.take((COUNTED,), [], NOW)
    async with asyncio.timeout(BOUND):
        while store.owed == 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert store.owed == 2
    store._inner = shaky
    shaky.failing = False
    await store.take((COUNTED,), [], NOW)
    await until_paid(store)


async def test_what_is_owed_is_bounded_and_what_goes_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guarded, "_MOST_OWED", 2)
    shaky, told = Shaky(), Told()
    store = Guarded(shaky, tell=told)
    shaky.failing = True

    for _ in range(3):
        await store.settle(Step(slots=(SLOT,), add=1), NOW)

    assert store.owed == 2
    assert told == ["owed", "owed", "lost", "owed"]


async def test_at_the_end_what_is_owed_is_tried_once_more() -> None:
    shaky, told = Shaky(), Told()
    store = Guarded(shaky, pause=BOUND, tell=told)
    shaky.failing = True
    await store.settle(Step(slots=(SLOT,), add=1), NOW)
    shaky.failing = False

    await store.close()

    assert told == ["owed", "paid"]
    assert shaky.closed


async def test_what_is_still_owed_then_is_told_as_lost() -> None:
    shaky, told = Shaky(), Told()
    store = Guarded(shaky, tell=told)
    shaky.failing = True
    await store.settle(Step(slots=(SLOT,), add=1), NOW)

    await store.close()

    assert told == ["owed", "lost"]
    assert shaky.closed


async def test_a_payment_that_hangs_does_not_hold_up_the_end() -> None:
    shaky = Shaky()
    store = Guarded(shaky, seconds=0.05, pause=0.0)
    shaky.failing = True
    await store.settle(Step(slots=(SLOT,), add=1), NOW)
    shaky.failing = False
    await store.take((COUNTED,), [], NOW)
    shaky.hanging = True

    async with asyncio.timeout(BOUND):
        await store.close()

    assert shaky.closed


async def test_who_leaves_amid_a_question_holds_no_place() -> None:
    """It may have been heard; nobody else would give the place back."""
    shaky, told = Shaky(), Told()
    store = Guarded(shaky, tell=told)
    shaky.hanging = True
    asking = asyncio.create_task(store.take((SLOT, COUNTED), ["d"], NOW))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()
    await shaky.inner.take((SLOT,), ["d"], NOW)  # it had arrived
    shaky.hanging = False

    await store.settle(Step(slots=(COUNTED,), add=1), NOW)
    await until_paid(store)

    assert await store.take((SLOT,), [], NOW) == [Reading(0, 0)]
    assert told == []


async def test_what_nobody_was_asked_for_is_not_owed() -> None:
    """In a long outage it would push out what is."""
    shaky, told = Shaky(), Told()
    store = Guarded(shaky, pause=BOUND, tell=told)
    shaky.failing = True
    for _ in range(20):
        with pytest.raises(QuotasLost):
            await store.take((SLOT,), ["d"], NOW)

    assert store.owed == 1  # of the one that was asked
    shaky.failing = False
    await store.close()
    assert told == ["unasked"] * 20


class Lagging(Shaky):
    """A store that answers within a few rounds of a loop that has much to do."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = self.most = 0

    async def _go(self) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        for _ in range(3):
            await asyncio.sleep(0)
        self.at_once -= 1


async def test_a_busy_loop_is_not_taken_for_a_store_that_does_not_answer() -> None:
    store, loop = Guarded(Lagging(), seconds=0.02), asyncio.get_running_loop()
    busy = True

    def work() -> None:
        if busy:
            until = time.monotonic() + 0.05
            while time.monotonic() < until:
                pass
            loop.call_soon(work)

    work()
    try:
        assert await store.take((SLOT,), ["d"], NOW) == [Reading(0, 0)]
    finally:
        busy = False


async def test_a_crowd_asks_a_few_at_a_time_and_nobody_is_lost() -> None:
    lagging, told = Lagging(), Told()
    store = Guarded(lagging, tell=told)
    crowd = [store.take((COUNTED,), [], NOW) for _ in range(200)]

    found = await asyncio.gather(*crowd)

    assert sorted(reading.used for [reading] in found) == [*range(200)]
    assert lagging.most == AT_ONCE
    assert told == []


async def test_who_waits_for_his_turn_when_the_store_fails_is_not_kept_waiting() -> (
    None
):
    shaky = Shaky()
    shaky.hanging = True
    store = Guarded(shaky, seconds=0.05, pause=BOUND)
    crowd = [store.take((SLOT,), ["d"], NOW) for _ in range(200)]

    found = await asyncio.gather(*crowd, return_exceptions=True)

    assert all(isinstance(each, QuotasLost) for each in found)
    assert shaky.asked == AT_ONCE
