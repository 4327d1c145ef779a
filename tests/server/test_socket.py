"""WebSockets over raw sockets: what uvicorn's protocol leaves open is closed."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest
from stage import serving
from starlette.types import Receive, Scope, Send

from imagegate.server.guard import HeadLimits
from imagegate.server.run import Listener, server_for
from imagegate.server.socket import STOPPING, SocketLimits, is_handshake

BOUND = 15.0
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
LIMITS = SocketLimits(message=100_000, ping_seconds=0.3, pong_seconds=0.3)


class App:
    """Answers requests; accepts WebSockets, and says back what it hears."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.taking = threading.Event()
        self.taking.set()
        self.flood = 0
        self.refuses = False
        self.talks = False
        self.spoken = 0
        self.failures: list[BaseException] = []
        self.ended = threading.Event()
        self.stopped = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        self.scopes.append(scope)
        if scope["type"] == "http":
            headers = [(b"content-length", b"2")]
            await send(
                {"type": "http.response.start", "status": 200, "headers": headers}
            )
            await send({"type": "http.response.body", "body": b"ok"})
            return
        await self._converse(scope, receive, send)

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if self.refuses:
            start = {"type": "websocket.http.response.start", "status": 426}
            await send({**start, "headers": [(b"content-length", b"3")]})
            body = {"type": "websocket.http.response.body", "body": b"n"}
            await send({**body, "more_body": True})
            await send({**body, "body": b"o!"})
            return
        await send({"type": "websocket.accept"})
        watching = asyncio.create_task(self._watch(scope, send))
        try:
            if self.talks:
                await self._talk(receive, send)
                return
            if self.flood:
                await send({"type": "websocket.send", "bytes": bytes(self.flood)})
            while (message := await receive())["type"] != "websocket.disconnect":
                if message.get("text") == "late":
                    await asyncio.sleep(1.5)
                await send({**message, "type": "websocket.send"})
        finally:
            watching.cancel()
            self.ended.set()

    async def _talk(self, receive: Receive, send: Send) -> None:
        """Speak on and on, and listen only now and then."""
        leaving = asyncio.ensure_future(receive())
        try:
            while not leaving.done():
                for _ in range(10):
                    await asyncio.sleep(0.001)
                    self.spoken += 1
                    await send({"type": "websocket.send", "bytes": bytes(self.flood)})
        except OSError:
            raise  # so are applications told that a client has left
        except Exception as failure:
            self.failures.append(failure)
            raise

    async def _watch(self, scope: Scope, send: Send) -> None:
        await scope["extensions"][STOPPING].wait()
        self.stopped.set()
        await send({"type": "websocket.close", "code": 1012})


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def port(app: App) -> Iterator[int]:
    listener = Listener(port=0, grace=1)
    head = HeadLimits(target=32 * 1024, size=64 * 1024, seconds=1.0, count=200)
    with serving(server_for(app, listener, head, LIMITS)) as url:
        yield int(url.rsplit(":", 1)[1])


def head(*more: str, without: tuple[str, ...] = (), **changed: str) -> bytes:
    lines = {
        "Host": "h",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }
    lines |= {name.replace("_", "-"): value for name, value in changed.items()}
    kept = [f"{name}: {value}" for name, value in lines.items() if name not in without]
    return "\r\n".join(["GET /v1/responses HTTP/1.1", *kept, *more, "", ""]).encode()


