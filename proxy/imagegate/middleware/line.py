"""The line to the client: what comes in over it, and whether it is still there.

ASGI servers do not raise in `send` when a client has left; they say so to whoever
calls `receive`. An application that is busy forwarding does not call it, and its
provider goes on making images that nobody will see. Our own server calls who wants to
know; for others a task of ours listens, and tells whoever of the application asks. It
is not started before a request has taken a few milliseconds, because it would be much
of the cost of a small one.

An application whose client left is stopped. One that listens, or is just sending,
hears it, and has a moment to stop by itself; then, or if it does not listen, it is
cancelled. Behind the end of its answer it may go on: that is how background tasks
work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeAlias, cast

from starlette.types import Message, Receive

DEPARTURE: Final = "imagegate.departure"
"""The extension in which a server, and here an application, can have somebody called
when the client leaves; with None, nobody."""
Told: TypeAlias = Callable[[], None]
Tell: TypeAlias = Callable[[Told | None], None]

_PATIENCE: Final = 0.005
"""Seconds after which listening costs little beside the request itself."""
_DISCONNECT: Final = "http.disconnect"


class Unwanted(OSError):  # noqa: N818 - what servers raise for a client that left
    """Nobody wants more of this answer: its client left, or it was cut."""


class Line:
    """The client's end of one request, while an application answers it; one use.

    Args:
        receive: The server's.
        grace: Seconds in which an application that knows may stop by itself.
        body: What it is given to read, in pieces; None for what the client sends.
        gone: Called when it begins to answer, and has no more use for that.
        departure: Takes who is to be called when the client leaves, if the server can.

    Attributes:
        views: Where an application says `wanted` that takes a body in pieces, views
            among them; any other gets it whole.
        left: Whether the client left before its answer was complete.
        answered: The answer is complete: there is nothing to stop any more.
        telling: How many calls of the application wait for word, or send: it will
            hear of the end, if it comes now.
    """

    __slots__ = (
        "_body",
        "_cancelled",
        "_closed",
        "_departure",
        "_grace",
        "_listener",
        "_loop",
        "_over",
        "_patient",
        "_receive",
        "_task",
        "_timer",
        "_told",
        "_whole",
        "_word",
        "answered",
        "gone",
        "left",
        "telling",
        "views",
    )

    def __init__(
        self,
        receive: Receive,
        grace: float,
        body: Sequence[bytes | memoryview] | None,
        gone: Callable[[], None] = lambda: None,
        departure: Tell | None = None,
    ) -> None:
        self.gone = gone
        self.views: dict[str, Any] = {}
        self.left = False
        self.answered = False
        self.telling = 0
        self._receive = receive
        self._departure = departure
        self._told: Told | None = None
        self._grace = grace
        self._body = None if body is None else deque(body)
        self._whole = body is not None  # the server has no more of it
        self._over = False
        self._word: asyncio.Event | None = None  # for calls that wait for the end
        self._patient = True
        self._closed = False
        self._task = cast("asyncio.Task[None]", asyncio.current_task())
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Task[None] | None = None
        self._cancelled = False

    # -- for the application ----------------------------------------------------

    async def receive(self) -> Message:
        """Give what comes next: the body, and then word that the client left."""
        if self._body is not None:
            return self._given(self._body)
        if self._over:
            return {"type": "http.disconnect"}
        self.telling += 1
        try:
            if not self._whole or self._closed:
                return self._noted(await self._receive())
            if self._word is None:
                self._word = asyncio.Event()
            await self._word.wait()
        finally:
            self.telling -= 1
        return {"type": "http.disconnect"}

    def _given(self, body: deque[bytes | memoryview]) -> Message:
        """Give the body away: whole, or to whoever wants it so as it lies."""
        data: bytes | memoryview = b""
        if self.views.get("wanted") and body:
            data = body.popleft()
        elif body:
            data = b"".join(body) if len(body) > 1 else bytes(body[0])
            body.clear()
        if not body:
            self._body = None
        return {"type": "http.request", "body": data, "more_body": bool(body)}

    def tell(self, told: Told | None) -> None:
        """Have somebody of the application called when the client leaves."""
        self._told = told

    # -- the watch --------------------------------------------------------------

    def __enter__(self) -> Self:
        """Begin to watch."""
        if self._departure is not None:
            self._departure(self._departed)
        else:
            self._timer = self._loop.call_later(_PATIENCE, self._lose_patience)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        """Stop watching; swallow a cancellation that was ours alone."""
        self._closed = True
        if self._departure is not None:
            self._departure(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        if not self._cancelled:
            return False
        return not self._task.uncancel() and isinstance(error, asyncio.CancelledError)

    def hang_up(self) -> None:
        """Stop the application as if its client had left.

        Never at once where it is being told: a task that cancels itself finds out
        at its next wait, which may be behind the application.
        """
        self._end()
        if self.telling or self._told is not None:
            self._timer = self._loop.call_later(self._grace, self._cancel)
        else:
            self._cancel()

    def client_left(self) -> None:
        """Take word that the client has left, from whoever of the application heard."""
        if self.answered or self._closed:
            self._end()
        elif not self._over:
            self.left = True
            self.hang_up()

    def _lose_patience(self) -> None:
        self._patient = False
        if self._whole:
            self._listen()

    def _listen(self) -> None:
        if not self._closed:
            self._listener = self._loop.create_task(self._heard())

    async def _heard(self) -> None:
        """Wait for word; a server that fails to give it has lost the client too."""
        with contextlib.suppress(Exception):
            message = await self._receive()
            while message["type"] != "http.disconnect":
                await asyncio.sleep(0)  # however fast they come, others run
                message = await self._receive()
        self._departed()

    def _end(self) -> None:
        self._over = True
        if self._word is not None:
            self._word.set()

    def _departed(self) -> None:
        """Take word from outside the application's task, which may be told of it."""
        self.client_left()
        if self.left and self._told is not None:
            self._told()

    def _noted(self, message: Message) -> Message:
        if message["type"] == "http.disconnect":
            self.client_left()
        elif not message.get("more_body", False):
            self._whole = True
            if not self._patient:
                self._listen()
        return message

    def _cancel(self) -> None:
        self._cancelled = True
        self._task.cancel()
