"""The transport of clients that block: judged on a loop in another thread.

The wrapped transport is called in the thread of the client, like without us.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import cast

import httpx2

from imagegate.middleware import PolicyMiddleware
from imagegate.transport.background import Background
from imagegate.transport.crossing import Crossing
from imagegate.transport.errands import Errands
from imagegate.transport.governing import Governing
from imagegate.transport.toolkit import Toolkit


class SyncHands:
    """Works with a wrapped transport that blocks, by errands."""

    def __init__(self, transport: httpx2.BaseTransport, errands: Errands) -> None:
        self._transport = transport
        self._errands = errands

    def body(self, request: httpx2.Request) -> AsyncIterator[bytes]:
        """Yield the pieces of a request's body."""
        return self._each(request.stream, ours=False)

    async def send(self, request: httpx2.Request, *, ours: bool) -> httpx2.Response:
        """Send a request."""
        sending = partial(self._transport.handle_request, request)
        return await self._errands.run(sending, always=ours)

    def pieces(self, response: httpx2.Response, *, ours: bool) -> AsyncIterator[bytes]:
        """Yield the pieces of an answer's body."""
        return self._each(response.stream, ours=ours)

    async def close(self, response: httpx2.Response) -> None:
        """End the exchange with the provider."""
        await self._errands.run(response.close, always=True)

    async def _each(self, stream: object, *, ours: bool) -> AsyncIterator[bytes]:
        taking = partial(next, iter(cast("httpx2.SyncByteStream", stream)), None)
        while (piece := await self._errands.run(taking, always=ours)) is not None:
            yield piece


class SyncPieces:
    """The body of an answer, as the SDK's HTTP library takes it."""

    def __init__(self, crossing: Crossing, errands: Errands, keep: object) -> None:
        self._crossing = crossing
        self._errands = errands
        self._keep = keep  # the transport, which ends what is under way when it goes

    def __iter__(self) -> Iterator[bytes]:
        """Yield each piece as it comes."""
        while not self._crossing.over:
            piece = self._errands.until(self._crossing.piece())
            if piece is not None:
                yield piece
        self._crossing.ended()

    def close(self) -> None:
        """Want no more of it."""
        leave(self._crossing, self._errands)


def leave(crossing: Crossing, errands: Errands) -> None:
    """Want no more of an answer, and wait until that is seen to.

    In a fork there is nothing to see to: the other process has the exchange.
    """
    if errands.ours and not crossing.over:
        errands.leave()
        errands.until(crossing.leave())


class Synchronous:
    """What a transport for clients that block does, whichever the toolkit.

    Args:
        transport: The wrapped transport.
        governing: What holds.
        toolkit: The HTTP toolkit.
        pieces: Its kind of body.
    """

    def __init__(
        self,
        transport: httpx2.BaseTransport,
        governing: Governing,
        toolkit: Toolkit,
        pieces: type[SyncPieces],
    ) -> None:
        self._transport = transport
        self._governing = governing
        self._toolkit = toolkit
        self._pieces = pieces
        self._lock = threading.Lock()
        self._background: Background | None = None
        self._pid = 0
        self._open: dict[Crossing, Errands] = {}

    def handle(self, request: httpx2.Request, keep: object) -> httpx2.Response:
        """Judge a request, and send it if it may go on.

        Args:
            request: The request.
            keep: The public transport: when nobody holds it, all of this ends.
        """
        app = self._governing.begun() or self._governing.begin()
        errands = Errands(self._begun(keep).loop)
        hands = SyncHands(self._transport, errands)
        crossing = Crossing(request, hands, self._toolkit)
        try:
            status, headers = errands.until(self._head(crossing, errands, app))
        except BaseException:
            leave(crossing, errands)
            raise
        return self._toolkit.Response(
            status,
            headers=headers,
            stream=cast("httpx2.SyncByteStream", self._pieces(crossing, errands, keep)),
            extensions=crossing.extensions,
        )

    def close(self) -> None:
        """Stop what is under way, and close audit and wrapped transport."""
        self.end()
        self._transport.close()

    def end(self) -> None:
        """Stop what is under way, and close the audit."""
        with self._lock:
            background, self._background = self._background, None
        if background is not None and self._pid == os.getpid():
            if background.here:  # collected as garbage, in just that thread
                threading.Thread(target=self._stop, args=(background,)).start()
                return
            self._stop(background)
        self._governing.close()

    def _stop(self, background: Background) -> None:
        for crossing, errands in [*self._open.items()]:
            errands.leave()
            errands.until(crossing.shut())
        self._governing.close()
        background.stop()

    async def _head(
        self, crossing: Crossing, errands: Errands, app: PolicyMiddleware
    ) -> tuple[int, list[tuple[bytes, bytes]]]:
        self._open[crossing] = errands
        task = crossing.begin(app, self._governing.prefix)
        task.add_done_callback(lambda _: self._open.pop(crossing))
        return await crossing.head()

    def _begun(self, keep: object) -> Background:
        with self._lock:
            if self._background is None:
                self._background, self._pid = Background(), os.getpid()
                weakref.finalize(keep, self.end)
            return self._background
