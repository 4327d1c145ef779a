from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import DefaultAzureCredential

from imagegate.upstream.client import UpstreamError
from imagegate.upstream.entra import (
    AHEAD,
    FOUNDRY_SCOPE,
    OPENAI_SCOPE,
    RETRY_SECONDS,
    EntraId,
    MissingExtraError,
    check_installed,
    default_source,
)

pytestmark = pytest.mark.anyio

LIFE = 3600


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Source(AsyncTokenCredential):
    """Gives out numbered tokens, or fails, as azure-core's credentials do."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.scopes: list[str] = []
        self.fails = False
        self.closed = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        del options
        self.scopes += scopes
        await self.may_go_on.wait()
        if self.fails:
            raise RuntimeError("tenant-canary")
        token = f"token-{len(self.scopes)}"
        return AccessToken(token, int(self.clock.now) + LIFE)

    async def close(self) -> None:
        self.closed = True

    async def __aexit__(self, *raised: object) -> None:
        await self.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source(clock: Clock) -> Source:
    return Source(clock)


@pytest.fixture
async def credential(source: Source, clock: Clock) -> EntraId:
    return EntraId(OPENAI_SCOPE, source=lambda: source, now=clock)


def bearer(number: int) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer token-%d" % number)]


async def settle(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be so")


async def test_a_token_is_fetched_once_and_kept(
    credential: EntraId, source: Source, clock: Clock
) -> None:
    assert await credential.headers([(b"authorization", b"client")]) == bearer(1)

    clock.now += LIFE - AHEAD - 1
    assert await credential.headers(()) == bearer(1)
    assert source.scopes == [OPENAI_SCOPE]


async def test_the_next_token_is_fetched_ahead_and_nobody_waits_for_it(
    credential: EntraId, source: Source, clock: Clock
) -> None:
    await credential.headers(())
    source.may_go_on.clear()
    clock.now += LIFE - AHEAD

    assert await credential.headers(()) == bearer(1)
    await settle(lambda: len(source.scopes) == 2)
    assert await credential.headers(()) == bearer(1)

    source.may_go_on.set()
    await settle(lambda: credential._headers == bearer(2))
    assert await credential.headers(()) == bearer(2)
    assert len(source.scopes) == 2


async def test_a_token_that_holds_survives_a_failing_source(
    credential: EntraId, source: Source, clock: Clock, capsys: Any
) -> None:
    await credential.headers(())
    source.fails = True
    clock.now += LIFE - AHEAD

    for _ in range(3):
        assert await credential.headers(()) == bearer(1)
        await asyncio.sleep(0)
    assert len(source.scopes) == 2  # not asked again at once

    clock.now += RETRY_SECONDS
    assert await credential.headers(()) == bearer(1)
    await settle(lambda: len(source.scopes) == 3)

    said = capsys.readouterr().err
    assert "imagegate.no_entra_token" in said
    assert "RuntimeError" in said
    assert "canary" not in said


async def test_without_a_token_nothing_is_let_through(
    credential: EntraId, source: Source, clock: Clock
) -> None:
    source.fails = True

    with pytest.raises(UpstreamError) as raised:
        await credential.headers(())
    assert raised.value.code == "credential_unavailable"
    assert raised.value.resendable

    source.fails = False
    assert await credential.headers(()) == bearer(2)
    clock.now += LIFE
    assert await credential.headers(()) == bearer(3)


async def test_many_requests_wait_for_one_token(
    credential: EntraId, source: Source
) -> None:
    source.may_go_on.clear()
    waiting = [asyncio.create_task(credential.headers(())) for _ in range(20)]
    await settle(lambda: len(source.scopes) == 1)

    waiting[0].cancel()  # a client that leaves takes nothing from the others
    await asyncio.sleep(0)
    source.may_go_on.set()
    got = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(got[0], asyncio.CancelledError)
    assert got[1:] == [bearer(1)] * 19
    assert source.scopes == [OPENAI_SCOPE]


async def test_the_source_is_closed(credential: EntraId, source: Source) -> None:
    await credential.close()
    assert not source.closed

    await credential.headers(())
    await credential.close()
    assert source.closed


async def test_azures_own_chain_is_used_and_has_no_identity_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The one source of the chain that asks nobody; it is not configured.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    source = default_source()
    credential = EntraId(FOUNDRY_SCOPE, source=lambda: source)

    assert isinstance(source, DefaultAzureCredential)
    with pytest.raises(UpstreamError):
        await credential.headers(())
    await credential.close()


def test_no_token_is_in_a_representation() -> None:
    assert repr(EntraId(OPENAI_SCOPE)) == f"EntraId(scope={OPENAI_SCOPE!r})"


def test_a_missing_extra_is_said_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_installed()

    # What `find_spec` does when even the package above is missing.
    monkeypatch.delitem(sys.modules, "azure.identity", raising=False)
    monkeypatch.setitem(sys.modules, "azure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'imagegate\[entra\]'"):
        check_installed()
