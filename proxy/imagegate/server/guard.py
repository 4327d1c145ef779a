"""uvicorn's httptools protocol, with the doors it leaves open closed.

Unguarded, it takes chunked trailers for request headers, loses the body of any
request that offers an upgrade, accepts HTTP/0.9 and any number of `Host`, has no
limit on the size, the number or the time of what comes before a body, and reads a
refused body to its end, however long it is.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from typing import Any, ClassVar, Final, cast

import httptools
import msgspec
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from imagegate.server.cork import Cork
from imagegate.server.crowd import Crowd
from imagegate.server.flow import Flag, Flow, Turns
from imagegate.server.polite import Came, Polite
from imagegate.server.seats import Seats
from imagegate.server.socket import is_handshake, is_too_long
from imagegate.server.upload import Upload
from imagegate.tcp import drop, keep_alive

_UNAVAILABLE = 503
WRITE_BUFFER = 128 * 1024
"""How much waits for a slow reader before the reading upstream stops."""
LINGER_BYTES = 16 * 1024 * 1024
LINGER_SECONDS = 5.0
"""How long, and how much, a client may go on sending after it was answered. A
connection closed on unread bytes is reset, and the answer may be lost with it.
nginx lingers too, 5 seconds after the last byte and 30 in all.
"""

STALL_SECONDS = 10.0
"""How long a client may take no byte of what is left, when its connection is to end.
Closing alone waits for ever for one that reads nothing.
"""

GOODBYE_SECONDS = 0.5
"""How long an idle connection gets to end well when the server stops."""


_NAMES: Final = """
    Accept Accept-Encoding Accept-Language Api-Key Authorization Connection
    Content-Encoding Content-Length Content-Type Cookie Expect Host Idempotency-Key
    OpenAI-Beta OpenAI-Organization OpenAI-Project Origin Traceparent Tracestate
    Transfer-Encoding User-Agent X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto
    X-Request-ID X-Stainless-Arch X-Stainless-Async X-Stainless-Lang X-Stainless-OS
    X-Stainless-Package-Version X-Stainless-Read-Timeout X-Stainless-Retry-Count
    X-Stainless-Runtime X-Stainless-Runtime-Version
"""
_USUAL: Final = {
    spelling.encode(): name.lower().encode()
    for name in _NAMES.split()
    for spelling in (name, name.lower())
}
"""What most requests have, as it is compared: one of each name for all of them."""


class HeadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What may come before a body.

    Attributes:
        count: Header lines. nginx takes as many as fit, Apache 100.
        size: Bytes of request line and headers; nginx's default is 32 KB too.
        target: Bytes of the request target.
        seconds: From the first byte of a request to the end of its head.
    """

    count: int = 100
    size: int = 32 * 1024
    target: int = 8 * 1024
    seconds: float = 10.0


