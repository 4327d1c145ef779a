"""How a connection to the provider comes about, and when it is fit for use."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpcore2
import msgspec
import pytest
from scripted import (
    OK,
    PATIENCE,
    Call,
    Connect,
    keeping,
    provider,
    silent,
    until,
    whole,
)

from imagegate.upstream import names, network, reach, wire
from imagegate.upstream.client import Origin, UpstreamError, UpstreamRequest
from imagegate.upstream.fast.connecting import connect as connected
from imagegate.upstream.fast.connection import Buffer, Connection
from imagegate.upstream.fast.reading import Reading

pytestmark = pytest.mark.anyio

REQUEST = UpstreamRequest(
    method="GET",
    origin=Origin("http", "named.example", 80),
    target=b"/",
    headers=[(b"host", b"named.example")],
)


def resolving(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let a name have addresses, which here are ports."""

    resolve = names._look_up

    def addresses(host: str, port: int, flags: int = 0) -> Any:
        if host != REQUEST.origin.host or flags:
            return resolve(host, port, flags)
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(names, "_look_up", addresses)


@contextlib.contextmanager
def unreachable() -> Iterator[int]:
    """Give a port at which connecting takes for ever: nobody accepts, all is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)  # noqa: FBT003 - its name
            knocking.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def refused() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_an_address_that_refuses_is_passed_over(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider(keeping) as upstream:
        resolving(monkeypatch, refused(), refused(), upstream.port)
        assert await whole(await connect().send(REQUEST)) == b"ok"


async def test_an_address_that_does_not_answer_is_not_waited_for(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unreachable() as port:
        async with provider(keeping) as upstream:
            resolving(monkeypatch, port, upstream.port)
            answer = await connect(connect_seconds=60.0).send(REQUEST)
            assert await whole(answer) == b"ok"


async def test_no_address_that_answers_is_a_timeout(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with unreachable() as port:
        resolving(monkeypatch, port, port)
        with pytest.raises(UpstreamError) as raised:
            await connect(connect_seconds=0.1).send(REQUEST)

    assert (raised.value.code, raised.value.resendable) == ("connect_timeout", True)


async def test_an_address_is_reached_while_the_loop_answers_for_no_name(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop has two threads for that, and one provider's must not be another's."""

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    async with provider(keeping) as upstream:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
        origin = Origin("http", "127.0.0.1", upstream.port)
        request = msgspec.structs.replace(REQUEST, origin=origin)
        assert await whole(await connect().send(request)) == b"ok"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_address_that_refuses_is_told_so(
    connect: Connect, address: str
) -> None:
    origin = Origin("http", address, refused())
    with pytest.raises(UpstreamError, match="cannot_connect") as raised:
        await connect().send(msgspec.structs.replace(REQUEST, origin=origin))

    assert raised.value.cause == "Connection refused"


async def test_who_leaves_while_one_address_is_tried_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[socket.socket] = []

    async def leave(sock: socket.socket, _: object) -> None:
        found.append(sock)
        raise asyncio.CancelledError

    monkeypatch.setattr(reach, "_dial", leave)

    with pytest.raises(asyncio.CancelledError):
        await network.Network().connect_tcp("127.0.0.1", 1)

    assert found[0].fileno() == -1


async def test_who_leaves_in_the_moment_of_connecting_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[socket.socket] = []

    async def race(attempts: Any, _: float) -> Any:
        found.append(await attempts[0]())
        raise asyncio.CancelledError

    monkeypatch.setattr(reach, "staggered_race", race)

    async with provider(silent) as upstream:
        resolving(monkeypatch, upstream.port, upstream.port)
        with pytest.raises(asyncio.CancelledError):
            await network.Network().connect_tcp("named.example", 80)

    assert found[0].fileno() == -1


async def test_the_connection_is_kept_alive_while_an_image_is_made() -> None:
    async with provider(silent) as upstream:
        made = await network.Network().connect_tcp("127.0.0.1", upstream.port)
        sock = made.get_extra_info("socket")
        alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        after = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        await made.aclose()

    assert (bool(alive), after) == (True, 30)


async def test_closing_does_not_wait_for_what_is_not_taken() -> None:
    asleep = asyncio.Event()

    async def script(call: Call) -> None:
        del call
        await asleep.wait()

    async with provider(script) as upstream:
        made = await network.Network().connect_tcp("127.0.0.1", upstream.port)
        with pytest.raises(httpcore2.WriteTimeout):
            await made.write(b"x" * 10_000_000, timeout=0.05)
        sock = made.get_extra_info("socket")
        await made.aclose()
        await until(lambda: sock.fileno() == -1)


