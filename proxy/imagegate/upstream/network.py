"""How a connection to the provider comes about, for httpcore2's pool."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from functools import partial

import httpcore2

from imagegate.upstream.reach import socket_to
from imagegate.upstream.tunnel import Proxy
from imagegate.upstream.wire import Wire, connecting_error


class Network(httpcore2.AsyncNetworkBackend):
    """Connects.

    Args:
        proxy: Through which, if not directly.
        idle_seconds: How long a connection is kept that nobody uses.
    """

    def __init__(
        self, proxy: Proxy | None = None, *, idle_seconds: float = math.inf
    ) -> None:
        self._proxy = proxy
        self._idle_seconds = idle_seconds

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> Wire:
        """Connect to the address of a host that answers first."""
        del local_address, socket_options
        loop = asyncio.get_running_loop()
        by = None if timeout is None else loop.time() + timeout
        make = partial(Wire, by, idle_seconds=self._idle_seconds)
        try:
            async with asyncio.timeout_at(by):
                sock = await socket_to(host, port, self._proxy)
                _, wire = await loop.create_connection(make, sock=sock)
        except OSError as error:
            raise connecting_error(error) from None
        return wire
