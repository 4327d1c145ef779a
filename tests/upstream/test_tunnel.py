"""Through a proxy to the provider: what is asked of it, and what it may answer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scripted import PATIENCE, Connect, keeping, provider, until, whole

from imagegate.upstream.client import Origin, UpstreamError, UpstreamRequest
from imagegate.upstream.sockets import SocketClient
from imagegate.upstream.tunnel import Proxy, read_login

pytestmark = pytest.mark.anyio

Talk = Callable[
    ["Middleman", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]
]
LOGIN = b"user:pass:word"


@dataclass
class Middleman:
    """A proxy: what it was asked for, and what is behind it."""

    port: int = 0
    behind: int = 0
    heard: list[bytes] = field(default_factory=list)
    open: int = 0


@contextlib.asynccontextmanager
async def middleman(talk: Talk, behind: int) -> AsyncIterator[Middleman]:
    """Serve as a proxy that talks as it is told, and leads to a port behind it."""
    made = Middleman(behind=behind)
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        made.open += 1
        try:
            if await talk(made, reader, writer):
                there, back = await asyncio.open_connection("127.0.0.1", made.behind)
                ways = pump(reader, back), pump(there, writer)
                try:
                    await asyncio.gather(*ways)
                finally:
                    back.transport.abort()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            made.open -= 1
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was aborted is closed a moment later


def answering(answer: bytes) -> Talk:
    """Answer a CONNECT."""

    async def talk(
        made: Middleman, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        made.heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        return answer.startswith(b"HTTP/1.1 200")

    return talk


def socks(
    *, version: int = 5, method: int = 0, denied: int = 0, reply: bytes = b"\x05\x00"
) -> Talk:
    """Speak SOCKS 5."""

    async def talk(
        made: Middleman, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        made.heard.append(await reader.readexactly(3))
        writer.write(bytes((version, method)))
        if method == 2:
            said = await reader.readexactly(2)
            user = await reader.readexactly(said[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            made.heard.append(user + b":" + password)
            writer.write(bytes((1, denied)))
            if denied:
                return False
        head = await reader.readexactly(5)
        rest = head[4] if head[3] == 3 else {1: 3, 4: 15}[head[3]]
        made.heard.append(head + await reader.readexactly(rest + 2))
        # Bound to a name: the length of the answer is not what one is used to.
        writer.write(reply + b"\x00\x03\x03abc\x00\x50")
        await writer.drain()
        return reply[1] == 0

    return talk


GRANTED = b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n"


def asking_for(host: str = "provider.test", port: int = 4711) -> UpstreamRequest:
    return UpstreamRequest(
        method="GET",
        origin=Origin("http", host, port),
        target=b"/",
        headers=[(b"host", host.encode())],
    )


async def test_a_tunnel_is_asked_for_and_the_connection_kept(connect: Connect) -> None:
    async with (
        provider(keeping) as upstream,
        middleman(answering(GRANTED), upstream.port) as proxy,
    ):
        client = connect(proxy=Proxy(scheme="http", host="127.0.0.1", port=proxy.port))
        for _ in range(3):
            assert await whole(await client.send(asking_for())) == b"ok"

    target = b"provider.test:4711"
    asked = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target)
    assert proxy.heard == [asked]
    assert len(upstream.received) == 3


async def test_a_login_is_shown_to_the_proxy_and_to_nobody_else(
    connect: Connect,
) -> None:
    async with (
        provider(keeping) as upstream,
        middleman(answering(GRANTED), upstream.port) as proxy,
    ):
        route = Proxy(scheme="http", host="127.0.0.1", port=proxy.port, login=LOGIN)
        await whole(await connect(proxy=route).send(asking_for("fd00::1", 443)))

    [asked] = proxy.heard
    assert b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(LOGIN) in asked
    assert asked.startswith(b"CONNECT [fd00::1]:443 HTTP/1.1\r\n")
    assert b"authorization" not in upstream.received[0].lower()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("provider.test", b"\x03\x0dprovider.test"),
        ("10.1.2.3", b"\x01\x0a\x01\x02\x03"),
        ("fd00::1", b"\x04\xfd" + bytes(14) + b"\x01"),
    ],
)
async def test_socks_is_spoken_and_names_are_the_proxys_to_resolve(
    connect: Connect, host: str, address: bytes
) -> None:
    async with (
        provider(keeping) as upstream,
        middleman(socks(), upstream.port) as proxy,
    ):
        route = Proxy(scheme="socks5", host="127.0.0.1", port=proxy.port)
        client = connect(proxy=route)
        assert await whole(await client.send(asking_for(host))) == b"ok"

    port = (4711).to_bytes(2)
    assert proxy.heard == [b"\x05\x01\x00", b"\x05\x01\x00" + address + port]


async def test_a_login_is_shown_to_socks(connect: Connect) -> None:
    async with (
        provider(keeping) as upstream,
        middleman(socks(method=2), upstream.port) as proxy,
    ):
        route = Proxy(scheme="socks5", host="127.0.0.1", port=proxy.port, login=LOGIN)
        assert await whole(await connect(proxy=route).send(asking_for())) == b"ok"

    assert proxy.heard[:2] == [b"\x05\x01\x02", LOGIN]


REFUSALS: dict[str, tuple[str, Talk, str]] = {
    "a login is wanted": (
        *("http", answering(b"HTTP/1.1 407 Login\r\n\r\n<html>")),
        "it answers 407",
    ),
    "no HTTP": (
        *("http", answering(b"220 smtp ready\r\n\r\n")),
        "it speaks another protocol",
    ),
    "no status": (
        *("http", answering(b"HTTP/1.1\r\n\r\n")),
        "it speaks another protocol",
    ),
    "nothing": ("http", answering(b""), "it ends the connection"),
    "a head without end": (
        *("http", answering(b"HTTP/1.1 200 OK\r\n" * 5_000)),
        "it speaks another protocol",
    ),
    "it speaks as the provider": (
        *("http", answering(GRANTED + b"HTTP/1.1 200 OK")),
        "it speaks another protocol",
    ),
    "SOCKS wants a login": ("socks5", socks(method=2), "it asks for a login"),
    "SOCKS refuses": (
        *("socks5", socks(reply=b"\x05\x02")),
        "its rules do not allow it",
    ),
    "SOCKS cannot": ("socks5", socks(reply=b"\x05\x01"), "it cannot"),
    "SOCKS of another age": (
        *("socks5", socks(reply=b"\x04\x00")),
        "it speaks another protocol",
    ),
    "no SOCKS": (
        *("socks5", socks(version=0x48)),
        "it speaks another protocol",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_proxy_that_refuses_leaves_nothing_behind(
    connect: Connect, refusal: str
) -> None:
    scheme, talk, why = REFUSALS[refusal]

    async with provider(keeping) as upstream, middleman(talk, upstream.port) as proxy:
        route = Proxy(scheme=scheme, host="127.0.0.1", port=proxy.port)
        client = connect(proxy=route, connections=1)
        for _ in range(2):
            with pytest.raises(UpstreamError) as raised:
                await client.send(asking_for())
            error = raised.value
            assert (error.code, error.status, error.resendable) == (
                "proxy_refused",
                502,
                True,
            )
            assert error.cause == f"the proxy gives no tunnel: {why}"
        await until(lambda: proxy.open == 0)

    assert upstream.received == []


async def test_a_login_that_is_wrong_is_a_refusal(connect: Connect) -> None:
    async with middleman(socks(method=2, denied=1), 9) as proxy:
        route = Proxy(scheme="socks5", host="127.0.0.1", port=proxy.port, login=LOGIN)
        with pytest.raises(UpstreamError, match="proxy_refused") as raised:
            await connect(proxy=route).send(asking_for())

    assert raised.value.cause.endswith("it does not believe the login")


async def test_a_login_that_nobody_asks_for_is_not_shown(connect: Connect) -> None:
    async with middleman(socks(), 9) as proxy:
        route = Proxy(scheme="socks5", host="127.0.0.1", port=proxy.port, login=LOGIN)
        with pytest.raises(UpstreamError, match="proxy_refused") as raised:
            await connect(proxy=route).send(asking_for())

    assert raised.value.cause.endswith("it takes no login")


async def test_a_proxy_that_is_not_there_is_named(connect: Connect) -> None:
    async with middleman(socks(), 9) as proxy:
        route = Proxy(scheme="http", host="127.0.0.1", port=proxy.port)

    with pytest.raises(UpstreamError, match="cannot_connect") as raised:
        await connect(proxy=route).send(asking_for())

    assert raised.value.cause == "the proxy is not reached: Connection refused"


async def test_a_proxy_that_never_answers_ends_with_connecting(
    connect: Connect,
) -> None:
    async def talk(
        made: Middleman, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        del made, writer
        while await reader.read(65536):
            pass
        return False

    async with middleman(talk, 9) as proxy:
        route = Proxy(scheme="http", host="127.0.0.1", port=proxy.port)
        with pytest.raises(UpstreamError, match="connect_timeout"):
            await connect(proxy=route, connect_seconds=0.1).send(asking_for())
        await until(lambda: proxy.open == 0)


async def test_a_sidecar_on_this_machine_is_reached_directly(connect: Connect) -> None:
    async with provider(keeping) as upstream:
        route = Proxy(scheme="http", host="127.0.0.1", port=9)
        request = asking_for("127.0.0.1", upstream.port)
        assert await whole(await connect(proxy=route).send(request)) == b"ok"

    assert not route.leads_to("localhost")


async def test_websockets_take_the_same_way() -> None:
    async with middleman(answering(b"HTTP/1.1 403 No\r\n\r\n"), 9) as proxy:
        route = Proxy(scheme="http", host="127.0.0.1", port=proxy.port)
        origin = Origin("http", "provider.test", 80)
        with pytest.raises(UpstreamError, match="proxy_refused"):
            async with asyncio.timeout(PATIENCE):
                await SocketClient(proxy=route).open(origin, b"/", [])

    assert proxy.heard[0].startswith(b"CONNECT provider.test:80 ")


# -- what an operator may write -------------------------------------------------


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://proxy.test:3128", ("http", "proxy.test", 3128)),
        ("http://proxy.test", ("http", "proxy.test", 80)),
        ("socks5://[fd00::1]", ("socks5", "fd00::1", 1080)),
    ],
)
def test_a_proxy_has_a_url(url: str, found: tuple[str, str, int]) -> None:
    proxy = Proxy.read(url)

    assert (proxy.scheme, proxy.host, proxy.port) == found


@pytest.mark.parametrize(
    "url",
    [
        "proxy.test:3128",
        "https://proxy.test",
        "http://",
        "http://proxy.test:x",
        "http://proxy.test/path",
        "http://user:canary@proxy.test",
        "http://us\u00e9r.test",
    ],
)
def test_what_is_no_proxy_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        Proxy.read(url)

    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "user", ":password", "u:" + "p" * 256])
def test_what_is_no_login_is_told(text: str, tmp_path: Path) -> None:
    file = tmp_path / "login"
    file.write_text(text)

    with pytest.raises(ValueError, match="colon"):
        read_login(file)
