"""Connections: so many in all and from one address, and each one ends."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from raw import Wire
from running import until
from stage import serving

from imagegate.server import guard
from imagegate.server.run import Listener, server_for
from imagegate.server.seats import Seats, address_of

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class App:
    """Answers; sends more than anybody takes, and ends as the path says."""

    def __init__(self) -> None:
        self.sent = threading.Event()
        self.waited = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass
            return
        if scope["type"] != "http":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        if scope["path"] == "/":
            await self._answer(send, b"ok")
            return
        if scope["path"] == "/whole":
            await self._answer(send, b"x" * 20_000_000)
            self.sent.set()
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        piece = {"type": "http.response.body", "body": b"x" * 8_000_000}
        try:  # as an application with deadlines
            async with asyncio.timeout(0.1):
                await send({**piece, "more_body": True})
        except TimeoutError:
            self.waited = True
        self.sent.set()
        if scope["path"] == "/raise":
            raise ValueError("broken off")

    async def _answer(self, send: Any, body: bytes) -> None:
        head = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def app() -> App:
    return App()


@contextlib.contextmanager
def started(app: App, told: list[str], **said: Any) -> Iterator[tuple[int, Seats]]:
    listener = Listener(port=0, grace=1, **said)
    most, each = listener.connections, listener.connections_each
    seats = Seats(most, each, tell=told.append)
    server: uvicorn.Server = server_for(app, listener, seats=seats)
    with serving(server) as url:
        yield int(url.rpartition(":")[2]), seats


class Wires(contextlib.ExitStack):
    def __call__(self, port: int) -> Wire:
        return self.enter_context(Wire(port=port))


@pytest.fixture
def open_() -> Iterator[Wires]:
    with Wires() as wires:
        yield wires


def test_one_connection_too_many_is_told_so_and_room_is_given_back(
    app: App, told: list[str], open_: Wires
) -> None:
    with started(app, told, connections=2) as (port, seats):
        one, other = open_(port), open_(port)
        assert one.say(GET).answer().status == other.say(GET).answer().status == 200

        with Wire(port=port) as third:
            answer = third.say(GET).answer()
            assert (answer.status, answer.code) == (503, "too_many_connections")
            assert answer.header("retry-after") == "1"
            assert answer.header("x-should-retry") == "true"
            assert answer.header("connection") == "close"
            assert third.rest() == b""
        assert told == ["too_many_connections"]
        assert one.say(GET).answer().status == 200

        open_.close()
        until(lambda: len(seats) == 0)
        assert open_(port).say(GET).answer().status == 200


def test_one_address_leaves_room_for_others(
    app: App, told: list[str], open_: Wires
) -> None:
    with started(app, told, connections_each=1) as (port, seats):
        assert open_(port).say(GET).answer().status == 200
        with Wire(port=port) as second:
            code = second.say(GET).answer().code
        assert code == "too_many_connections_of_address"
        with socket.create_connection(
            ("127.0.0.1", port), source_address=("127.0.0.2", 0)
        ) as elsewhere:
            elsewhere.sendall(GET)
            assert elsewhere.recv(100).startswith(b"HTTP/1.1 200")
        until(lambda: len(seats) == 1)


def test_a_websocket_keeps_its_seat_and_gives_it_back(
    app: App, told: list[str]
) -> None:
    key = base64.b64encode(os.urandom(16))
    shake = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    with started(app, told, connections=1) as (port, seats):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(shake)
            assert connection.recv(100).startswith(b"HTTP/1.1 101")
            assert len(seats) == 1
            with Wire(port=port) as second:
                assert second.say(GET).answer().status == 503
        until(lambda: len(seats) == 0)
        with Wire(port=port) as third:
            assert third.say(GET).answer().status == 200


def is_reset(connection: socket.socket) -> bool:
    """Whether the kernel holds nothing any more for one who reads on too late."""
    try:
        while connection.recv(1_000_000):
            pass
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize("path", ["/raise", "/short", "/whole"])
def test_a_client_that_takes_nothing_is_ended(
    app: App, told: list[str], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing alone would wait for it for ever, with all that it does not take."""
    monkeypatch.setattr(guard, "STALL_SECONDS", 0.2)
    with (
        started(app, told) as (port, seats),
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        assert app.sent.wait(10)
        # For a piece that was not taken, so that it has no other one to keep.
        assert app.waited == (path != "/whole")
        until(lambda: len(seats) == 0)
        assert is_reset(connection)


def test_a_client_that_takes_its_time_gets_all_of_it(
    app: App, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "STALL_SECONDS", 0.3)
    with (
        started(app, told) as (port, _),
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sendall(
            b"GET /whole HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert app.sent.wait(10)
        got, pause = 0, threading.Event()
        while data := connection.recv(500_000):
            got += len(data)
            pause.wait(0.02)

    assert got > 20_000_000


def test_an_idle_client_that_takes_nothing_is_ended(
    app: App, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "STALL_SECONDS", 0.2)
    listener = Listener(port=0, grace=1)
    seats = Seats(10)
    server = server_for(app, listener, seats=seats)
    server.config.timeout_keep_alive = 0
    with (
        serving(server) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as idle,
    ):
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        idle.sendall(b"GET /whole HTTP/1.1\r\nHost: x\r\n\r\n")
        assert app.sent.wait(10)
        until(lambda: len(seats) == 0)
    assert told == []


@pytest.mark.parametrize(
    ("peer", "place"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::/64"),
        (("2001:db8::ffff:1", 5, 0, 0), "2001:db8::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        (("::ffff:10.1.2.3", 5, 0, 0), "10.1.2.3"),
        (("localhost", 5), ""),
        ("/run/socket", ""),
        (None, ""),
    ],
)
def test_clients_are_told_apart_by_what_is_theirs(peer: object, place: str) -> None:
    assert address_of(peer) == place


def test_local_sockets_are_counted_in_all_alone() -> None:
    class Local(asyncio.Transport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            del name, default

    counted: list[int] = []
    seats = Seats(2, 1, watch=counted.append)
    one, other, third = Local(), Local(), Local()

    assert seats.take(one) is seats.take(other) is None
    assert seats.take(third) == "too_many_connections"
    seats.leave(third)
    seats.leave(one)
    seats.leave(one)

    assert counted == [1, 2, 1]
