"""A deadline that a busy loop does not cut short."""

from __future__ import annotations

import asyncio
import time

import pytest

from imagegate.patience import Patience

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_is_done_in_time_is_left_alone() -> None:
    async with Patience(10.0):
        await asyncio.sleep(0)


async def test_what_takes_too_long_is_ended() -> None:
    with pytest.raises(TimeoutError):
        async with Patience(0.02):
            await asyncio.Event().wait()


async def test_what_fails_fails_as_it_is() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with Patience(10.0):
            raise ValueError("mine")


async def test_who_is_cancelled_is_not_late() -> None:
    async def wait() -> None:
        async with Patience(10.0):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


async def test_rounds_that_are_long_are_counted_and_not_timed() -> None:
    rounds: list[None] = []

    async def work() -> None:
        async with Patience(0.001):
            while True:
                until = time.monotonic() + 0.01
                while time.monotonic() < until:
                    pass
                rounds.append(None)
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await work()
    assert len(rounds) >= 10
