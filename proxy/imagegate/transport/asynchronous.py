"""The transport of clients that are asynchronous: all of it on the client's loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import httpx2

from imagegate.middleware import PolicyMiddleware
from imagegate.transport.crossing import Crossing
from imagegate.transport.governing import Governing
from imagegate.transport.toolkit import Toolkit


class AsyncHands:
    """Works with a wrapped transport that does not block."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def body(self, request: httpx2.Request) -> AsyncIterator[bytes]:
        """Yield the pieces of a request's body."""
        async for piece in cast("httpx2.AsyncByteStream", request.stream):
            yield piece

    async def send(self, request: httpx2.Request, *, ours: bool) -> httpx2.Response:
        """Send a request."""
        del ours
        return await self._transport.handle_async_request(request)

    async def pieces(
        self, response: httpx2.Response, *, ours: bool
    ) -> AsyncIterator[bytes]:
        """Yield the pieces of an answer's body."""
        del ours
        async for piece in cast("httpx2.AsyncByteStream", response.stream):
            yield piece

    async def close(self, response: httpx2.Response) -> None:
        """End the exchange with the provider."""
        await response.aclose()


class AsyncPieces:
    """The body of an answer, as the SDK's HTTP library takes it."""

    def __init__(self, crossing: Crossing, keep: object) -> None:
        self._crossing = crossing
        self._keep = keep

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield each piece as it comes."""
        while (piece := await self._crossing.piece()) is not None:
            yield piece

    async def aclose(self) -> None:
        """Want no more of it."""
        await self._crossing.leave()


class Asynchronous:
    """What a transport for asynchronous clients does, whichever the toolkit.

    Args:
        transport: The wrapped transport.
        governing: What holds.
        toolkit: The HTTP toolkit.
        pieces: Its kind of body.
    """

    def __init__(
        self,
        transport: httpx2.AsyncBaseTransport,
        governing: Governing,
        toolkit: Toolkit,
        pieces: type[AsyncPieces],
    ) -> None:
        self._transport = transport
        self._governing = governing
        self._toolkit = toolkit
        self._pieces = pieces
        self._open: dict[Crossing, asyncio.Task[None]] = {}

    async def handle(self, request: httpx2.Request, keep: object) -> httpx2.Response:
        """Judge a request, and send it if it may go on."""
        app = await self._app()
        crossing = Crossing(request, AsyncHands(self._transport), self._toolkit)
        self._open[crossing] = task = crossing.begin(app, self._governing.prefix)
        task.add_done_callback(lambda _: self._open.pop(crossing))
        try:
            status, headers = await crossing.head()
        except BaseException:
            await crossing.leave()
            raise
        return self._toolkit.Response(
            status,
            headers=headers,
            stream=cast("httpx2.AsyncByteStream", self._pieces(crossing, keep)),
            extensions=crossing.extensions,
        )

    async def close(self) -> None:
        """Stop what is under way, and close audit and wrapped transport."""
        for crossing in [*self._open]:
            await crossing.shut()
        await asyncio.to_thread(self._governing.close)
        await self._transport.aclose()

    async def _app(self) -> PolicyMiddleware:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError("the policy's transports run on asyncio") from None
        begun = self._governing.begun()
        if begun is None:
            begun = await asyncio.to_thread(self._governing.begin)
        return begun
