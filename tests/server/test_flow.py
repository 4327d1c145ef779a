"""Those who wait on a connection go on when they may, as with asyncio's own event."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegate.server.flow import Flag, Flow, Turns

pytestmark = pytest.mark.anyio

STEPS = st.lists(st.sampled_from(["set", "clear", "wait", "cancel", "run"]))


class Reads:
    """A transport that is told to read, and not to."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


async def went_on(event: Any, steps: list[str]) -> list[list[bool]]:
    """Say after each step who of those who wait has gone on."""
    found, tasks = [], list[asyncio.Task[Any]]()
    for step in steps:
        if step == "wait":
            tasks.append(asyncio.create_task(event.wait()))
        elif step == "cancel" and tasks:
            tasks[-1].cancel()
        elif step == "run":
            for _ in range(3):
                await asyncio.sleep(0)
        elif step in ("set", "clear"):
            getattr(event, step)()
        found.append([task.done() and not task.cancelled() for task in tasks])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


@given(STEPS)
def test_a_flag_is_an_event(steps: list[str]) -> None:
    expected = asyncio.run(went_on(asyncio.Event(), steps))
    assert asyncio.run(went_on(Flag(), steps)) == expected


async def test_nothing_is_left_of_those_who_gave_up() -> None:
    flag = Flag()
    for _ in range(100):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await flag.wait()

    assert len(flag._waiting or ()) == 1


async def test_who_writes_waits_while_the_client_takes_nothing() -> None:
    flow = Flow(cast("Any", Reads()))
    await flow.drain()

    flow.pause_writing()
    writers = [asyncio.create_task(flow.drain()) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert flow.write_paused
    assert not any(writer.done() for writer in writers)

    flow.resume_writing()
    await asyncio.wait_for(asyncio.gather(*writers), 5)
    await flow.drain()
    assert not flow.write_paused


async def test_reading_is_paused_and_resumed_once() -> None:
    reads = Reads()
    flow = Flow(cast("Any", reads))

    for step in (flow.pause_reading, flow.resume_reading):
        step()
        step()

    assert reads.told == ["pause", "resume"]


@given(st.lists(st.integers() | st.none()))
def test_turns_are_a_queue(steps: list[int | None]) -> None:
    queue, turns = deque[int](), Turns()
    for step in steps:
        if step is not None:
            queue.appendleft(step)
            turns.appendleft(step)
        elif queue:
            assert turns.pop() == queue.pop()
        assert list(turns) == list(queue)
        assert bool(turns) == bool(queue)
