"""The application for one request, seen by the connection that it answers on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from imagegate.server.cork import Cork
from imagegate.server.flow import Flow
from imagegate.server.head import begin
from imagegate.server.stopped import say_stopped

_LARGE: Final = 32 * 1024
"""From here on a piece is written as it is; uvicorn joins a chunk and its two lines."""
DEPARTURE: Final = "imagegate.departure"
"""The extension by which an application has somebody called when its client leaves:
`scope["extensions"]["imagegate.departure"](told)`, and None to have nobody called. A
task that waits for `http.disconnect` would cost more than the rest of a request."""
UNTAKEN: Final = "imagegate.untaken"
"""The extension that tells how many bytes of an answer the client has still to take,
in the kernel too: `scope["extensions"]["imagegate.untaken"]()`. A server's `send` ends
when megabytes have room again, and who reads slowly looks like who does not read."""

FILL: Final = "imagegate.fill"
"""The extension by which an application has a body written to memory of its own:
`await scope["extensions"]["imagegate.fill"](room, came)` fills a view with what comes
next, calls `came` with the size of each piece, and returns the size of all. It is for
what comes behind the first message, and where it fills less, or nothing, `receive`
knows why. Each message would cost more than the reading of its bytes."""
Came: TypeAlias = Callable[[int], None]
Fill: TypeAlias = Callable[[memoryview, Came], Awaitable[int]]


class Polite:
    """The application for one request.

    An answer given before the body was read ends the connection; the client is told
    so, and has time to read it.
    """

    cycle: RequestResponseCycle

    def __init__(
        self,
        app: ASGIApp,
        cork: Cork,
        linger: Callable[[], None],
        ended: Callable[[RequestResponseCycle], None],
        fill: Fill,
    ) -> None:
        self._app = app
        self._cork = cork
        self._linger = linger
        self._ended = ended
        self._fill = fill
        self._early = False  # the answer begins before the request has ended
        self._left = False
        self._told: Callable[[], None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application."""
        flow = cast("Flow", self.cycle.flow)
        scope["extensions"] = {
            **scope.get("extensions", {}),
            DEPARTURE: self._tell,
            UNTAKEN: flow.untaken,
            FILL: self._filling,
        }

        async def sending(message: Message) -> None:
            cycle = self.cycle
            if not cycle.response_started and message["type"] == "http.response.start":
                await self._begin(message)
                return
            if len(message.get("body", b"")) >= _LARGE:
                message = self._written(message)
            if message:
                await send(message)
            if cycle.response_complete:
                self._cork.flush()
                if self._early:
                    self._linger()
            elif cycle.flow.write_paused and not cycle.disconnected:
                # Now, for what is asked for meanwhile would have to be kept as well.
                await cycle.flow.drain()

        try:
            await self._app(scope, receive, sending)
        except asyncio.CancelledError:
            await say_stopped(self.cycle, sending)
        finally:
            self._ended(self.cycle)

    async def _filling(self, room: memoryview, came: Came) -> int:
        """Fill a room with what comes next of a body, if that is all there is to do."""
        cycle = self.cycle
        over = cycle.disconnected or cycle.response_complete or not cycle.more_body
        if over or cycle.waiting_for_100_continue or cycle.body or not room:
            return 0
        return await self._fill(room, came)

    def leave(self) -> None:
        """Take word that the client has left."""
        self._left = True
        if self._told is not None:
            self._told()

    def _tell(self, told: Callable[[], None] | None) -> None:
        """Have somebody called who wants to know; at the earliest in a moment."""
        self._told = told
        if self._left and told is not None:
            asyncio.get_running_loop().call_soon(told)

    async def _begin(self, message: Message) -> None:
        """Send the head, as uvicorn does."""
        cycle, self._early = self.cycle, self.cycle.more_body
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if not cycle.disconnected:
            status, headers = message["status"], message.get("headers", ())
            self._cork.write(begin(cycle, status, headers, closing=self._early))

    def _written(self, message: Message) -> Message:
        """Write a large piece without a copy of it.

        Returns:
            What is left, for uvicorn: nothing, the end of an answer, or all that it
            does otherwise.
        """
        cycle, more = self.cycle, message.get("more_body", False)
        if cycle.response_complete:
            return message
        body = message["body"]
        if cycle.chunked_encoding:
            write = self._cork.writelines if more else self._cork.hold
            write((b"%x\r\n" % len(body), body, b"\r\n"))
            return {} if more else {**message, "body": b""}
        wanted = more and cycle.scope["method"] != "HEAD"
        if wanted and len(body) <= cycle.expected_content_length:
            cycle.expected_content_length -= len(body)
            self._cork.writelines((body,))
            return {}
        return message