class GuardedProtocol(HttpToolsProtocol):
    """One connection. What it refuses is answered once, and the connection ends."""

    limits: ClassVar[HeadLimits] = HeadLimits()
    seats: ClassVar[Seats] = Seats(sys.maxsize)
    crowd: ClassVar[Crowd | None] = None

    _refused = False
    _unwanted_bytes = 0
    _upload: Upload | None = None
    _upgrading = False
    _linger_timer: asyncio.TimerHandle | None = None
    _end_timer: asyncio.TimerHandle | None = None

    # What every connection has. With more than thirty names in its dictionary an
    # object takes a kilobyte more, and uvicorn has nearly as many.
    __slots__ = (
        "_body_bytes",
        "_cork",
        "_head_bytes",
        "_head_timer",
        "_open",
        "_quiet_bytes",
        "_reading_head",
    )
    _body_bytes: int
    _cork: Cork
    _head_bytes: int
    _head_timer: asyncio.TimerHandle | None
    _open: tuple[Polite, ...]
    _quiet_bytes: int
    _reading_head: bool

    # -- the connection ---------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it too
        """Begin, with a deadline even for a client that says nothing."""
        super().connection_made(transport)
        self.flow, self._cork = Flow(transport), Cork(transport, self.loop)
        self.pipeline = cast("deque[Any]", Turns())
        self._reading_head, self._head_timer, self._open = False, None, ()
        self._head_bytes = self._quiet_bytes = 0
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        _send_at_once(transport)
        if self.crowd is not None:
            self.crowd.look()
        self.seats.leave(self)  # his own, if he had one at the door
        full = self.seats.take(transport)
        if full is None:
            self._start_timer()
        else:
            self._refuse(503, full)
            self.loop.call_later(GOODBYE_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        for timer in (self._linger_timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        self.seats.leave(self.transport)
        self._tell_all()
        self._upload = None  # they hold each other
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that nobody uses, even one that takes nothing."""
        super().timeout_keep_alive_handler()
        self.see_out()

    @property
    def _stream(self) -> Flow:
        return cast("Flow", self.flow)  # of our making

    def see_out(self) -> None:
        """Wait for a client to take what is left, as long as it takes something."""
        if self._end_timer is None and self.transport.is_closing():
            left = self._stream.untaken()
            self._end_timer = self.loop.call_later(STALL_SECONDS, self._look, left)

    def _look(self, before: int) -> None:
        self._end_timer = None
        if self._stream.untaken() < before:
            self.see_out()
        else:
            drop(self.transport)

    def shutdown(self) -> None:
        """End, or end after the answer that is on its way.

        An idle client of TLS does not answer a goodbye before it speaks again, and
        would hold the server for as long as streams may take to end.
        """
        super().shutdown()
        if self._idle():
            self.loop.call_later(GOODBYE_SECONDS, self.transport.abort)

    def _tell_all(self) -> None:
        """Tell every application that its client has left.

        Of pipelined requests uvicorn tells the last one only, which waits its turn.
        """
        for polite in self._open:
            cycle = polite.cycle
            if not cycle.response_complete:
                cycle.disconnected = True
            cycle.waiting_for_100_continue = False  # it would be written all the same
            cycle.message_event.set()
            polite.leave()

    def data_received(self, data: bytes) -> None:
        """Take bytes, as long as nothing was refused."""
        if self._refused:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        self._quiet_bytes += len(data)
        self._feed(data)
        if self._quiet_bytes > 2 * self.limits.size:
            # A single endless line would be kept by the parser, unseen by us.
            self._refuse(431, "head_too_large")
        elif self._head_timer is None and (self._reading_head or self._unused()):
            # A blank line before a request begins none, and must not win time.
            self._start_timer()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "malformed_http")

    def _upgrade(self, rest: bytes) -> None:
        """Leave HTTP, for a WebSocket that is asked for alone and properly."""
        version = self.parser.get_http_version()
        asked = is_handshake(self.parser.get_method(), version, self.headers)
        if not (asked and self._idle()) or self._refused:
            self._go_on_without_upgrade(rest)
        elif rest:
            # Whoever speaks before the answer speaks to somebody else.
            self._refuse(400, "bytes_behind_handshake")
        elif is_too_long(self.url, self.headers):
            self._refuse(431, "head_too_large")
        else:
            self.scope["method"] = "GET"
            self._unset_keepalive_if_required()
            self.handle_websocket_upgrade()

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read a request as if it had not offered to leave HTTP/1.1.

        The parser stops at such a head. A second one reads the same head, as it
        was understood, without the word in `Connection` that made it an offer.
        """
        if self._refused:
            return
        method = self.parser.get_method()
        lines = [b"%b %b HTTP/1.1" % (method, self.url)]
        lines += [b"%b: %b" % item for item in map(_not_upgrading, self.headers)]
        self._parse_anew()
        self._upgrading = False
        self._feed(b"\r\n".join([*lines, b"", b""]) + rest)

    def _parse_anew(self) -> None:
        """Begin at a head; like uvicorn's, it minds nothing behind a last request."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    # -- the parser -------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._reading_head = True
        self._head_bytes = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        super().on_url(url)
        if len(self.url) > self.limits.target:
            self._refuse(414, "target_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes after the body is a trailer, and is not one."""
        if not self._reading_head:
            return
        name, limits = _USUAL.get(name) or name.lower(), self.limits
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        self._head_bytes += len(name) + len(value) + 4  # with `: ` and the line's end
        if self._head_bytes > limits.size or len(self.headers) > limits.count:
            self._refuse(431, "head_too_large")

    def on_headers_complete(self) -> None:
        """Judge the head as a whole, and start the application on it."""
        self._reading_head = False
        self._quiet_bytes = 0
        if self._head_timer is not None:
            self._stop_timer()
        if self._refused:
            return
        fault = self._fault()
        if fault is not None:
            self._refuse(400, fault)
        elif self.parser.should_upgrade():
            self._upgrading = True
        else:
            self._begin()

    def _begin(self) -> None:
        """Start the application, with something beside it that sees how it ends."""
        app = cast("ASGIApp", self.config.loaded_app)
        polite = Polite(app, self._cork, self._linger, self._ended, self._fill)
        self.app = polite
        super().on_headers_complete()
        polite.cycle = self.cycle
        self.cycle.transport = cast("asyncio.Transport", self._cork)
        self.cycle.message_event = cast("asyncio.Event", Flag())
        others = [each for each in self._open if not each.cycle.response_complete]
        self._open = (*others, polite)
        if len(self.pipeline) == 1:
            # One that waits its turn must not keep us from seeing that all have left.
            self.flow.resume_reading()

    def _ended(self, cycle: RequestResponseCycle) -> None:
        """See a client out whose answer was the last, or broke off: at once, later."""
        if not (cycle.response_complete and cycle.keep_alive):
            self.loop.call_soon(self.see_out)

    def _fault(self) -> str | None:
        """Say what makes a head ambiguous or foreign; None for an ordinary one."""
        version, url = self.parser.get_http_version(), self.url
        names = [name for name, _ in self.headers]
        hosts, lengths = names.count(b"host"), names.count(b"content-length")
        fault: str | None = None
        if self.parser.get_method() == b"CONNECT":
            # The parser takes it for an upgrade, whatever else is said.
            fault = "bad_method"
        elif version not in {"1.1", "1.0"}:
            fault = "bad_http_version"
        elif hosts > 1 or (not hosts and version == "1.1"):
            # HTTP/1.0 may leave it out; two are two stories in any version.
            fault = "bad_host"
        elif b"transfer-encoding" in names and self._is_badly_coded(version):
            fault = "bad_transfer_encoding"
        elif lengths > 1 or (lengths and b"transfer-encoding" in names):
            fault = "bad_content_length"
        elif url[:1] != b"/" or url[:2] == b"//" or b"#" in url:
            fault = "bad_target"
        return fault

    def _is_badly_coded(self, version: str) -> bool:
        said = [value for name, value in self.headers if name == b"transfer-encoding"]
        return version == "1.0" or len(said) > 1 or said[0].lower() != b"chunked"

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._quiet_bytes = 0
        self._body_bytes += len(body)
        if self._refused or self._upgrading:
            return
        waiting = cast("bytes | bytearray", self.cycle.body)
        if not waiting:
            # What comes alone is given on as it is: `b""` and a piece are the piece.
            self.cycle.body = b""  # type: ignore[assignment] # made bytes of anyway
        elif isinstance(waiting, bytes):
            self.cycle.body = bytearray(waiting)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request's body."""
        if not (self._refused or self._upgrading):
            super().on_message_complete()
            if not self.pipeline:
                # A large body may have stopped it, and nobody asks for more of it now.
                self.flow.resume_reading()

    async def _fill(self, room: memoryview, came: Came) -> int:
        """Have the rest of a body written to a room, past the parser."""
        if self._upload is None:
            said = [value for name, value in self.headers if name == b"content-length"]
            if not said or self._refused:
                return 0  # only the parser knows where it ends
            left = int(said[0]) - self._body_bytes
            self._upload = Upload(self, self._stream, left, self._filled)
        return await self._upload.fill(room, came)

    def _filled(self) -> None:
        """Go on behind a body that the parser has not seen."""
        self._upload = None
        self._parse_anew()
        self._stream.read_as(self)
        self.on_message_complete()

    # -- saying no --------------------------------------------------------------

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(
            self.limits.seconds, self._refuse, 408, "head_too_slow"
        )

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, code: str) -> None:
        """Answer once and end the connection; never into another answer."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self.seats.tell(code)
        self._stop_timer()
        cycle = self.cycle
        if self._idle():
            self._answer(status, code)
        elif cycle.more_body and not (cycle.response_started or self.pipeline):
            # The application still reads this very request: it has ended for it.
            self._tell_all()
            self._answer(status, code)
        else:
            self._let_finish()

    def _let_finish(self) -> None:
        """End after the answer that is on its way, if there can be one.

        What follows a whole request does not spoil its answer, which is paid for.
        """
        if self.pipeline or self.cycle.more_body:
            self._tell_all()
            self.transport.close()
            self.see_out()
        else:
            self.cycle.keep_alive = False

    def _linger(self) -> None:
        """Stop sending, and take for a while what the client still sends."""
        self._refused = True
        self._unset_keepalive_if_required()
        if self._upload is None:
            self.flow.resume_reading()
        else:
            self._stream.read_as(self)
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _discard(self, size: int) -> None:
        self._unwanted_bytes += size
        if self._unwanted_bytes > LINGER_BYTES:
            self.transport.close()
            self.see_out()

    def _unused(self) -> bool:
        """Whether the next thing to come is a head; of a WebSocket it never is."""
        return self._idle() and not self._upgrading

    def _idle(self) -> bool:
        """Whether no answer is on its way on this connection."""
        # uvicorn sets the cycle with the first request, whatever its types say.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _answer(self, status: int, code: str) -> None:
        full = status == _UNAVAILABLE
        said = "this server has all the connections that it takes; try again later"
        error = {
            "message": said if full else f"the request is not acceptable HTTP ({code})",
            "type": "server_error" if full else "invalid_request_error",
            "param": None,
            "code": code,
        }
        body = msgspec.json.encode({"error": error})
        retry = b"true\r\nretry-after: 1" if full else b"false"
        head = (
            b"content-type: application/json\r\n"
            b"content-length: %d\r\n"
            b"x-should-retry: %b\r\n"
            b"connection: close\r\n\r\n" % (len(body), retry)
        )
        self._cork.writelines((STATUS_LINE[status] + head + body,))
        self._linger()


def _send_at_once(transport: asyncio.Transport) -> None:
    """Do not let a body wait until the head is acknowledged: 40 ms on Linux.

    asyncio sees to that only for sockets whose protocol was named when they were
    made, and `socket.create_server` names none.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(connection)


def _not_upgrading(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    if name != b"connection":
        return header
    words = [word.strip() for word in value.split(b",")]
    return name, b", ".join(word for word in words if word.lower() != b"upgrade")


def guarded(limits: HeadLimits, seats: Seats | None = None) -> type[GuardedProtocol]:
    """Return a protocol class with limits of its own, as uvicorn wants one."""
    seats = Seats(sys.maxsize) if seats is None else seats
    said = {"limits": limits, "seats": seats}
    return type("GuardedProtocol", (GuardedProtocol,), said)
