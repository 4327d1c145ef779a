"""Starting uvicorn with the guard in front, and ending it."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from imagegate import log
from imagegate.server.crowd import Crowd
from imagegate.server.door import Door
from imagegate.server.guard import GuardedProtocol, HeadLimits, guarded
from imagegate.server.listener import Listener
from imagegate.server.memory import keep_blocks, settle
from imagegate.server.renewal import EVERY, Renewal
from imagegate.server.seats import Seats
from imagegate.server.signals import ENDS, let_through
from imagegate.server.socket import SocketLimits, seated

__all__ = ["Listener", "Server", "server_for"]

IDLE_SECONDS = 75
"""How long a connection is kept that nobody uses: longer than clients keep it, of
whom httpx has five seconds and others a minute. Whoever closes second finds out late.
"""


class Server(uvicorn.Server):
    """uvicorn's server, which says when it serves, and ends well when it is told to."""

    on_started: Callable[[], None] | None = None
    on_stopping: Callable[[], None] | None = None
    on_beat: Callable[[], None] | None = None
    _alone = False
    _renewal: Renewal | None = None

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._doors: list[Door] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        config = self.config
        guard = cast("type[GuardedProtocol]", config.http_protocol_class)
        # Who comes for encryption is taken by us, and not by uvicorn.
        await super().startup([] if sockets and config.ssl else sockets)
        make, seats, seconds = self._make_protocol, guard.seats, guard.limits.seconds
        for listening in sockets or ():
            if config.ssl is None:
                guard.crowd = Crowd(listening, make)
            else:
                door = Door(listening, make, config.ssl, seats, seconds)
                self._doors.append(door)
        if config.ssl is not None and config.ssl_certfile and config.ssl_keyfile:
            files = Path(config.ssl_certfile), Path(config.ssl_keyfile)
            self._renewal = Renewal(config.ssl, *files)
        if self._alone:
            settle()
        if self.started and self.on_started is not None:
            self.on_started()

    def _make_protocol(self) -> asyncio.Protocol:
        """Make the protocol of a connection, as uvicorn does."""
        return self.config.http_protocol_class(  # type: ignore[call-arg] # as it says
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def on_tick(self, counter: int) -> bool:
        """Do what is done ten times a second."""
        if self.on_beat is not None:
            self.on_beat()
        if self._renewal is not None and counter % EVERY == 0:
            self._renewal.look()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, and leave nothing open: a loop that closes may wait for it."""
        if self.on_stopping is not None:
            self.on_stopping()
        for door in self._doors:
            door.close()
        await super().shutdown(sockets)
        for connection in [*self.server_state.connections]:
            connection.transport.abort()
        await asyncio.sleep(0)

    def run_until_told(self, listening: socket.socket) -> None:
        """Serve on a socket until a signal ends it; the streams get their time.

        uvicorn raises the signal again when it is done, so that the process would
        die of it. Here it finds a handler that has nothing left to do.
        """
        log.take_over()
        keep_blocks()
        self._alone = True
        for number in ENDS:
            signal.signal(number, self.handle_exit)
        let_through()
        self.run([listening])


def server_for(
    app: ASGIApp,
    listener: Listener,
    limits: HeadLimits | None = None,
    sockets: SocketLimits | None = None,
    seats: Seats | None = None,
) -> Server:
    """Make a server for an application.

    Args:
        app: The application.
        listener: Where it listens, and to how many.
        limits: What may come before a body.
        sockets: What holds for WebSockets.
        seats: How many connections there may be.
    """
    sockets = sockets or SocketLimits()
    if seats is None:
        seats = Seats(listener.connections, listener.connections_each)
    config = uvicorn.Config(
        app,
        host=listener.host,
        port=listener.port,
        http=guarded(limits or HeadLimits(), seats),
        ws=seated(seats),
        ws_max_size=sockets.message,
        ws_ping_interval=sockets.ping_seconds,
        ws_ping_timeout=sockets.pong_seconds,
        # What is compressed costs more time than it saves, and images do not shrink.
        ws_per_message_deflate=False,
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=listener.grace,
        ssl_certfile=listener.tls_certificate,
        ssl_keyfile=listener.tls_key,
        # TLS 1.2 or newer, by Python's own default since 3.10.
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
    return Server(config)
