"""What ends an exchange early: a wait that takes too long, a client that has left.

Timeouts of single reads never end an answer that drips. Here every wait has an end,
and all of it has one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, Literal, Self, TypeAlias

import msgspec
from starlette.types import Receive, Scope

from imagegate.upstream.client import UpstreamError

_PATIENCE: Final = 0.005
"""Seconds after which listening costs little beside the request itself."""
DEPARTURE: Final = "imagegate.departure"
"""The extension in which one can have somebody called when the client leaves."""
UNTAKEN: Final = "imagegate.untaken"
"""The extension that says how many bytes of an answer a client has still to take."""
_LEAST: Final = 1024
"""Bytes in a second that a client takes which does not stall, as it must send them."""
_PAUSE: Final = 0.25
"""Seconds between two looks at all that is under way."""
Wait: TypeAlias = Literal["body", "head", "idle", "stall"]


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How many seconds each wait may take.

    Attributes:
        body: For the next piece of the client's request.
        head: From the whole request to the head of the answer. An image that is
            not streamed takes minutes before its first byte.
        idle: Between two pieces of the answer. Nothing may be said of a streamed
            image while it is painted, and the clients wait as long.
        stall: One write to the client, or a kilobyte that it takes for each of the
            seconds, where the server can tell.
        total: The whole exchange.
    """

    body: float = 60.0
    head: float = 600.0
    idle: float = 600.0
    stall: float = 60.0
    total: float = 3600.0


class ClientLeft(Exception):  # noqa: N818 - a fact, not an error
    """The client hung up."""


class ClientStalled(ClientLeft):
    """The client is there, and reads nothing any more."""


class Round:
    """Looks after the exchanges of one forwarder, by one timer for each event loop.

    A timer for each exchange would cost more than its deadlines are worth, and so
    would the time at which each wait begins: it is counted from the first look at it.
    What may take a minute may take half a second longer.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self.seconds: dict[Wait, float] = {
            "body": deadlines.body,
            "head": deadlines.head,
            "idle": deadlines.idle,
            "stall": deadlines.stall,
        }
        self.total = deadlines.total
        shortest = min(self.total, *self.seconds.values())
        self._pause = min(_PAUSE, shortest / 10)
        self._watched: dict[asyncio.AbstractEventLoop, set[Watchdog]] = {}

    def join(self, watchdog: Watchdog, loop: asyncio.AbstractEventLoop) -> None:
        """Look after one more."""
        watched = self._watched.get(loop)
        if watched is None:
            watched = self._begin(loop)
        watched.add(watchdog)

    def leave(self, watchdog: Watchdog, loop: asyncio.AbstractEventLoop) -> None:
        """Look after one less."""
        self._watched[loop].discard(watchdog)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> set[Watchdog]:
        for other in [each for each in self._watched if each.is_closed()]:
            del self._watched[other]
        watched = self._watched[loop] = set()
        loop.call_later(self._pause, self._look, loop, loop.time() + 2 * self._pause)
        return watched

    def _look(self, loop: asyncio.AbstractEventLoop, latest: float) -> None:
        """Look at all; but where the process stood still, at what came meanwhile first.

        Args:
            loop: Theirs.
            latest: A look behind that comes too late.
        """
        watched = self._watched[loop]
        if not watched:
            del self._watched[loop]
            return
        now = loop.time()
        late = now > latest
        latest = math.inf if late else now + 2 * self._pause
        # First: whatever happened to one, the others' deadlines would hold.
        loop.call_later(self._pause, self._look, loop, latest)
        for watchdog in () if late else [*watched]:
            watchdog.look(now)


class Watchdog:
    """Cancels the task that enters it, and raises the reason where it leaves.

    Args:
        round_: Looks after it.

    Attributes:
        answering: The head of the answer was sent, or is being sent.
    """

    __slots__ = (
        "__weakref__",
        "_cancelled_before",
        "_due",
        "_end",
        "_left",
        "_loop",
        "_reason",
        "_round",
        "_task",
        "_untaken",
        "_wait",
        "_watching",
        "answering",
    )

    def __init__(self, round_: Round) -> None:
        self._round = round_
        self._wait: Wait = "body"
        self._due: float | None = None  # from the first look at a wait
        self._reason: Exception | None = None
        self._watching = False
        self._untaken: Callable[[], int] | None = None
        self._left = 0
        self.answering = False

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a watchdog needs a task to watch")
        self._task = task
        self._cancelled_before = task.cancelling()
        self._end = self._loop.time() + self._round.total
        self._round.join(self, self._loop)
        self._watching = True
        return self

    def expect(self, wait: Wait) -> None:
        """Say what is waited for from now on."""
        self._wait, self._due = wait, None

    def follow(self, scope: Scope) -> None:
        """Learn from the server what the client takes, if it can tell."""
        self._untaken = (scope.get("extensions") or {}).get(UNTAKEN)

    def end(self, reason: Exception) -> None:
        """End the exchange now, unless it has ended."""
        if self._watching and self._reason is None:
            self._reason = reason
            self._task.cancel()

    def look(self, now: float) -> None:
        """End the exchange if it is time."""
        if now >= self._end:
            self.end(UpstreamError("total_timeout", status=504))
        elif (self._wait == "stall" and self._takes()) or self._due is None:
            self._due = now + self._round.seconds[self._wait]
        elif now >= self._due:
            self.end(self._expired())

    def _takes(self) -> bool:
        """Whether the client has taken enough since last time, or since a write."""
        if self._untaken is None:
            return False
        left, before = self._untaken(), self._left
        enough = left <= before - _LEAST * self._round.seconds["stall"]
        if enough or left > before:
            self._left = left
        return enough

    def _expired(self) -> Exception:
        if self._wait == "stall":
            return ClientStalled()
        status = 408 if self._wait == "body" else 504
        return UpstreamError(f"{self._wait}_timeout", status=status)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._watching = False
        self._round.leave(self, self._loop)
        if self._reason is None:
            return
        ours_alone = self._task.uncancel() <= self._cancelled_before
        if ours_alone and kind is asyncio.CancelledError:
            raise self._reason from None


class Leaving:
    """Ends the exchange when the client hangs up.

    Servers do not raise in `send` when a client has left. Some call who wants to know;
    for others somebody listens, not at once, because the task for it would be much of
    the cost of a small request.
    """

    def __init__(self, scope: Scope, receive: Receive, watchdog: Watchdog) -> None:
        self._departure = (scope.get("extensions") or {}).get(DEPARTURE)
        self._receive = receive
        self._watchdog = watchdog
        self._timer: asyncio.TimerHandle | None = None
        self._listener: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        if self._departure is not None:
            self._departure(self._left)
            return
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_PATIENCE, self._listen)

    def __exit__(self, *raised: object) -> None:
        if self._departure is not None:
            self._departure(None)
        if self._timer is not None:
            self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()

    def _left(self) -> None:
        self._watchdog.end(ClientLeft())

    def _listen(self) -> None:
        self._listener = self._loop.create_task(self._hear())
        self._listener.add_done_callback(self._heard)

    async def _hear(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _heard(self, listener: asyncio.Task[None]) -> None:
        # A server that cannot say whether the client is there: as if it had left.
        if not listener.cancelled():
            listener.exception()
            self._left()
