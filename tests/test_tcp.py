"""What the kernel is asked about connections, and told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from imagegate.tcp import drop, keep_alive, untaken

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.asynccontextmanager
async def between() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """Connect to a socket that reads nothing by itself."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        loop = asyncio.get_running_loop()
        name = listening.getsockname()
        transport, _ = await loop.create_connection(asyncio.Protocol, *name)
        taken, _ = listening.accept()
        with taken:
            yield transport, taken
        transport.abort()


async def test_silence_is_broken_before_a_router_forgets() -> None:
    with socket.socket() as sock:
        keep_alive(sock)
        alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        names = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT
        idle, pause, times = [sock.getsockopt(socket.IPPROTO_TCP, n) for n in names]

    assert alive
    assert idle < 60
    assert 300 <= idle + pause * times < 600


async def test_what_the_kernel_holds_is_not_taken() -> None:
    async with between() as (transport, taken):
        transport.write(b"x" * 300_000)
        left = untaken(transport)
        some = len(taken.recv(65536))
        async with asyncio.timeout(10):
            while untaken(transport) >= left:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.01)

    assert some > 0
    assert 0 < left < 300_000


async def test_who_has_taken_all_hears_a_proper_end() -> None:
    async with between() as (transport, taken):
        transport.write(b"ok")
        async with asyncio.timeout(10):
            while untaken(transport):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        drop(transport)
        await asyncio.sleep(0.01)
        heard = taken.recv(10), taken.recv(10)

    assert heard == (b"ok", b"")


async def test_who_has_not_hears_nothing_more() -> None:
    async with between() as (transport, taken):
        transport.write(b"x" * 300_000)
        drop(transport)
        await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionResetError):
            heard = sum(len(piece) for piece in iter(lambda: taken.recv(65536), b""))
            raise AssertionError(f"it ended well, behind {heard} bytes")


class Nowhere(asyncio.Transport):
    """A transport without a socket."""

    aborted = False

    def get_write_buffer_size(self) -> int:
        return 7

    def abort(self) -> None:
        self.aborted = True


async def test_without_a_socket_there_is_no_kernel_to_ask() -> None:
    nowhere = Nowhere()
    drop(nowhere)

    assert (untaken(nowhere), nowhere.aborted) == (7, True)