def frame(
    code: int, data: bytes = b"", *, fin: bool = True, mask: bool = True
) -> bytes:
    first = (0x80 if fin else 0) | code
    size = len(data)
    if size < 126:
        length = struct.pack("!BB", first, size | 0x80 * mask)
    elif size < 1 << 16:
        length = struct.pack("!BBH", first, 126 | 0x80 * mask, size)
    else:
        length = struct.pack("!BBQ", first, 127 | 0x80 * mask, size)
    if not mask:
        return length + data
    key = os.urandom(4)
    covered = bytes(byte ^ key[i % 4] for i, byte in enumerate(data))
    return length + key + covered


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Raw:
    """A client that says whatever it likes."""

    def __init__(self, port: int, first: bytes = b"", *, window: int = 0) -> None:
        self.socket = socket.socket()
        if window:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self.socket.settimeout(BOUND)
        self.socket.connect(("127.0.0.1", port))
        self.data = b""
        self.write(first)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        while len(self.data) < size:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(self.data)
            self.data += more
        found, self.data = self.data[:size], self.data[size:]
        return found

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self.data:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(self.data)
            self.data += more
        found, _, self.data = self.data.partition(b"\r\n\r\n")
        return found

    def status(self) -> int:
        return int(self.head().split(b" ")[1])

    def frame(self) -> tuple[int, bytes]:
        """Return the next frame that is no ping."""
        first, second = self.read(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(self.read(2), "big")
        elif size == 127:
            size = int.from_bytes(self.read(8), "big")
        data = self.read(size)
        if first & 0xF == PING:
            self.write(frame(PONG, data))
            return self.frame()
        return first & 0xF, data

    def closed(self) -> int:
        """Return the code with which it is closed."""
        code, data = self.frame()
        assert code == CLOSE
        return int.from_bytes(data[:2], "big")

    def is_over(self) -> bool:
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True


def connected(port: int, **more: Any) -> Raw:
    client = Raw(port, head(), **more)
    assert client.status() == 101
    return client


def test_a_handshake_is_accepted_and_nothing_is_compressed(port: int, app: App) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    with Raw(port, head(offer)) as client:
        answer = client.head().lower()
        client.write(frame(TEXT, b"a"))
        assert client.frame() == (TEXT, b"a")

    assert answer.startswith(b"http/1.1 101")
    assert b"extensions" not in answer
    assert app.scopes[0]["type"] == "websocket"


@pytest.mark.parametrize(
    "bad",
    [
        head(Sec_WebSocket_Version="12"),
        head("Sec-WebSocket-Version: 13"),
        head(without=("Sec-WebSocket-Version",)),
        head(without=("Sec-WebSocket-Key",)),
        head("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
        head(Upgrade="websocket, h2c"),
        head("Upgrade: h2c"),
        head("Expect: 100-continue"),
        head().replace(b"GET", b"DELETE"),
    ],
)
def test_another_handshake_is_a_request_like_any_other(
    bad: bytes, port: int, app: App
) -> None:
    with Raw(port, bad) as client:
        assert client.status() in {100, 200}

    assert app.scopes[0]["type"] == "http"


def test_a_handshake_that_is_refused_is_no_error_in_the_log(
    port: int, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    app.refuses = True

    for _ in range(5):
        with Raw(port, head()) as client:
            assert client.status() == 426
            assert client.is_over()

    assert caplog.messages == []


def test_a_post_that_offers_one_keeps_its_body(port: int, app: App) -> None:
    wire = head("Content-Length: 2").replace(b"GET", b"POST") + b"{}"
    with Raw(port, wire) as client:
        assert client.status() == 200

    assert app.scopes[0]["method"] == "POST"


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (head("Host: other"), 400),
        (head(without=("Host",)), 400),
        (head("x: " + "a" * 8_192), 431),
        (head().replace(b"/v1/responses", b"/" + b"a" * 8_192), 431),
        (head(*(f"x-{n}: a" for n in range(130))), 431),
        (head("x: " + "a" * 70_000), 431),
        (head() + frame(TEXT, b"early"), 400),
        (head() + head(), 400),
        (head().replace(b"HTTP/1.1", b"HTTP/1.2"), 400),
        (head(Sec_WebSocket_Key="short"), 400),
    ],
)
def test_a_head_that_is_ambiguous_or_too_long_is_answered_and_closed(
    bad: bytes, status: int, port: int, app: App
) -> None:
    with Raw(port, bad) as client:
        assert client.status() == status
        assert client.is_over()

    assert not app.scopes


def test_a_handshake_has_its_time(port: int) -> None:
    with Raw(port, head()[:-2]) as client:
        assert client.status() == 408


def test_one_that_is_open_outlasts_the_time_of_a_head(port: int, app: App) -> None:
    with connected(port) as client:
        client.write(frame(TEXT, b"late"))
        assert client.frame() == (TEXT, b"late")
        assert not app.ended.is_set()


def test_a_message_may_come_in_fragments_with_pings_between(port: int) -> None:
    with connected(port) as client:
        client.write(frame(TEXT, "grü".encode()[:3], fin=False))
        client.write(frame(PING, b"p"))
        client.write(frame(0, "grü".encode()[3:], fin=False) + frame(0, b"!"))
        assert client.frame() == (PONG, b"p")
        assert client.frame() == (TEXT, "grü!".encode())
        client.write(frame(BINARY, b"\x00\xff"))
        assert client.frame() == (BINARY, b"\x00\xff")


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (frame(TEXT, b"a" * 100_001), 1009),
        (frame(TEXT, b"a" * 60_000, fin=False) + frame(0, b"a" * 60_000), 1009),
        (frame(TEXT, fin=False) + frame(0, fin=False) * 20_000, 1009),
        (frame(TEXT, b"a", mask=False), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(0, b"a"), 1002),
        (frame(3, b"a"), 1002),
        (frame(TEXT | 0x40, b"a"), 1002),
        (frame(PING, b"a" * 126), 1002),
        (frame(PING, b"a", fin=False), 1002),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
    ],
)
def test_what_breaks_the_protocol_or_its_limits_ends_it(
    wire: bytes, code: int, port: int, app: App
) -> None:
    with connected(port) as client:
        client.write(wire)
        assert client.closed() == code
        assert client.is_over()

    assert app.ended.wait(BOUND)


