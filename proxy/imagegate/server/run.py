"""Starting uvicorn with the guard in front."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec
import uvicorn
from starlette.types import ASGIApp

from imagegate.server.guard import HeadLimits, guarded


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gateway listens.

    Attributes:
        certificate: A PEM file; with `key`, the listener speaks TLS, which
            azure-core demands before it shows a token.
        grace: Seconds that open streams get when the server stops.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    certificate: Path | None = None
    key: Path | None = None
    grace: int = 30


def server_for(
    app: ASGIApp, listener: Listener, limits: HeadLimits | None = None
) -> uvicorn.Server:
    """Make a server for the gateway."""
    config = uvicorn.Config(
        app,
        host=listener.host,
        port=listener.port,
        http=guarded(limits or HeadLimits()),
        # An offer of a WebSocket then arrives as a request, to be answered 426.
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=listener.grace,
        ssl_certfile=listener.certificate,
        ssl_keyfile=listener.key,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
    return uvicorn.Server(config)
