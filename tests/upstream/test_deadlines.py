"""The watchdog by itself: which wait ends, and who is told."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from openai import DEFAULT_TIMEOUT
from scripted import until

from imagegate.upstream.client import UpstreamError
from imagegate.upstream.deadlines import (
    ClientLeft,
    ClientStalled,
    Deadlines,
    Round,
    Wait,
    Watchdog,
)

pytestmark = pytest.mark.anyio

FOREVER = 60.0


async def watched(
    deadlines: Deadlines, exchange: Callable[[Watchdog], Awaitable[None]]
) -> None:
    """Do something under a watchdog, and wait when it is done."""
    with Watchdog(Round(deadlines)) as watchdog:
        await exchange(watchdog)
        await asyncio.sleep(FOREVER)


def test_nobody_waits_less_than_the_clients_do() -> None:
    """A client of the SDK gives up by itself; until then an answer may still come."""
    patience = DEFAULT_TIMEOUT.read
    assert patience is not None
    assert min(Deadlines().head, Deadlines().idle) >= patience


async def test_the_wait_that_lasts_too_long_ends() -> None:
    async def exchange(watchdog: Watchdog) -> None:
        watchdog.expect("head")
        watchdog.expect("idle")

    with pytest.raises(UpstreamError, match="idle_timeout"):
        await watched(Deadlines(idle=0.02), exchange)


async def test_a_wait_that_is_over_in_time_does_not() -> None:
    with Watchdog(Round(Deadlines(idle=0.4, stall=0.4))) as watchdog:
        for _ in range(3):
            watchdog.expect("idle")
            await asyncio.sleep(0.15)
            watchdog.expect("stall")
        watchdog.expect("head")
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_what_came_while_the_process_stood_still_is_not_late(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """As a container does that is paused, or one that gets no time to run."""

    async def exchange() -> bytes:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs, Watchdog(Round(Deadlines(idle=0.5))) as watchdog:
            ours.settimeout(0)
            watchdog.expect("idle")
            loop.call_soon(theirs.send, b"an image")
            loop.call_soon(time.sleep, 0.7)
            return await loop.sock_recv(ours, 8)

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(exchange()) == b"an image"


async def test_a_process_that_stood_still_does_not_wait_for_ever() -> None:
    async def exchange(watchdog: Watchdog) -> None:
        watchdog.expect("idle")
        time.sleep(0.3)  # noqa: ASYNC251 - nothing goes on meanwhile

    with pytest.raises(UpstreamError, match="idle_timeout"):
        await watched(Deadlines(idle=0.1), exchange)


async def test_each_wait_is_counted_from_where_it_began() -> None:
    began = 0.0

    async def exchange(watchdog: Watchdog) -> None:
        nonlocal began
        watchdog.expect("idle")
        await asyncio.sleep(0.03)
        watchdog.expect("stall")
        began = asyncio.get_running_loop().time()

    with pytest.raises(ClientStalled):
        await watched(Deadlines(idle=0.05, stall=0.05), exchange)

    assert asyncio.get_running_loop().time() >= began + 0.05


async def test_the_whole_ends_though_no_wait_does() -> None:
    async def exchange(watchdog: Watchdog) -> None:
        while True:
            watchdog.expect("idle")
            await asyncio.sleep(0.01)

    with pytest.raises(UpstreamError, match="total_timeout"):
        await watched(Deadlines(idle=FOREVER, total=0.05), exchange)


async def leave(watchdog: Watchdog) -> None:
    watchdog.end(ClientLeft())


def taking(each_look: int) -> Callable[[], int]:
    """Play a server whose client takes so many bytes between two looks.

    It is written to, once.
    """
    looks = 0

    def untaken() -> int:
        nonlocal looks
        looks += 1
        return 10_000_000 + 5_000_000 * (looks > 5) - looks * each_look

    return untaken


def telling(untaken: Callable[[], int]) -> Any:
    return {"type": "http", "extensions": {"imagegate.untaken": untaken}}


async def test_a_client_that_takes_something_does_not_stall() -> None:
    with Watchdog(Round(Deadlines(stall=0.1))) as watchdog:
        watchdog.follow(telling(taking(1_000)))
        watchdog.expect("stall")
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("each_look", [0, 1])
async def test_a_client_that_takes_nothing_or_next_to_it_stalls(each_look: int) -> None:
    async def exchange(watchdog: Watchdog) -> None:
        watchdog.follow(telling(taking(each_look)))
        watchdog.expect("stall")

    with pytest.raises(ClientStalled):
        await watched(Deadlines(stall=0.1), exchange)


async def test_the_first_reason_counts() -> None:
    async def exchange(watchdog: Watchdog) -> None:
        await leave(watchdog)
        watchdog.end(LookupError())

    with pytest.raises(ClientLeft):
        await watched(Deadlines(total=0.0), exchange)


async def test_nothing_of_an_exchange_is_kept_until_its_deadline() -> None:
    watchdog = Watchdog(Round(Deadlines()))
    kept = weakref.ref(watchdog)
    with watchdog:
        watchdog.expect("idle")
    del watchdog
    gc.collect()

    assert kept() is None


async def test_the_task_can_wait_again_afterwards() -> None:
    with pytest.raises(ClientLeft):
        await watched(Deadlines(), leave)
    task = asyncio.current_task()

    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_another_error_in_the_same_moment_is_not_hidden() -> None:
    async def exchange(watchdog: Watchdog) -> None:
        await leave(watchdog)
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            raise LookupError from None

    with pytest.raises(LookupError):
        await watched(Deadlines(), exchange)


async def test_an_exchange_that_has_ended_cannot_be_ended() -> None:
    with Watchdog(Round(Deadlines())) as watchdog:
        pass

    watchdog.end(ClientLeft())
    await asyncio.sleep(0)


async def test_a_cancellation_from_outside_is_not_swallowed() -> None:
    async def exchange() -> None:
        with Watchdog(Round(Deadlines())) as watchdog:
            watchdog.expect("head")
            asyncio.get_running_loop().call_soon(watchdog.end, ClientLeft())
            asyncio.get_running_loop().call_soon(task.cancel)
            await asyncio.sleep(FOREVER)

    task = asyncio.create_task(exchange())
    with pytest.raises(asyncio.CancelledError):
        await task


def test_without_a_task_there_is_nothing_to_watch() -> None:
    async def outside() -> BaseException | None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[BaseException | None] = loop.create_future()

        def enter() -> None:
            try:
                Watchdog(Round(Deadlines())).__enter__()
            except RuntimeError as error:
                told.set_result(error)

        loop.call_soon(enter)
        return await told

    assert "task" in str(asyncio.run(outside()))


def test_each_event_loop_has_its_own_look_and_leaves_nothing() -> None:
    """One forwarder may be used by several loops, one after the other too."""
    round_ = Round(Deadlines(idle=0.05))

    async def exchange() -> None:
        with Watchdog(round_) as watchdog:
            watchdog.expect("idle")
            await asyncio.sleep(FOREVER)

    for _ in range(3):
        with pytest.raises(UpstreamError):
            asyncio.run(exchange())

    assert len(round_._watched) <= 1


async def test_many_exchanges_end_each_in_its_own_time() -> None:
    round_ = Round(Deadlines(idle=0.1, head=0.3))
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def exchange(wait: Wait) -> tuple[str, float]:
        code = ""
        try:
            with Watchdog(round_) as watchdog:
                watchdog.expect(wait)
                await asyncio.sleep(FOREVER)
        except UpstreamError as error:
            code = error.code
        return code, loop.time() - began

    waits: list[Wait] = ["idle", "head"] * 50
    ended = await asyncio.gather(*map(exchange, waits))

    assert [code for code, _ in ended] == [f"{wait}_timeout" for wait in waits]
    for wait, (_, took) in zip(waits, ended, strict=True):
        assert took > round_.seconds[wait] - 0.001  # sums of floats
    await until(lambda: not round_._watched)


async def test_one_that_fails_leaves_the_others_their_deadlines() -> None:
    round_ = Round(Deadlines(idle=0.1))
    loop = asyncio.get_running_loop()
    handler, told = loop.get_exception_handler(), list[object]()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    broken: Any = Broken()
    round_.join(broken, loop)

    async def exchange() -> None:
        with Watchdog(round_) as watchdog:
            watchdog.expect("idle")
            await asyncio.sleep(FOREVER)

    try:
        with pytest.raises(UpstreamError, match="idle_timeout"):
            await exchange()
    finally:
        round_.leave(broken, loop)
        loop.set_exception_handler(handler)
    assert all(isinstance(each, LookupError) for each in told)


class Broken:
    """A watchdog that fails at its first look."""

    looks = 0

    def look(self, now: float) -> None:
        del now
        self.looks += 1
        if self.looks == 1:
            raise LookupError
