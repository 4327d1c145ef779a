"""Keys that are fetched: rotated, slow, gone, and asked for by a flood."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tokens import EC, RSA, jwk, published

from imagegate.engine.errors import MalformedRequest
from imagegate.identity.jwks import KeySet, read_jwks
from imagegate.identity.published import (
    AGAIN_SECONDS,
    UNTENDED_SECONDS,
    Published,
    PublishedError,
)
from imagegate.upstream.client import UpstreamError

pytestmark = pytest.mark.anyio

STALE = 1000.0
HOLDS = 300.0


class World:
    """A clock, and a provider that can be rotated, held up and broken."""

    def __init__(self) -> None:
        self.now = 5000.0
        self.fetched = 0
        self.keys = [jwk(RSA, "a")]
        self.seconds: float | None = HOLDS
        self.broken = False
        self.raises: Exception = OSError("host-canary is down")
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.published = Published(
            self._fetch,
            lambda data: read_jwks(data, ["RS256", "ES256"]),
            stale=STALE,
            name="https://login.example",
            clock=lambda: self.now,
        )

    async def _fetch(self) -> tuple[bytes, float | None]:
        self.fetched += 1
        await self.may_go_on.wait()
        if self.broken:
            raise self.raises
        return published(*self.keys), self.seconds

    async def knows(self, kid: str, algorithm: str = "RS256") -> bool:
        def known(keys: KeySet) -> bool:
            return bool(keys.for_token(kid, algorithm))

        return known(await self.published.keys(known))

    async def is_unavailable(self, kid: str = "a") -> bool:
        try:
            await self.knows(kid)
        except MalformedRequest as error:
            return (error.status, error.code) == (503, "identity_unavailable")
        return False


async def settle(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be so")


@pytest.fixture
async def world() -> World:
    return World()


async def test_keys_are_fetched_once_for_all_who_wait(world: World) -> None:
    world.may_go_on.clear()
    waiting = [asyncio.create_task(world.knows("a")) for _ in range(20)]
    await settle(lambda: world.fetched == 1)

    waiting[0].cancel()  # a client that leaves takes nothing from the others
    await asyncio.sleep(0)
    world.may_go_on.set()
    got = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(got[0], asyncio.CancelledError)
    assert got[1:] == [True] * 19
    assert world.fetched == 1


async def test_keys_are_renewed_and_nobody_waits_for_it(world: World) -> None:
    await world.knows("a")
    world.now += HOLDS - 1
    await world.knows("a")
    assert world.fetched == 1

    world.may_go_on.clear()
    world.keys = [jwk(EC, "b")]
    world.now += 1
    assert await world.knows("a")
    await settle(lambda: world.fetched == 2)
    world.may_go_on.set()
    await settle(lambda: world.published._fresh_until == world.now + HOLDS)

    assert not await world.knows("a")
    assert await world.knows("b", "ES256")


async def test_keys_that_nobody_asked_for_meanwhile_are_renewed_first(
    world: World,
) -> None:
    await world.knows("a")
    world.keys = [jwk(EC, "b")]

    world.now += HOLDS + UNTENDED_SECONDS
    assert not await world.knows("a")  # it was withdrawn
    assert world.fetched == 2

    world.broken = True
    world.now += HOLDS + UNTENDED_SECONDS
    assert await world.knows("b", "ES256")  # and this one holds, as long as it may
    assert world.fetched == 3


async def test_a_key_may_be_new_as_long_as_nobody_can_say(world: World) -> None:
    await world.knows("a")
    world.keys.append(jwk(RSA, "b"))
    world.broken = True
    world.now += AGAIN_SECONDS

    assert await world.is_unavailable("b")
    assert await world.is_unavailable("b")  # without another look
    assert await world.knows("a")
    assert world.fetched == 2

    world.broken = False
    world.now += AGAIN_SECONDS
    assert await world.knows("b")
    assert not await world.knows("c")


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (PublishedError("more than 5 bytes"), '"problem":"more than 5 bytes"'),
        (UpstreamError("document_refused", status=502), '"problem":"document_refused"'),
        (ValueError("host-canary"), '"exception":"ValueError"'),
    ],
    ids=["ours", "a code", "another's"],
)
async def test_the_log_says_what_is_wrong_in_words_of_ours(
    world: World, capsys: Any, raised: Exception, told: str
) -> None:
    world.broken, world.raises = True, raised

    await world.is_unavailable()

    said = capsys.readouterr().err
    assert told in said
    assert "canary" not in said


async def test_a_key_that_is_new_is_fetched_for(world: World) -> None:
    await world.knows("a")
    world.keys.append(jwk(EC, "b"))
    world.now += AGAIN_SECONDS

    assert await world.knows("b", "ES256")
    assert world.fetched == 2


async def test_a_flood_of_unknown_keys_fetches_now_and_then(world: World) -> None:
    await world.knows("a")
    for number in range(100):
        assert not await world.knows(f"unknown-{number}")
        world.now += AGAIN_SECONDS / 20

    assert 1 < world.fetched <= 6
    assert await world.knows("a")


@pytest.mark.parametrize(
    ("said", "held"), [(None, 3600), (0.0, 60), (120.0, 120), (1e9, 86_400)]
)
async def test_how_long_keys_hold_is_what_their_server_says_within_bounds(
    world: World, said: float | None, held: float
) -> None:
    world.seconds = said

    await world.knows("a")

    assert world.published._fresh_until == world.now + held


async def test_keys_outlive_their_provider_for_a_bounded_time(
    world: World, capsys: Any
) -> None:
    await world.knows("a")
    world.broken = True

    world.now += HOLDS + STALE - 1
    assert await world.knows("a")
    await settle(lambda: world.fetched == 2)
    world.now += 1
    assert await world.is_unavailable()

    world.broken = False
    world.now += AGAIN_SECONDS
    assert await world.knows("a")

    said = capsys.readouterr().err
    assert "imagegate.jwks_not_fetched" in said
    assert "imagegate.jwks_fetched" in said
    assert "canary" not in said


async def test_a_provider_that_is_down_is_not_asked_by_each_request(
    world: World,
) -> None:
    world.broken = True

    for _ in range(50):
        assert await world.is_unavailable()
    assert world.fetched == 1
    world.now += AGAIN_SECONDS
    assert await world.is_unavailable()
    assert world.fetched == 2


async def test_a_provider_that_is_slow_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagegate.identity.published.FETCH_SECONDS", 0.05)
    world.may_go_on.clear()

    assert await world.is_unavailable()


async def test_what_is_no_set_of_keys_leaves_those_that_there_are(
    world: World,
) -> None:
    await world.knows("a")
    world.keys = [{"kty": "oct", "k": "AAAA"}]
    world.now += HOLDS

    await world.knows("a")
    await settle(lambda: world.fetched == 2)

    assert await world.knows("a")
