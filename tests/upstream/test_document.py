from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from imagegate.upstream import document
from imagegate.upstream.client import UpstreamError
from imagegate.upstream.document import LARGEST, Documents
from imagegate.upstream.httpx2_client import Httpx2Client

pytestmark = pytest.mark.anyio

Start = Callable[..., Any]


def answer(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *lines]
    return "\r\n".join([*head, "connection: close", "", ""]).encode() + body


class Site:
    """A server that says one thing to everybody."""

    def __init__(self, said: bytes, *, silent: bool) -> None:
        self.said = said
        self.silent = silent
        self.heads: list[bytes] = []
        self.url = ""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.said)
        await writer.drain()
        if self.silent:
            await reader.read()
        writer.close()


@pytest.fixture
async def client() -> AsyncIterator[Httpx2Client]:
    found = Httpx2Client()
    yield found
    await found.close()


@pytest.fixture
async def site() -> AsyncIterator[Start]:
    running: list[asyncio.Server] = []

    async def start(said: bytes, *, silent: bool = False) -> Site:
        found = Site(said, silent=silent)
        server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
        running.append(server)
        port = server.sockets[0].getsockname()[1]
        found.url = f"http://127.0.0.1:{port}"
        return found

    yield start
    for server in running:
        server.close()


async def test_a_document_is_fetched_and_how_long_it_holds(
    site: Start, client: Httpx2Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    here = await site(answer(b"{}", "Cache-Control: public, max-age=300"))

    found = await Documents(client)(f"{here.url}/keys?a=b")

    assert found == (b"{}", 300.0)
    [head] = here.heads
    assert head.startswith(b"GET /keys?a=b HTTP/1.1\r\n")
    assert b"accept-encoding: identity" in head.lower()
    assert b"authorization" not in head.lower()


async def test_without_a_word_it_is_not_said_how_long(
    site: Start, client: Httpx2Client
) -> None:
    here = await site(answer(b"{}", "cache-control: no-store, s-maxage=5"))

    assert await Documents(client)(here.url) == (b"{}", None)


@pytest.mark.parametrize(
    "said",
    [
        answer(b"", "location: http://127.0.0.1:9/", status="302 Found"),
        answer(b"{}", status="404 Not Found"),
        answer(b"{}", status="500 Oops"),
        answer(b"{}", "content-encoding: gzip"),
        answer(b"x" * (LARGEST + 1)),
        answer(b"{}")[:-1],
        b"HTTP/1.1 200 OK\r\n\x00\r\n\r\n",
        b"",
    ],
    ids=["moved", "missing", "broken", "encoded", "large", "short", "odd", "nothing"],
)
async def test_anything_but_a_whole_small_document_is_refused(
    site: Start, client: Httpx2Client, said: bytes
) -> None:
    here = await site(said)

    with pytest.raises(UpstreamError):
        await Documents(client)(here.url)
    assert len(here.heads) == 1


@pytest.mark.parametrize("said", [b"", answer(b"{}{}")[:-2]])
async def test_a_server_that_is_silent_is_given_up(
    site: Start,
    client: Httpx2Client,
    said: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(document, "SECONDS", 0.1)
    here = await site(said, silent=True)

    with pytest.raises(UpstreamError, match="document_timeout"):
        await Documents(client)(here.url)
