"""Who comes for encryption and does not agree on one takes nothing from others."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from running import until
from stage import Certificates, certify, serving

from imagegate.server import door, seats
from imagegate.server.door import Door
from imagegate.server.guard import HeadLimits
from imagegate.server.run import Listener, server_for
from imagegate.server.seats import Seats

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class App:
    """Answers."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
            return
        head = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certify(tmp_path_factory.mktemp("certificates"))


class Place:
    """A server of ours, and who comes to it."""

    def __init__(self, port: int, taken: Seats, told: list[str], ca: Path) -> None:
        self.port = port
        self.seats = taken
        self.told = told
        self._tls = ssl.create_default_context(cafile=str(ca))

    def silent(self, source: str = "127.0.0.1") -> socket.socket:
        """Come, and say nothing."""
        return socket.create_connection(
            ("127.0.0.1", self.port), 10, source_address=(source, 0)
        )

    def ask(self, source: str = "127.0.0.1") -> bytes:
        """Ask properly."""
        with (
            self.silent(source) as plain,
            self._tls.wrap_socket(plain, server_hostname="localhost") as wire,
        ):
            wire.sendall(GET)
            return wire.recv(65_536)


@contextlib.contextmanager
def started(
    certificates: Certificates, *, seconds: float = 10.0, **said: Any
) -> Iterator[Place]:
    listener = Listener(
        port=0,
        grace=1,
        tls_certificate=certificates.server,
        tls_key=certificates.key,
        **said,
    )
    told: list[str] = []
    taken = Seats(listener.connections, listener.connections_each, tell=told.append)
    limits = HeadLimits(seconds=seconds)
    server = server_for(App(), listener, limits, seats=taken)
    with serving(server) as url:
        port = int(url.rpartition(":")[2])
        yield Place(port, taken, told, certificates.authority)


def test_a_client_has_a_seat_before_he_has_agreed_on_an_encryption(
    certificates: Certificates,
) -> None:
    with started(certificates, connections=2) as place:
        with place.silent(), place.silent():
            until(lambda: len(place.seats) == 2)
            assert place.ask().startswith(b"HTTP/1.1 503 ")
        until(lambda: len(place.seats) == 0)
        assert place.ask().startswith(b"HTTP/1.1 200 ")
    assert place.told == ["too_many_connections"]


def test_one_address_does_not_stand_in_the_way_of_others(
    certificates: Certificates,
) -> None:
    with started(certificates, connections_each=1) as place, place.silent():
        until(lambda: len(place.seats) == 1)
        assert b"too_many_connections_of_address" in place.ask()
        assert place.ask("127.0.0.2").startswith(b"HTTP/1.1 200 ")


def test_who_finds_no_seat_and_says_nothing_has_to_go(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "_STANDING", 1)
    with (
        started(certificates, connections=1) as place,
        place.silent() as seated,
        place.silent() as first,
        place.silent(),
    ):
        assert first.recv(1) == b""
        seated.settimeout(0)
        with pytest.raises(BlockingIOError):
            seated.recv(1)


def test_who_takes_too_long_to_agree_is_ended_and_told_of(
    certificates: Certificates,
) -> None:
    with started(certificates, seconds=0.2) as place, place.silent() as silent:
        assert silent.recv(1) == b""
        until(lambda: len(place.seats) == 0)
    assert place.told == ["handshake_too_slow"]


def test_who_speaks_no_encryption_is_ended_and_forgotten(
    certificates: Certificates,
) -> None:
    with started(certificates) as place, place.silent() as plain:
        plain.sendall(GET)
        with contextlib.suppress(ConnectionResetError):
            while plain.recv(65_536):
                pass
        until(lambda: len(place.seats) == 0)
    assert place.told == []


def test_who_is_not_in_yet_keeps_nobody_at_the_end(certificates: Certificates) -> None:
    with started(certificates) as place:
        silent = place.silent()
        until(lambda: len(place.seats) == 1)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    with contextlib.suppress(ConnectionResetError):
        assert silent.recv(1) == b""
    silent.close()
    assert len(place.seats) == 0


class Empty(socket.socket):
    """A socket that cannot take anybody for a while."""

    failures = 2

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run])
def test_where_nobody_can_be_taken_it_is_tried_again_later(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, loop: Any
) -> None:
    monkeypatch.setattr(door, "_PAUSE", 0.01)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.server, certificates.key)
    taken = Seats(2)

    async def take(listening: Empty) -> None:
        opened = Door(listening, asyncio.Protocol, tls, taken, 10.0)
        with socket.create_connection(listening.getsockname()):
            async with asyncio.timeout(10):
                while not taken:  # noqa: ASYNC110 - a test
                    await asyncio.sleep(0.01)
        opened.close()

    with Empty() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        loop(take(listening))
        assert not listening.failures


def test_who_closes_while_nobody_can_be_taken_closes_for_good(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "_PAUSE", 0.01)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.server, certificates.key)

    async def take(listening: Empty) -> None:
        opened = Door(listening, asyncio.Protocol, tls, Seats(2), 10.0)
        with socket.create_connection(listening.getsockname()):
            async with asyncio.timeout(10):
                while listening.failures == 2:  # noqa: ASYNC110 - a test
                    await asyncio.sleep(0)
            opened.close()
            await asyncio.sleep(0.05)

    with Empty() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        uvloop.run(take(listening))
        assert listening.failures == 1
