"""One request of an SDK on its way through the policy: the server's side of ASGI.

What the middleware sends waits here until the SDK wants more, one piece at a time, so
that nothing is read from the provider that nobody has asked for. The answer ends for
the SDK when all about it is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httpx2
from starlette.types import ASGIApp, Message, Scope

from imagegate import log
from imagegate.transport.toolkit import Toolkit

EXTENSION: Final = "imagegate.crossing"
"""Where the application behind the policy finds the crossing that it serves."""


class Hands(Protocol):
    """Works with the SDK's request and the wrapped transport, which may block."""

    def body(self, request: httpx2.Request) -> AsyncIterator[bytes]:
        """Yield the pieces of a request's body."""

    async def send(self, request: httpx2.Request, *, ours: bool) -> httpx2.Response:
        """Send a request.

        Args:
            request: What to send.
            ours: Nobody but us waits for its answer.
        """

    def pieces(self, response: httpx2.Response, *, ours: bool) -> AsyncIterator[bytes]:
        """Yield the pieces of an answer's body, as they come, undecoded."""

    async def close(self, response: httpx2.Response) -> None:
        """End the exchange with the provider."""


class Crossing:
    """One request and its answer; one use, on one loop.

    Args:
        request: As the SDK made it.
        hands: Work with it.
        toolkit: The SDK's HTTP toolkit.

    Attributes:
        went_on: The request was answered by the provider.
        extensions: What the wrapped transport tells of its answer.
        over: Nothing more happens, and all is recorded.
    """

    def __init__(self, request: httpx2.Request, hands: Hands, toolkit: Toolkit) -> None:
        self.request = request
        self.hands = hands
        self.toolkit = toolkit
        self.went_on = False
        self.extensions: dict[str, Any] = {}
        self._whole = _whole(request, toolkit)
        self._pieces: AsyncIterator[bytes] | None = None
        if self._whole is None:
            self._pieces = hands.body(request)
        self._task: asyncio.Task[None] | None = None
        self.over = False
        self._changed = asyncio.Event()
        self._left = False
        self._fault: Exception | None = None
        self._start: Message | None = None
        self._piece: bytes | None = None
        self._wanted = False

    # -- for the SDK ------------------------------------------------------------

    def begin(self, app: ASGIApp, prefix: str) -> asyncio.Task[None]:
        """Let an application answer the request."""
        scope = _scope(self.request, prefix) | {"extensions": {EXTENSION: self}}
        self._task = asyncio.create_task(self._run(app, scope))
        return self._task

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Wait for status and headers of the answer; raise what kept it from coming."""
        await self._until(lambda: self._start is not None)
        if self._start is None:
            raise self._fault or self.toolkit.RemoteProtocolError("no answer")
        return self._start["status"], self._start["headers"]

    async def piece(self) -> bytes | None:
        """Wait for the next piece of the body; None at its end."""
        self._wanted = True
        self._changed.set()
        await self._until(lambda: self._piece is not None)
        piece, self._piece = self._piece, None
        self._wanted = False
        if piece is None:
            self.ended()
        return piece

    def ended(self) -> None:
        """Raise what it ended with before its end, if anything."""
        if self._fault is not None:
            raise self._fault

    async def leave(self) -> None:
        """Want no more of it, and wait until that is seen to."""
        self._left = True
        self._changed.set()
        await self._until(lambda: self.over)

    async def shut(self) -> None:
        """Stop it, as a server that stops does."""
        self._left = True
        if self._task is not None:
            self._task.cancel()
        await self._until(lambda: self.over)

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not (self.over or ready()):
            self._changed.clear()
            await self._changed.wait()

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        """Run the application; keep what it raised for whoever waits."""
        try:
            await app(scope, self._receive, self._send)
        except log.Told:
            self._fault = self.toolkit.RemoteProtocolError("the answer was broken off")
        except asyncio.CancelledError:
            self._fault = self.toolkit.ReadError("the transport is closed")
        except Exception as error:  # noqa: BLE001 - the SDK's to handle
            self._fault = self._fault or error
        finally:
            self.over = True
            self._changed.set()

    # -- for the middleware -----------------------------------------------------

    async def _receive(self) -> Message:
        if self._whole is not None:
            whole, self._whole = self._whole, None
            return {"type": "http.request", "body": whole, "more_body": False}
        if self._pieces is not None and not self._left:
            piece = await self._next(self._pieces)
            if piece is not None:
                return {"type": "http.request", "body": piece, "more_body": True}
            self._pieces = None
            if not self._left:
                return {"type": "http.request", "body": b"", "more_body": False}
        await self._until(lambda: self._left)
        return {"type": "http.disconnect"}

    async def _next(self, pieces: AsyncIterator[bytes]) -> bytes | None:
        """Return the next piece of the body; who cannot give it has left."""
        taking = asyncio.ensure_future(anext(pieces, None))
        leaving = asyncio.ensure_future(self._until(lambda: self._left))
        try:
            await asyncio.wait({taking, leaving}, return_when="FIRST_COMPLETED")
            if taking.done():
                return taking.result()
        except Exception as error:  # noqa: BLE001 - the SDK's own, and raised there
            self._fault, self._left = error, True
        finally:
            for each in (taking, leaving):
                each.cancel()
        return None

    async def _send(self, message: Message) -> None:
        self._check()
        if message["type"] == "http.response.start":
            self._start = message
            self._changed.set()
            await self._until(lambda: self._wanted or self._left)
            self._check()
        elif piece := message.get("body", b""):
            await self._hand_over(bytes(piece))

    async def _hand_over(self, piece: bytes) -> None:
        """Give a piece to who wants it; return when the next one is wanted, or none."""
        await self._until(lambda: self._wanted or self._left)
        self._check()
        self._piece = piece
        self._changed.set()
        await self._until(lambda: self._taken or self._left)
        if not self._taken:
            self._check()
        await self._until(lambda: self._wanted or self._left)

    @property
    def _taken(self) -> bool:
        return self._piece is None

    def _check(self) -> None:
        if self._left:
            raise ConnectionResetError("nobody wants more of this answer")

    # -- for the application ----------------------------------------------------

    def outgoing(self, scope: Scope, body: bytes) -> httpx2.Request:
        """Write the request that goes on."""
        target: bytes = scope["raw_path"]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        return self.toolkit.Request(
            scope["method"],
            self.request.url.copy_with(raw_path=target),
            headers=scope["headers"],
            content=body,
            extensions=self.request.extensions,
        )

    def goes_on(self, response: httpx2.Response) -> None:
        """Take note of an answer of the provider's."""
        if not self.went_on:
            self.went_on = True
            self.extensions = response.extensions


def _whole(request: httpx2.Request, toolkit: Toolkit) -> bytes | None:
    """Return the body, if it is in memory; else it comes piece by piece."""
    with contextlib.suppress(toolkit.RequestNotRead):
        return request.content
    return None


def _scope(request: httpx2.Request, prefix: str) -> dict[str, Any]:
    """Describe a request as servers do."""
    path, _, query = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": prefix,
        "headers": [(key.lower(), value) for key, value in request.headers.raw],
        "client": None,
        "server": None,
    }
