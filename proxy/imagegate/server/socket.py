"""uvicorn's WebSocket protocol, with the doors it leaves open closed.

Unguarded, a head that its parser does not take hangs, a client that sends pings and
reads nothing fills the memory with pongs, one that sends empty fragments does so
too, one that takes its time over a long message is cut off because its pong is stuck
behind it, one that reads nothing at all is never cut off, an application that speaks to
one that is given up gets an error that is none of its own, and a server that stops ends
every connection at once, whatever is being made on it.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Final, cast

import msgspec
from uvicorn.protocols.websockets.websockets_sansio_impl import (
    WebSocketsSansIOProtocol,
)
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request

from imagegate.server.seats import Seats
from imagegate.tcp import drop

STOPPING: Final = "imagegate.stopping"
"""The extension in which an application learns that the server stops: an event."""
LONGEST_LINE: Final = 8 * 1024
"""Of a head; the parser's limit."""
MOST_LINES: Final = 128
_AROUND: Final = 32
"""What a line has besides: method and version, or a colon, and its end."""
_FRAGMENTS: Final = 16 * 1024
"""Of one message; each may be empty, and costs its place in a list."""
_ABNORMAL: Final = int(CloseCode.ABNORMAL_CLOSURE)
_LAST_SECONDS: Final = 5.0
"""What a client gets to take the last bytes."""


class SocketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for WebSockets.

    Attributes:
        message: Bytes of one message, in any number of fragments.
        ping_seconds: How often a client is asked whether it is there.
        pong_seconds: How long it may take to answer.
    """

    message: int = 64 * 1024 * 1024
    ping_seconds: float = 20.0
    pong_seconds: float = 20.0


class GuardedSocket(WebSocketsSansIOProtocol):
    """One WebSocket."""

    seats: ClassVar[Seats | None] = None
    _unsent: int | None = None
    _gave_up = False

    def data_received(self, data: bytes) -> None:
        """Take bytes; end what is no handshake for the parser."""
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            self.transport.write(
                b"HTTP/1.1 400 Bad Request\r\n"
                b"connection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; the seat was taken when it was no WebSocket yet."""
        if self.seats is not None:
            self.seats.leave(self.transport)
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        """Start the application; it hears of the end of the server from an event."""
        self._stopping = asyncio.Event()
        super().handle_connect(event)
        if self.response.status_code == 101:  # noqa: PLR2004 - Switching Protocols
            offered = cast("dict[str, object]", self.scope["extensions"])
            offered[STOPPING] = self._stopping

    async def send(self, message: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        """Send; a handshake that was refused is over, and nothing that went wrong.

        Whom we have given up gets nothing more; the application hears of it next.
        """
        try:
            await super().send(message)
        except RuntimeError:
            if not self._gave_up:
                raise
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True  # else uvicorn logs an error

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment, as long as there are not too many."""
        if len(self.frames) >= _FRAGMENTS:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer, if the client takes anything at all."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """End a client that does not answer, unless it still takes what was sent."""
        waiting, before = self.transport.get_write_buffer_size(), self._unsent
        if waiting < before if before is not None else waiting:
            self._unsent = waiting
            self.pong_timer = self.loop.call_later(
                self.ping_timeout or 0, self.keepalive_timeout
            )
            return
        if not self.close_sent:
            self._gave_up = True
            # Else the application hears of it when the connection has ended.
            self.queue.put_nowait({"type": "websocket.disconnect", "code": _ABNORMAL})
        super().keepalive_timeout()
        self._end_soon()

    def handle_parser_exception(self) -> None:
        """End a client that breaks the protocol."""
        self._gave_up = True
        super().handle_parser_exception()
        self._end_soon()

    def handle_pong(self, event: Frame) -> None:
        """Take a sign of life."""
        self._unsent = None
        super().handle_pong(event)

    def shutdown(self) -> None:
        """Let the application end what is being made; the server's grace bounds it."""
        if self.handshake_complete and not (self.close_sent or self.disconnected):
            self._stopping.set()
        else:
            super().shutdown()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Do not wait for ever for a client that takes nothing."""
        super().on_task_complete(task)
        self._end_soon()

    def _end_soon(self) -> None:
        self.loop.call_later(_LAST_SECONDS, drop, self.transport)


def seated(seats: Seats) -> type[GuardedSocket]:
    """Return a protocol class that gives seats back, as uvicorn wants one."""
    return type("GuardedSocket", (GuardedSocket,), {"seats": seats})


def is_handshake(
    method: bytes, version: str, headers: list[tuple[bytes, bytes]]
) -> bool:
    """Tell whether a head asks for a WebSocket in the one way there is."""
    said: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        said.setdefault(name, []).append(value.strip(b" \t"))
    return (
        method == b"GET"
        and version == "1.1"
        and said.get(b"sec-websocket-version") == [b"13"]
        and [value.lower() for value in said.get(b"upgrade", [])] == [b"websocket"]
        and len(said.get(b"sec-websocket-key", [])) == 1
        and not {b"content-length", b"transfer-encoding", b"expect"} & said.keys()
    )


def is_too_long(target: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether a head has more than the WebSocket's parser takes."""
    longest = max(len(target), *(len(name) + len(value) for name, value in headers))
    return longest + _AROUND > LONGEST_LINE or len(headers) > MOST_LINES
