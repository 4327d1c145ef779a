"""uvicorn's httptools protocol, with the doors it leaves open closed.

Unguarded, it takes chunked trailers for request headers, loses the body of any
request that offers an upgrade, accepts HTTP/0.9 and any number of `Host`, and has
no limit on the size, the number or the time of what comes before a body.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

WRITE_BUFFER = 128 * 1024
"""How much waits for a slow reader before the reading upstream stops."""


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

    _refused = False
    _reading_head = False
    _head_bytes = 0
    _quiet_bytes = 0
    _upgrading = False
    _head_timer: asyncio.TimerHandle | None = None

    # -- the connection ---------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it too
        """Begin, with a deadline even for a client that says nothing."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, as long as nothing was refused."""
        if self._refused:
            return
        self._unset_keepalive_if_required()
        self._quiet_bytes += len(data)
        if self._quiet_bytes > 2 * self.limits.size:
            # A single endless line would be kept by the parser, unseen by us.
            self._refuse(431, "head_too_large")
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, "malformed_http")

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read a request as if it had not offered to leave HTTP/1.1.

        The parser stops at such a head. A second one reads the same head, as it
        was understood, without the `Connection` header that made it an offer.
        """
        if self._refused:
            return
        kept = [item for item in self.headers if item[0] != b"connection"]
        method = self.parser.get_method()
        lines = [b"%b %b HTTP/1.1" % (method, self.url)]
        lines += [b"%b: %b" % item for item in kept]
        self.parser = httptools.HttpRequestParser(self)
        self._upgrading = False
        self.data_received(b"\r\n".join([*lines, b"", b""]) + rest)

    # -- the parser -------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._reading_head = True
        self._head_bytes = 0
        if self._head_timer is None:
            self._start_timer()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        super().on_url(url)
        if len(self.url) > self.limits.target:
            self._refuse(414, "target_too_long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes after the body is a trailer, and is not one."""
        if not self._reading_head:
            return
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value) + len(b": \r\n")
        if self._head_bytes > self.limits.size or len(self.headers) > self.limits.count:
            self._refuse(431, "head_too_large")

    def on_headers_complete(self) -> None:
        """Judge the head as a whole, and start the application on it."""
        self._reading_head = False
        self._quiet_bytes = 0
        self._stop_timer()
        if self._refused:
            return
        fault = self._fault()
        if fault is not None:
            self._refuse(400, fault)
        elif self.parser.should_upgrade():
            self._upgrading = True
        else:
            super().on_headers_complete()

    def _fault(self) -> str | None:
        """Say what makes a head ambiguous or foreign; None for an ordinary one."""
        named = [name for name, _ in self.headers]
        codings = [
            value for name, value in self.headers if name == b"transfer-encoding"
        ]
        version = self.parser.get_http_version()
        checks = {
            "http_version": version not in ("1.0", "1.1"),
            "host": named.count(b"host") != 1 and version == "1.1",
            "transfer_encoding": any(each.lower() != b"chunked" for each in codings)
            or len(codings) > 1
            or (bool(codings) and version == "1.0"),
            "content_length": named.count(b"content-length") > 1
            or (bool(codings) and b"content-length" in named),
            "target": not self.url.startswith(b"/")
            or self.url.startswith(b"//")
            or b"#" in self.url,
        }
        return next((f"bad_{name}" for name, bad in checks.items() if bad), None)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._quiet_bytes = 0
        if not (self._refused or self._upgrading):
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request's body."""
        if not (self._refused or self._upgrading):
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """End an exchange; a body that nobody wants is not read to its end."""
        unread = self.cycle.more_body
        super().on_response_complete()
        if unread and not self.transport.is_closing():
            self.transport.close()

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
        if self._idle():
            self._answer(status, code)
        self.transport.close()

    def _idle(self) -> bool:
        """Whether no answer is on its way on this connection."""
        # uvicorn sets the cycle with the first request, whatever its types say.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _answer(self, status: int, code: str) -> None:
        body = msgspec.json.encode(
            {
                "error": {
                    "message": f"the request is not acceptable HTTP ({code})",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": code,
                }
            }
        )
        head = (
            b"content-type: application/json\r\n"
            b"content-length: %d\r\n"
            b"x-should-retry: false\r\n"
            b"connection: close\r\n\r\n" % len(body)
        )
        self.transport.write(STATUS_LINE[status] + head + body)


def guarded(limits: HeadLimits) -> type[GuardedProtocol]:
    """Return a protocol class with limits of its own, as uvicorn wants one."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})