@pytest.mark.parametrize("wire", [b"", frame(3, b"a")], ids=["silent", "broken"])
@pytest.mark.parametrize("flood", [1, 1_000_000])
def test_who_speaks_to_one_that_is_given_up_makes_no_mistake(
    flood: int, wire: bytes, port: int, app: App
) -> None:
    """The application hears that its client is gone, soon, and not by an error."""
    app.talks, app.flood = True, flood
    with connected(port, window=4_096) as client:
        until(lambda: app.spoken > 1)  # of a million bytes none more is taken then
        client.write(wire)
        assert app.ended.wait(2 * BOUND)

    assert app.failures == []


def test_a_flood_of_pings_is_not_answered_for_ever(app: App) -> None:
    """What a client does not take does not grow with what it says."""
    app.flood, pings = 4_000_000, frame(PING, b"a" * 125) * 100
    server = server_for(app, Listener(port=0, grace=1))

    def waiting() -> int:
        connections = server.server_state.connections
        return sum(each.transport.get_write_buffer_size() for each in connections)

    with (
        serving(server) as url,
        connected(int(url.rsplit(":", 1)[1]), window=4_096) as client,
    ):
        until(lambda: waiting() > app.flood // 4)
        full = waiting()
        for _ in range(2_000):
            client.write(pings)
        # All but what sockets hold has been read by now, or is soon.
        assert waiting() < full + 1_000_000


def test_one_that_answers_no_ping_is_given_up(port: int, app: App) -> None:
    with connected(port):
        assert app.ended.wait(BOUND)


def test_one_that_reads_nothing_is_given_up(port: int, app: App) -> None:
    app.flood = 8_000_000
    with connected(port, window=4_096):
        assert app.ended.wait(2 * BOUND)


def test_one_that_reads_slowly_is_not(app: App) -> None:
    """The answer to a ping is stuck behind an image."""
    app.flood = 16_000_000
    limits = SocketLimits(ping_seconds=0.1, pong_seconds=2.0)
    pause, got = threading.Event(), 0
    with (
        serving(server_for(app, Listener(port=0, grace=1), None, limits)) as url,
        connected(int(url.rsplit(":", 1)[1]), window=65_536) as client,
    ):
        while got < app.flood // 2:
            got += len(client.socket.recv(200_000))
            pause.wait(0.04)
        assert not app.ended.is_set()


def test_a_server_that_stops_asks_first() -> None:
    app = App()
    with serving(server_for(app, Listener(port=0, grace=3), None, LIMITS)) as url:
        client = connected(int(url.rsplit(":", 1)[1]))
    with client:
        assert client.closed() == 1012

    assert app.stopped.is_set()


def test_a_handshake_is_one_thing() -> None:
    headers = [
        (b"upgrade", b"WebSocket"),
        (b"sec-websocket-version", b" 13 "),
        (b"sec-websocket-key", b"k"),
    ]

    assert is_handshake(b"GET", "1.1", headers)
    assert not is_handshake(b"GET", "1.0", headers)
    assert not is_handshake(b"POST", "1.1", headers)
