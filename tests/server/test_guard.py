"""The server guard, over raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn

from imagegate.server.guard import HeadLimits, guarded

pytestmark = pytest.mark.anyio
POST = b"POST /v1/responses HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was understood."""
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = json.dumps(
        {
            "method": scope["method"],
            "path": scope["raw_path"].decode(),
            "headers": [[k.decode(), v.decode()] for k, v in scope["headers"]],
            "body": body.decode(),
        }
    ).encode()
    head = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": answer})


async def early(scope: Any, receive: Any, send: Any) -> None:
    """Answer without reading the body."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    del receive


@contextlib.asynccontextmanager
async def serving(app: Any = echo, **limits: Any) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=guarded(HeadLimits(**limits)),
        ws="none",
        lifespan="off",
        log_level="critical",
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def talk(port: int, *sent: bytes) -> bytes:
    """Send pieces, and read until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in sent:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def understood(answer: bytes) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return parsed


CLOSE = b"Connection: close\r\n"
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
    "two hosts": (
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        400,
        "bad_host",
    ),
    "http 0.9": (b"GET /v1/models\r\n\r\n", 400, "bad_http_version"),
    "http 2.0 in the line": (
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        400,
        "bad_http_version",
    ),
    "gzip, chunked": (
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        "bad_transfer_encoding",
    ),
    "chunked twice": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "malformed_http",
    ),
    "both framings": (
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "malformed_http",
    ),
    "two lengths": (
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        400,
        "malformed_http",
    ),
    "signed length": (POST + b"Content-Length: +3\r\n\r\nabc", 400, "malformed_http"),
    "absolute form": (
        b"GET http://evil/y HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
        "bad_target",
    ),
    "two slashes": (b"GET //evil/y HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    "fragment": (b"GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"),
    "obs-fold": (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
        400,
        "malformed_http",
    ),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n", 400, "malformed_http"),
    "space before colon": (
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        400,
        "malformed_http",
    ),
    "lower-case method": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed_http"),
    "many headers": (
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        431,
        "head_too_large",
    ),
    "large header": (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        431,
        "head_too_large",
    ),
    "endless header": (
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000,
        431,
        "head_too_large",
    ),
    "long target": (
        b"GET /" + b"y" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        414,
        "target_too_long",
    ),
}


@pytest.mark.parametrize(
    ("sent", "status", "code"), REFUSED.values(), ids=REFUSED.keys()
)
async def test_ambiguous_heads_are_refused_and_closed(
    sent: bytes, status: int, code: str
) -> None:
    async with serving() as port:
        answer = await talk(port, sent)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in answer
    assert understood(answer)["error"]["code"] == code


async def test_trailers_never_become_headers() -> None:
    sent = (
        POST
        + CLOSE
        + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
        + b"X-MS-OAI-Image-Generation-Deployment: evil\r\n\r\n"
    )

    async with serving() as port:
        seen = understood(await talk(port, sent))

    assert seen["body"] == "hi"
    assert "evil" not in str(seen["headers"])


@pytest.mark.parametrize("protocol", [b"h2c", b"foo", b"websocket"])
async def test_a_body_survives_an_offer_to_upgrade(protocol: bytes) -> None:
    sent = (
        POST
        + b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA\r\nUpgrade: "
        + protocol
        + b"\r\nContent-Length: 5\r\n\r\nhello"
        + b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )

    async with serving() as port:
        answer = await talk(port, sent)

    first, _, second = answer.partition(b"HTTP/1.1 200 OK\r\n")[2].partition(
        b"HTTP/1.1 200 OK\r\n"
    )
    assert understood(first)["body"] == "hello"
    assert understood(second)["path"] == "/second"


async def test_a_request_in_single_bytes_is_understood() -> None:
    sent = POST + CLOSE + b"Content-Length: 2\r\n\r\nhi"

    async with serving() as port:
        answer = await talk(port, *(bytes([byte]) for byte in sent))

    assert understood(answer)["body"] == "hi"


@pytest.mark.parametrize(
    "sent",
    [b"", b"\r\n", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: a\r\nX: "],
    ids=["nothing", "blank lines", "half a line", "half a head"],
)
async def test_a_slow_head_ends_the_connection(sent: bytes) -> None:
    async with serving(seconds=0.05) as port:
        answer = await talk(port, sent)

    assert understood(answer)["error"]["code"] == "head_too_slow"


async def test_an_unwanted_body_is_not_read_to_its_end() -> None:
    async with serving(early) as port:
        answer = await talk(port, POST + b"Content-Length: 1000000000\r\n\r\nx")

    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_chunk_extension_without_end_is_refused() -> None:
    sent = POST + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"x" * 400_000

    async with serving() as port:
        with contextlib.suppress(ConnectionResetError):
            answer = await talk(port, sent)
            assert b"200 OK" not in answer


def test_the_limits_are_those_of_the_class() -> None:
    make: Callable[[HeadLimits], Any] = guarded

    assert make(HeadLimits(count=7)).limits.count == 7
