"""Turns and slots when connections go in the moment in which they are given out."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from imagegate.upstream.client import UpstreamError
from imagegate.upstream.fast.connection import Connection
from imagegate.upstream.fast.pool import Pool

pytestmark = pytest.mark.anyio


class Made:
    """A connection as a pool sees it."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.gone = False
        self.sound = True
        self.since = 0.0
        self.stands_still = False
        self.loop = asyncio.get_running_loop()

    def look(self) -> bool:
        return self.stands_still

    def fit(self) -> bool:
        return self.sound and not self.gone

    def abort(self) -> None:
        if not self.gone:
            self.gone = True
            self.pool.lost(cast("Connection", self))


def pool_of(*, limit: int = 1, idle: float = 60.0, write: float = 60.0) -> Pool:
    async def open_one(pool: Pool) -> Connection:
        await asyncio.sleep(0)
        return cast("Connection", Made(pool))

    return Pool(
        open_one, limit=limit, wait_seconds=5.0, write_seconds=write, idle_seconds=idle
    )


async def waiting(pool: Pool) -> asyncio.Task[Connection]:
    task = asyncio.create_task(pool.wait())
    await asyncio.sleep(0)
    return task


def made(connection: Connection) -> Made:
    assert isinstance(connection, Made)
    return connection


async def test_a_connection_that_breaks_as_it_is_given_back_opens_another() -> None:
    pool = pool_of()
    first = await pool.wait()
    second = await waiting(pool)
    made(first).sound = False

    pool.rest(first)

    assert await second is not first
    assert pool._slots == 1


async def test_one_whose_connection_goes_on_the_way_keeps_the_turn() -> None:
    pool = pool_of()
    first = await pool.wait()
    second, third = await waiting(pool), await waiting(pool)

    pool.rest(first)
    made(first).sound = False  # found out by who was given it
    given = await second

    assert given is not first
    assert not third.done()
    pool.rest(given)
    assert await third is given
    assert pool._slots == 1


async def test_one_whose_connection_was_closed_on_the_way_opens_another() -> None:
    pool = pool_of()
    first = await pool.wait()
    second = await waiting(pool)

    pool.rest(first)
    made(first).abort()

    assert await second is not first
    assert pool._slots == 1


@pytest.mark.parametrize("closed", [False, True])
async def test_one_who_leaves_with_a_connection_in_hand_gives_it_back(
    *, closed: bool
) -> None:
    pool = pool_of()
    first = await pool.wait()
    second, third = await waiting(pool), await waiting(pool)

    pool.rest(first)
    if closed:
        made(first).abort()
    second.cancel()

    assert (await third is first) is not closed
    assert second.cancelled()
    assert pool._slots == 1


async def test_one_who_leaves_with_leave_to_open_passes_it_on() -> None:
    pool = pool_of()
    first = await pool.wait()
    second, third = await waiting(pool), await waiting(pool)

    made(first).abort()
    second.cancel()

    assert await third is not first
    assert pool._slots == 1


async def test_what_is_not_used_goes_and_what_is_used_stays() -> None:
    pool = pool_of(limit=2, idle=0.05)
    old, used = await pool.wait(), await pool.wait()
    pool.rest(old)
    pool.rest(used)
    async with asyncio.timeout(5):
        while not made(old).gone:
            if (taken := pool.take()) is not None:
                assert taken is used
                pool.rest(taken)
            await asyncio.sleep(0.01)

    assert not made(used).gone
    pool.close()
    assert made(used).gone
    assert pool._slots == 0


async def test_who_waits_for_a_closed_pool_waits_no_longer() -> None:
    pool = pool_of()
    held = await pool.wait()
    tasks = [await waiting(pool) for _ in range(3)]
    pool.close()

    for task in tasks:
        with pytest.raises(UpstreamError, match="cannot_connect"):
            await task
    assert made(held).gone
    assert pool._slots == 0


async def test_what_was_opened_for_a_closed_pool_is_closed() -> None:
    pool = pool_of()
    opening = await waiting(pool)
    pool.close()

    with pytest.raises(UpstreamError, match="cannot_connect"):
        await opening
    assert pool._slots == 0


@pytest.mark.parametrize("stands", [False, True])
async def test_where_one_connection_stands_still_no_other_is_used_again(
    *, stands: bool
) -> None:
    """A router that forgot one has forgotten all: a new one may be let through."""
    pool = pool_of(limit=3, write=0.12)
    asking, resting, another = [await pool.wait() for _ in range(3)]
    pool.rest(resting)
    pool.rest(another)

    made(asking).stands_still = stands
    await asyncio.sleep(0.1)  # some looks

    gone = [made(each).gone for each in (asking, resting, another)]
    assert gone == [False, stands, stands]
    pool.close()
