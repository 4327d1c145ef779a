"""Each test runs on both event loops, and with every client there is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from scripted import Connect

from imagegate.upstream.client import Client
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.httpx2_client import Httpx2Client

CLIENTS = [
    pytest.param(Httpx2Client, id="httpx2"),
    pytest.param(FastClient, id="fast"),
]
LOOPS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
]


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=CLIENTS)
async def connect(
    request: pytest.FixtureRequest, anyio_backend: Any
) -> AsyncIterator[Connect]:
    del anyio_backend
    made: list[Client] = []

    def connecting(**choices: Any) -> Client:
        made.append(request.param(**choices))
        return made[-1]

    yield connecting
    for client in made:
        await client.close()
