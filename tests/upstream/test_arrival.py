"""Who waits for an arrival goes on within the call that brings it, still as a task."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest
import uvloop

from imagegate.upstream.fast.arrival import Arrival

WHERE: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")
Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    factory = (
        asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop
    )
    with asyncio.Runner(loop_factory=factory) as runner:

        def start(main: Callable[[], Awaitable[None]]) -> None:
            async def within() -> None:
                async with asyncio.timeout(10):
                    await main()

            runner.run(within())

        yield start


class Waits:
    """A task that waits for one arrival after another, and notes what it sees."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.arrival = Arrival(self.loop)
        self.seen: list[str] = []
        self.task = self.loop.create_task(self._wait(), name="waits")

    async def _wait(self) -> None:
        WHERE.set("in the task")
        try:
            while True:
                await self.arrival
                current = asyncio.current_task()
                self.seen.append(f"{current and current.get_name()} {WHERE.get()}")
                self.arrival = Arrival(self.loop)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    def bring(self, note: list[int]) -> None:
        """Do as a loop does, for which no task is at work."""
        self.arrival.set_result(None)
        note.append(len(self.seen))


def test_it_goes_on_within_the_call_as_the_task_that_it_is(run: Run) -> None:
    async def main() -> None:
        waits, note = Waits(), list[int]()
        await asyncio.sleep(0)

        for _ in range(3):
            waits.loop.call_soon(waits.bring, note)
        await asyncio.sleep(0.01)

        assert note == [1, 2, 3]
        assert waits.seen == ["waits in the task"] * 3
        assert WHERE.get() == "nowhere"
        waits.task.cancel()

    run(main)


def test_it_waits_for_its_turn_while_another_task_is_at_work(run: Run) -> None:
    async def main() -> None:
        waits, note = Waits(), list[int]()
        await asyncio.sleep(0)

        waits.bring(note)
        assert note == [0]
        assert waits.arrival.done()
        await asyncio.sleep(0)
        assert waits.seen == ["waits in the task"]
        waits.task.cancel()

    run(main)


def test_a_second_word_of_one_arrival_says_nothing(run: Run) -> None:
    async def main() -> None:
        waits, note = Waits(), list[int]()
        await asyncio.sleep(0)
        arrival = waits.arrival

        waits.loop.call_soon(arrival.set_result, None)
        waits.loop.call_soon(arrival.set_result, None)
        await asyncio.sleep(0.01)
        assert len(waits.seen) == 1
        assert arrival.done()
        assert not arrival.cancel()
        assert not note
        waits.task.cancel()

    run(main)


@pytest.mark.parametrize("begun", [True, False])
def test_who_waits_can_be_cancelled(run: Run, *, begun: bool) -> None:
    async def main() -> None:
        waits = Waits()
        if begun:
            await asyncio.sleep(0)
        waits.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits.task
        assert waits.seen == (["cancelled"] if begun else [])
        assert waits.arrival.done()

    run(main)


def test_one_that_is_cancelled_on_the_way_to_its_wait_does_not_wait(run: Run) -> None:
    async def itself(seen: list[str]) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        try:
            await Arrival(asyncio.get_running_loop())
        except asyncio.CancelledError:
            seen.append("cancelled")

    async def main() -> None:
        seen: list[str] = []
        await asyncio.create_task(itself(seen))
        assert seen == ["cancelled"]

    run(main)


def test_a_wait_can_have_a_deadline(run: Run) -> None:
    async def main() -> None:
        arrival = Arrival(asyncio.get_running_loop())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await arrival
        assert arrival.done()

    run(main)


def test_what_it_raises_is_its_own(run: Run) -> None:
    async def fails(arrival: Arrival) -> None:
        await arrival
        raise LookupError

    async def main() -> None:
        loop = asyncio.get_running_loop()
        arrival = Arrival(loop)
        task = asyncio.create_task(fails(arrival))
        await asyncio.sleep(0)
        loop.call_soon(partial(arrival.set_result, None))
        with pytest.raises(LookupError):
            await task

    run(main)


def test_it_can_be_waited_for_again_even_by_who_was_cancelled(run: Run) -> None:
    async def waits(arrival: Arrival, seen: list[str]) -> None:
        for _ in range(3):
            try:
                await arrival
                seen.append("came")
            except asyncio.CancelledError:
                seen.append("cancelled")

    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), list[str]()
        arrival = Arrival(loop)
        task = asyncio.create_task(waits(arrival, seen))
        await asyncio.sleep(0)
        for act in (arrival.set_result, lambda _: task.cancel(), arrival.set_result):
            loop.call_soon(act, None)
            await asyncio.sleep(0.01)
        assert seen == ["came", "cancelled", "came"]
        assert task.done()

    run(main)
