"""What the kernel knows and does for a connection, and asyncio does not ask of it."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from typing import Final

_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 10))
"""Some routers forget after a minute. Who is cut off from us for less than five loses
nothing by it: an image may have been made meanwhile, and is paid for."""
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def keep_alive(sock: socket.socket) -> None:
    """Break the silence in which an image is made.

    Routers forget a silent connection, and without a word of ours nobody would tell us
    that the other end has vanished.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    here = [(name, value) for name, value in _KEEP_ALIVE if hasattr(socket, name)]
    for name, value in here:
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def untaken(transport: asyncio.BaseTransport) -> int:
    """Return how many bytes the other end has still to acknowledge.

    The kernel has megabytes of room, and what is written there looks as if it had been
    taken. Only it knows what the other end's kernel has.
    """
    connection = transport.get_extra_info("socket")
    waiting = array.array("i", [0])
    if connection is not None:
        with contextlib.suppress(OSError, ValueError):
            fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, waiting)
    kept: int = transport.get_write_buffer_size()  # type: ignore[attr-defined] # it writes
    return kept + waiting[0]


def drop(transport: asyncio.WriteTransport) -> None:
    """Close at once, and take back what the other end has not acknowledged.

    The kernel would go on sending it for minutes: behind a break in the network a
    provider would get a request that has long been answered with an error, and make an
    image that nobody waits for. And of clients that take nothing it would hold
    megabytes each, when nobody counts them any more.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and untaken(transport):
        with contextlib.suppress(OSError, ValueError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
