"""An ASGI application that sends each request to the provider and relays the answer.

It knows no policy, and no HTTP client but by its interface. The upstream call is
paid for, so it ends as soon as nobody listens any more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TypeAlias

from starlette.types import Receive, Scope, Send

from imagegate.upstream.client import (
    Client,
    UpstreamAnswer,
    UpstreamError,
    UpstreamRequest,
)
from imagegate.upstream.deadlines import (
    ClientLeft,
    ClientStalled,
    Deadlines,
    Leaving,
    Round,
    Watchdog,
)
from imagegate.upstream.headers import to_client, to_upstream
from imagegate.upstream.outcome import OUTCOME, Failures, instead, note, want_views
from imagegate.upstream.provider import Upstream, path_of, query_of
from imagegate.upstream.sockets import SocketClient
from imagegate.upstream.websocket import SocketForwarder

__all__ = ["OUTCOME", "Deadlines", "Forwarder", "Upstream"]

_NEVER_FORWARDED = ("CONNECT", "TRACE")
Pieces: TypeAlias = Sequence[bytes | memoryview]
_WITH_BODY = ("POST", "PUT", "PATCH")


class Forwarder:
    """Forwards; what it was made of does not change."""

    def __init__(
        self,
        client: Client,
        upstream: Upstream,
        *,
        deadlines: Deadlines | None = None,
        body_limit: int = 128 * 1024 * 1024,
        sockets: SocketClient | None = None,
    ) -> None:
        """Make a forwarder.

        Args:
            client: Sends the requests.
            upstream: Where they go.
            deadlines: How long each wait may take.
            body_limit: How many bytes a request that nobody has read before us
                may have; it is held in memory until it is sent.
            sockets: Opens WebSockets.
        """
        self.client = client
        self.upstream = upstream
        self.deadlines = deadlines or Deadlines()
        self.body_limit = body_limit
        self._round = Round(self.deadlines)
        self._failures = Failures(upstream.name)
        self._origin = upstream.origin
        self._host = b"host", self._origin.authority
        self._path = upstream.path
        self._kept_back = upstream.kept_back
        self._sockets = SocketForwarder(
            sockets or SocketClient(), upstream, seconds=self.deadlines.total
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request.

        Raises:
            UpstreamError: The answer ended too early, after its head was sent: the
                server must not end it as if it were complete.
        """
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"cannot forward a scope of type {scope['type']!r}")
        watchdog = Watchdog(self._round)
        try:
            with watchdog:
                await self._forward(scope, receive, send, watchdog)
        except ClientStalled:
            note(scope, "client_left")
            raise UpstreamError("client_stalled", status=504) from None
        except ClientLeft:
            note(scope, "client_left")
        except UpstreamError as error:
            late = error.code.endswith("_timeout")
            note(scope, "timeout" if late else "upstream_error")
            if watchdog.answering:
                raise
            self._failures.tell(error)
            await self._answer(send, error)

    async def _forward(
        self, scope: Scope, receive: Receive, send: Send, watchdog: Watchdog
    ) -> None:
        want_views(scope)
        body = await self._read_body(receive, watchdog)
        watchdog.follow(scope)
        with Leaving(scope, receive, watchdog):
            watchdog.expect("head")
            sending = self.client.send(await self._outgoing(scope, body))
            del body  # not held for the minutes in which an image is made
            answer = await sending
            del sending
            try:
                await _relay(answer, send, watchdog)
            finally:
                await answer.close()

    async def _read_body(self, receive: Receive, watchdog: Watchdog) -> Pieces:
        """Read the body, in the pieces in which it comes: they are sent so."""
        parts: list[bytes | memoryview] = []
        size = 0
        while True:
            watchdog.expect("body")
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            part: bytes | memoryview = message.get("body", b"")
            size += len(part)
            if size > self.body_limit:
                raise UpstreamError("request_too_large", status=413)
            if part:
                parts.append(part)
            if not message.get("more_body", False):
                return parts

    async def _outgoing(self, scope: Scope, body: Pieces) -> UpstreamRequest:
        """Build what the provider gets."""
        method = scope["method"]
        if method in _NEVER_FORWARDED:
            raise UpstreamError("bad_method", status=400)
        credential = self.upstream.credential
        target = self._path + path_of(scope) + query_of(scope, credential)
        headers = [
            self._host,
            *to_upstream(scope["headers"], self._kept_back),
            *await credential.headers(scope["headers"]),
            # An encoded answer could be relayed but not observed; one rule for all
            # routes, for which of them is observed is not known here.
            (b"accept-encoding", b"identity"),
        ]
        if body or method in _WITH_BODY:
            headers.append((b"content-length", b"%d" % sum(map(len, body))))
        return UpstreamRequest(
            method=method,
            origin=self._origin,
            target=target,
            headers=headers,
            body=body,
        )

    async def _answer(self, send: Send, error: UpstreamError) -> None:
        """Answer in the provider's place; who does not even read that has left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.deadlines.stall):
                for message in instead(error):
                    await send(message)


async def _relay(answer: UpstreamAnswer, send: Send, watchdog: Watchdog) -> None:
    """Send on each piece as it comes; while a piece is not taken, none is read."""
    status = answer.status
    head = {
        "type": "http.response.start",
        "status": status,
        "headers": to_client(answer.headers, status=status),
    }
    watchdog.expect("stall")
    watchdog.answering = True
    await send(head)
    del head  # nor is anything else held for so long that is not needed
    more = True
    while more:
        watchdog.expect("idle")
        chunk = await answer.read()
        # One message less, where the last piece is known to be the last.
        more = bool(chunk) and not answer.ended
        watchdog.expect("stall")
        await send({"type": "http.response.body", "body": chunk, "more_body": more})
