"""How a connection comes about: connected, and encrypted if it is to be."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from imagegate.upstream.client import Origin
from imagegate.upstream.fast.connection import Connection
from imagegate.upstream.reach import socket_to, unreached
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
    except OSError as error:
        raise unreached(error) from None
    return connection
