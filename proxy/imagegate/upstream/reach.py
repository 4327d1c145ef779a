"""How a provider is reached: at the address that answers first, or by a tunnel."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from asyncio.staggered import staggered_race
from functools import partial
from typing import Any

from imagegate.tcp import keep_alive
from imagegate.upstream.client import UpstreamError
from imagegate.upstream.names import addresses_of
from imagegate.upstream.tunnel import Proxy
from imagegate.upstream.waiting import lacked, meanwhile

_NEXT_ADDRESS = 0.25
"""Seconds until the next address of a host is tried too, as RFC 8305 advises."""
ENDED = "it ends the connection"
NO_ENCRYPTION = "no encryption: it is not agreed on in time"


async def socket_to(host: str, port: int, proxy: Proxy | None = None) -> socket.socket:
    """Return a socket that is connected, directly or by a tunnel.

    Raises:
        UpstreamError: When it is the proxy that does not lead there.
        OSError: When it is the host that is not reached.
    """
    if proxy is None or not proxy.leads_to(host):
        return await _connected(host, port)
    try:
        with meanwhile("the proxy is not reached in time"):
            sock = await _connected(proxy.host, proxy.port)
    except OSError as error:
        raise unreached(error, "the proxy is not reached: ") from None
    try:
        with meanwhile("the proxy gives no tunnel in time"):
            await proxy.tunnel(sock, host, port)
    except BaseException:
        sock.close()
        raise
    return sock


def unreached(error: OSError, who: str = "") -> UpstreamError:
    """Turn what the loop raises while connecting into ours."""
    code, status = "cannot_connect", 502
    match error:
        case TimeoutError():
            code, status = "connect_timeout", 504
        case ssl.SSLCertVerificationError():
            code = "untrusted_certificate"
    cause = who + why(error)
    return UpstreamError(code, status=status, resendable=True, cause=cause)


def why(error: OSError) -> str:
    """Say why there is no connection, in the words of the library that found it."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not believed: {error.verify_message}"
        case ssl.SSLError():
            # Its number is OpenSSL's, and no error of the system's.
            reason = (error.reason or "it was not agreed on").replace("_", " ")
            return f"no encryption: {reason.lower()}"
        case socket.gaierror():
            return f"its name has no address: {error.strerror}"
        case TimeoutError():
            return lacked(error) or "no answer in time"
    return os.strerror(error.errno) if error.errno else ENDED


async def read_first() -> None:
    """Let the loop read what has come, before more is written.

    Who refuses a request that it has not read may reset the connection at once. To
    write would then fail, and what was answered would be gone with the connection.
    """
    for _ in range(2):  # it looks for what has come between two of its rounds
        await asyncio.sleep(0)


async def _connected(host: str, port: int) -> socket.socket:
    """Return a connected socket; uvloop's loop has no happy eyeballs of its own."""
    addresses = await addresses_of(host, port)
    connected: list[socket.socket] = []

    async def attempt(
        family: int, kind: int, protocol: int, address: tuple[Any, ...]
    ) -> socket.socket:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)  # noqa: FBT003 - its name
        try:
            await _dial(sock, address)
        except BaseException:
            sock.close()
            raise
        keep_alive(sock)
        connected.append(sock)
        return sock

    attempts = [
        partial(attempt, family, kind, protocol, address)
        for family, kind, protocol, _, address in addresses
    ]
    if len(attempts) == 1:
        return await attempts[0]()
    winner: socket.socket | None = None
    try:
        winner, _, errors = await staggered_race(attempts, _NEXT_ADDRESS)
    finally:
        if winner is None:
            # Cancelled in the moment in which one was found.
            for sock in connected:
                sock.close()
    if winner is None:
        raise next(error for error in errors if error is not None)
    return winner


async def _dial(sock: socket.socket, address: tuple[Any, ...]) -> None:
    """Connect to an address, of which nothing more has to be found out.

    uvloop would ask for the address of the address, by the few threads that it has
    for all names: behind one that hangs nobody would be reached any more, and where
    there is no thread to be had the process would end.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.BaseEventLoop):
        await loop.sock_connect(sock, address)
        return
    begun = sock.connect_ex(address)
    if begun == errno.EINPROGRESS:
        writable: asyncio.Future[None] = loop.create_future()
        loop.add_writer(sock, _settle, writable)
        try:
            await writable
        finally:
            loop.remove_writer(sock)
        begun = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if begun:
        raise OSError(begun, os.strerror(begun))


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
