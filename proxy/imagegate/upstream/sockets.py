"""Opening WebSockets to a provider, with the `websockets` library.

Its `connect` would take a proxy from the environment, follow redirects with our key,
offer to compress, and name itself; so only its protocol is used, on a connection that
comes about as all others do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.http11 import Response
from websockets.uri import WebSocketURI

from imagegate.upstream.client import Headers, Origin, UpstreamError
from imagegate.upstream.reach import NO_ENCRYPTION, socket_to, unreached
from imagegate.upstream.trust import Trust
from imagegate.upstream.tunnel import Proxy
from imagegate.upstream.waiting import meanwhile

_PLAIN: Final = re.compile(rb"[\t\x20-\x7e]*")
_WRITE_BUFFER: Final = 128 * 1024
_FRAMES: Final = 1
"""Frames that wait to be relayed; an image is one."""
# The library's own logger would tell what is in a message.
_MUTE: Final = logging.getLogger("imagegate.sockets")
_MUTE.disabled = True
_MUTE.setLevel(logging.CRITICAL)


class Sockets(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for WebSockets.

    Attributes:
        message: Bytes of one message, in either direction; an image has up to 45 MB.
        open_seconds: How long opening one may take at the provider.
        close_seconds: How long the provider gets to agree that it is over.
        ping_seconds: How often each end is asked whether it is there.
        pong_seconds: How long it may take to answer that.
    """

    message: int = 64 * 1024 * 1024
    open_seconds: float = 30.0
    close_seconds: float = 5.0
    ping_seconds: float = 20.0
    pong_seconds: float = 20.0


class Denied(Exception):  # noqa: N818 - an answer, not an error
    """The provider answered the handshake with something else than a WebSocket."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body


class SocketClient:
    """Opens WebSockets.

    Args:
        sockets: What holds for them.
        authorities: A file of certificates that are trusted besides the system's.
        proxy: Through which providers are reached.
    """

    def __init__(
        self,
        sockets: Sockets | None = None,
        *,
        authorities: Path | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self.sockets = sockets or Sockets()
        self._proxy = proxy
        self._trust = Trust(authorities)

    async def open(
        self, origin: Origin, target: bytes, headers: Headers
    ) -> ClientConnection:
        """Open a WebSocket; cancelled at any time, it leaves no connection behind.

        Raises:
            Denied: When the provider answers otherwise.
            UpstreamError: When it does not answer.
        """
        told = _told(headers)
        with _translated():
            async with asyncio.timeout(self.sockets.open_seconds):
                connection = await self._connect(origin, target)
                try:
                    await connection.handshake(told, None)
                except BaseException:
                    connection.transport.abort()
                    raise
        return connection

    async def _connect(self, origin: Origin, target: bytes) -> ClientConnection:
        path, _, query = target.decode("ascii").partition("?")
        secure = origin.scheme == "https"
        uri = WebSocketURI(secure, origin.host, origin.port, path, query)
        sock = await socket_to(origin.host, origin.port, self._proxy)
        options = self.sockets

        def connection() -> ClientConnection:
            return ClientConnection(
                ClientProtocol(uri, max_size=options.message, logger=_MUTE),
                ping_interval=None,  # whoever relays knows when to expect an answer
                close_timeout=options.close_seconds,
                max_queue=_FRAMES,
                write_limit=_WRITE_BUFFER,
            )

        try:
            with meanwhile(NO_ENCRYPTION):
                _, made = await asyncio.get_running_loop().create_connection(
                    connection,
                    sock=sock,
                    ssl=self._trust.context_for(origin),
                    server_hostname=origin.host if secure else None,
                )
        except BaseException:
            sock.close()
            raise
        return made


def _told(headers: Headers) -> list[tuple[str, str]]:
    """Return headers as the library wants them; it spells what is not ASCII anew."""
    if not all(_PLAIN.fullmatch(value) for _, value in headers):
        raise UpstreamError("request_malformed", status=400)
    return [(name.decode("ascii"), value.decode("ascii")) for name, value in headers]


def headers_of(answer: Response) -> Headers:
    """Return the headers of what a provider says to a handshake."""
    return [
        (name.lower().encode("ascii"), value.encode("latin-1", "replace"))
        for name, value in answer.headers.raw_items()
    ]


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the errors of opening into ours; what they quote stays behind."""
    try:
        yield
    except InvalidStatus as error:
        found, headers = error.response, headers_of(error.response)
        raise Denied(found.status_code, headers, bytes(found.body or b"")) from None
    except OSError as error:
        raise unreached(error) from None
    except InvalidHandshake:
        raise UpstreamError("answer_malformed", status=502) from None
    except (WebSocketException, EOFError):
        raise UpstreamError("no_answer", status=502) from None