async def test_who_hangs_up_before_a_byte_is_sent_may_be_asked_again(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = asyncio.get_running_loop().create_connection

    async def slowly(*arguments: Any, **named: Any) -> Any:
        found = await create(*arguments, **named)
        await until(found[0].is_closing)
        return found

    async def script(call: Call) -> None:
        del call

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", slowly)

    async with provider(script) as upstream:
        resolving(monkeypatch, upstream.port)
        with pytest.raises(UpstreamError) as raised:
            await connect().send(REQUEST)

    assert (raised.value.code, raised.value.resendable) == ("cannot_connect", True)


async def test_what_the_kernel_alone_knows_counts(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Call] = []

    async def script(call: Call) -> None:
        calls.append(call)
        await keeping(call)

    async with provider(script) as upstream:
        resolving(monkeypatch, upstream.port)
        client = connect()
        await whole(await client.send(REQUEST))
        # Nothing is awaited in between, so that the loop cannot have read it.
        os.write(calls[0].writer.get_extra_info("socket").fileno(), OK)
        await whole(await client.send(REQUEST))

    assert upstream.connections == 2


async def test_what_the_loop_knows_counts_to_the_last_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(call: Call) -> None:
        await call.request()
        await call.say(OK)
        await call.say(OK)
        await call.gone()

    monkeypatch.setattr(wire.Wire, "_readable", lambda _: False)

    async with provider(script) as upstream:
        made = await network.Network().connect_tcp("127.0.0.1", upstream.port)
        await made.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await made.read(len(OK)) == OK
        made.head_ended()
        await until(lambda: made.get_extra_info("is_readable"))
        with pytest.raises(httpcore2.ConnectionNotAvailable):
            await made.write(b"GET / HTTP/1.1\r\n\r\n")
        await made.aclose()


async def test_what_was_said_in_clear_is_not_taken_for_encrypted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoken = wire.Wire()
    spoken.connection_made(_Recording())
    spoken.data_received(OK)
    monkeypatch.setattr(asyncio.get_running_loop(), "start_tls", _encrypted)

    with pytest.raises(httpcore2.ConnectError):
        await spoken.start_tls(None)  # type: ignore[arg-type] # never used

    assert spoken.get_extra_info("aborted") is True


class _Recording(asyncio.Transport):
    """A transport that notes that it was aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return getattr(self, name, default)


async def _encrypted(*_: Any, **__: Any) -> asyncio.Transport:
    return _Recording()


@contextlib.contextmanager
def resetting(answer: bytes) -> Iterator[tuple[int, Callable[[], None]]]:
    """Yield a port, and what lets it answer and reset the connection at once."""
    wanted, done = threading.Event(), threading.Event()

    def reset() -> None:
        wanted.set()
        assert done.wait(PATIENCE)  # the loop stands still, and reads nothing

    def serve() -> None:
        sock, _ = listener.accept()
        assert wanted.wait(PATIENCE)
        sock.sendall(answer)
        linger = struct.pack("ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        sock.close()
        done.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], reset
        thread.join()


REFUSED = b"HTTP/1.1 429 Slow down\r\ncontent-length: 0\r\n\r\n"


class Keeps:
    """Where a connection belongs that is used once."""

    def rest(self, connection: Connection) -> None:
        """Take a connection back."""

    def lost(self, connection: Connection) -> None:
        """Take word that it is no more."""


async def test_what_was_answered_before_a_reset_is_read_before_more_is_written() -> (
    None
):
    reading = Reading()

    def request() -> Iterator[bytes]:
        reset()
        yield b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n"
        yield b"x" * 300_000

    with resetting(REFUSED) as (port, reset):
        made = await connected(
            Origin("http", "127.0.0.1", port),
            lambda: Connection(Keeps(), Buffer()),
            tls=None,
            proxy=None,
            seconds=PATIENCE,
        )
        made.begin(reading)
        await made.write_all(request(), PATIENCE)

    assert (reading.begun, reading.failure, reading.status) == (True, None, 429)


async def test_it_is_also_read_first_on_a_wire_of_httpcore2s() -> None:
    with resetting(REFUSED) as (port, reset):
        made = await network.Network().connect_tcp("127.0.0.1", port)
        reset()
        with contextlib.suppress(httpcore2.WriteError):
            await made.write(b"x" * 300_000, timeout=PATIENCE)
        assert await made.read(1_000) == REFUSED
