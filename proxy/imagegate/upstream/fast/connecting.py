"""How a connection comes about: connected, and encrypted if it is to be."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from imagegate.upstream.client import Origin, UpstreamError
from imagegate.upstream.fast.connection import Connection
from imagegate.upstream.reach import socket_to
from imagegate.upstream.tunnel import Proxy


async def connect(
    origin: Origin,
    make: Callable[[], Connection],
    *,
    tls: ssl.SSLContext | None,
    proxy: Proxy | None,
    seconds: float,
) -> Connection:
    """Connect; cancelled at any time, it leaves no connection behind.

    Raises:
        UpstreamError: When there is none; nothing was sent then.
    """
    try:
        async with asyncio.timeout(seconds):
            sock = await socket_to(origin.host, origin.port, proxy)
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(make, sock=sock)
            if tls is not None:
                await connection.encrypt(tls, origin.host)
    except TimeoutError:
        raise _failed("connect_timeout", 504) from None
    except ssl.SSLCertVerificationError:
        raise _failed("untrusted_certificate") from None
    except OSError:
        raise _failed("cannot_connect") from None
    return connection


def _failed(code: str, status: int = 502) -> UpstreamError:
    return UpstreamError(code, status=status, resendable=True)
