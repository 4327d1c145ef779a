"""A real Redis server, and everything that can become of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redisd import Redisd, redisd

from imagegate.quotas import Guarded, QuotasLost, Reading, Slot, Step
from imagegate.quotas.redis import RedisQuotas

pytestmark = pytest.mark.anyio

NOW = time.time()
END = int(NOW) + 86_400
SLOT = Slot("images.principal.day:x", 0, END, holds=True)
COUNTED = Slot("requests.principal.day:x", 0, END, holds=False)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Redisd]:
    """Run a server that a test may end."""
    with redisd(tmp_path) as running:
        yield running


async def lost(store: RedisQuotas | Guarded) -> str:
    with pytest.raises(QuotasLost) as caught:
        await store.take((SLOT, COUNTED), ["d"], NOW)
    return str(caught.value)


async def test_keys_end_by_themselves_and_name_nobody(own: Redisd) -> None:
    store = RedisQuotas(own.url, prefix="p")
    await store.take((SLOT, COUNTED), ["d1"], NOW)
    await store.settle(Step(slots=(SLOT,), drop=("d1",), add=1, hold=("r",)), NOW)

    keys = [line for line in own.say("KEYS", "*").split("\r\n") if ":" in line]
    assert sorted(keys) == [
        "{p}:images.principal.day:x:0",
        "{p}:images.principal.day:x:held",
        "{p}:requests.principal.day:x:0",
    ]
    for key in keys:
        left = int(own.say("TTL", key)[1:])
        assert 0 < left <= 86_400 + 3_601
    await store.close()


async def test_a_place_held_for_long_outlives_what_is_asked_meanwhile(
    own: Redisd,
) -> None:
    """The key of the places ends as one, whoever touched it last."""
    store = RedisQuotas(own.url, prefix="p")
    month = Slot("images.team.month:x", 0, int(NOW) + 20 * 86_400, holds=True)
    await store.take((month,), ["d1"], NOW)
    await store.settle(Step(slots=(month,), drop=("d1",), hold=("resp",)), NOW)

    await store.take((month,), ["d2"], NOW)

    left = int(own.say("TTL", "{p}:images.team.month:x:held")[1:])
    assert left >= month.ends - NOW
    await store.close()


async def test_what_places_are_worth_ends_with_them(own: Redisd) -> None:
    store = RedisQuotas(own.url, prefix="p")
    month = Slot("cost.team.month:x", 0, END, holds=True, price=211_000)
    await store.take((month,), ["d1", "d2"], NOW)
    await store.settle(Step(slots=(month,), drop=("d1",), hold=("r",)), NOW)
    held, worth = "{p}:cost.team.month:x:held", "{p}:cost.team.month:x:worth"

    kept = [int(own.say("TTL", key)[1:]) for key in (held, worth)]
    assert abs(kept[0] - kept[1]) <= 1
    assert await store.take((month,), [], NOW + 3 * 3_600) == [Reading(0, 211_000)]
    assert own.say("ZCARD", worth) == own.say("ZCARD", held)
    await store.close()


async def test_gateways_with_prefixes_of_their_own_count_apart(own: Redisd) -> None:
    one, other = RedisQuotas(own.url, prefix="a"), RedisQuotas(own.url, prefix="b")

    await one.take((COUNTED,), [], NOW)

    assert await one.take((COUNTED,), [], NOW) == [Reading(1)]
    assert await other.take((COUNTED,), [], NOW) == [Reading(0)]
    await one.close()
    await other.close()


async def test_gateways_that_share_a_server_never_give_one_place_to_two(
    own: Redisd,
) -> None:
    stores = [RedisQuotas(own.url) for _ in range(4)]

    async def take(store: RedisQuotas, number: int) -> int:
        (found,) = await store.take((SLOT,), [f"d{id(store)}-{number}"], NOW)
        return found.used + found.held

    found = await asyncio.gather(
        *(take(store, number) for store in stores for number in range(25))
    )

    assert sorted(found) == [*range(100)]
    for store in stores:
        await store.close()


async def test_a_server_that_is_not_there_is_lost_at_once() -> None:
    store = RedisQuotas("redis://127.0.0.1:9/0")

    assert await lost(store) == "ConnectionError"
    await store.close()


async def test_a_wrong_password_is_lost_and_not_told(own: Redisd) -> None:
    own.say("CONFIG", "SET", "requirepass", "right-canary")
    wrong = RedisQuotas(own.url, password="wrong-canary")  # noqa: S106 - for a test
    right = RedisQuotas(own.url, password="right-canary")  # noqa: S106 - as above

    assert "canary" not in await lost(wrong)
    assert await right.take((SLOT,), [], NOW) == [Reading(0, 0)]
    await wrong.close()
    await right.close()


async def test_a_server_that_may_only_be_read_is_lost(own: Redisd) -> None:
    own.say("REPLICAOF", "127.0.0.1", "9")
    store = RedisQuotas(own.url)

    assert await lost(store)
    await store.close()


async def test_a_server_that_hangs_costs_the_deadline_once(own: Redisd) -> None:
    store = Guarded(RedisQuotas(own.url), seconds=0.2, pause=5.0)
    await store.take((SLOT,), [], NOW)
    own.hold()
    began = time.monotonic()

    for _ in range(200):
        await lost(store)

    assert time.monotonic() - began < 1.0
    own.release()
    await store.close()


async def test_a_server_that_comes_back_is_told_what_it_missed(own: Redisd) -> None:
    """It has lost what it had, and knows what happened while it was away."""
    store = Guarded(RedisQuotas(own.url), seconds=0.5, pause=0.05)
    await store.take((SLOT,), ["d1"], NOW)
    own.stop()
    await store.settle(Step(slots=(SLOT,), drop=("d1",), add=1), NOW)
    assert store.owed == 1
    await lost(store)
    own.start()

    async with asyncio.timeout(10):
        while True:
            try:
                found = await store.take((SLOT,), [], NOW)
            except QuotasLost:
                await asyncio.sleep(0.02)
                continue
            if found == [Reading(1, 0)]:
                break
            await asyncio.sleep(0.01)
    await store.close()


async def test_a_connection_that_the_server_has_ended_costs_nothing(
    own: Redisd,
) -> None:
    """Servers, and what is before them, end connections that nobody uses."""
    store = RedisQuotas(own.url)
    for _ in range(2):
        taken = [store.take((COUNTED,), [], NOW) for _ in range(5)]
        assert len(await asyncio.gather(*taken)) == 5
        reader, writer = await asyncio.open_connection("127.0.0.1", own.port)
        own.say("CLIENT", "KILL", "TYPE", "normal")
        assert await reader.read() == b""  # the youngest: the others have ended too
        writer.close()
    await store.close()


async def test_a_server_that_was_emptied_gets_the_scripts_again(own: Redisd) -> None:
    store = RedisQuotas(own.url)
    await store.take((COUNTED,), [], NOW)
    own.say("SCRIPT", "FLUSH")

    assert await store.take((COUNTED,), [], NOW) == [Reading(1)]
    await store.close()


async def test_a_call_that_is_given_up_does_not_spoil_the_next(own: Redisd) -> None:
    """A late answer must not be taken for the answer to something else."""
    store = Guarded(RedisQuotas(own.url), seconds=0.1, pause=0.0)
    await store.take((COUNTED,), [], NOW)
    own.hold()
    await lost(store)
    own.release()
    await asyncio.sleep(0.05)

    found = await store.take((SLOT, COUNTED), [], NOW)

    assert len(found) == 2
    assert found[1].used >= 1
    await store.close()
