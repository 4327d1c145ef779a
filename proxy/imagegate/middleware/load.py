"""What a process carries at once: exchanges, of each principal too, and their bodies.

What comes on top is refused at once, and may come again in a moment: a gateway that
takes more than it can carry serves nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from typing import Final, Self

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import Principal

_FULL: Final = MalformedRequest(
    "too_many_exchanges",
    "this gateway has as much to do as it takes at once; try again later",
    status=503,
)
_BUSY: Final = MalformedRequest(
    "too_many_exchanges",
    "you have as many requests under way as you may; wait for one of them",
    status=429,
)
_HEAVY: Final = MalformedRequest(
    "too_many_bodies",
    "this gateway holds as much of requests as it takes at once; try again later",
    status=503,
)
_Who = tuple[str, str, bool]
_LOOK: Final = 0.01  # seconds between two looks at what is left, where all ends
_AT_ONCE: Final = 16
"""Exchanges that begin in one round of the loop: some ten milliseconds of work. When a
thousand began in one, whatever is under way would stand still for a second, health too.
"""


class Load:
    """What is carried now; one for a process.

    Args:
        most: Exchanges at once.
        each: Of one principal; None for as many as there can be.
        most_bytes: Of requests that are held at once.
    """

    def __init__(self, most: int, each: int | None, most_bytes: int) -> None:
        self._most = most
        self._each = each
        self._most_bytes = most_bytes
        self.exchanges = 0
        self.bytes = 0
        self.of: Counter[_Who] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = 0  # in this round
        self._waiting: deque[asyncio.Future[None]] = deque()

    def carry(self) -> Carried:
        """Begin to carry something, which is nothing as yet."""
        return Carried(self)

    async def ended(self, seconds: float) -> None:
        """Wait until no exchange is carried; no longer than so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.exchanges:  # noqa: ASYNC110 - an event costs each of them
                    await asyncio.sleep(_LOOK)

    async def turn(self) -> None:
        """Wait for a turn to begin, where many begin at once."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # what waited on one that ended waits for nothing
            self._loop, self._begun = loop, 0
            self._waiting.clear()
        if not self._begun:
            loop.call_soon(self._next_round)
        if self._begun < _AT_ONCE:
            self._begun += 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_round(self) -> None:
        """Let those begin whose turn it is."""
        self._begun = 0
        while self._waiting and self._begun < _AT_ONCE:
            turn = self._waiting.popleft()
            if not turn.done():  # its client may have left
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next_round)

    def take_exchange(self) -> None:
        """Take one more exchange.

        Raises:
            MalformedRequest: When there are too many.
        """
        if self.exchanges >= self._most:
            raise _FULL.again()
        self.exchanges += 1

    def take_of(self, who: _Who) -> None:
        """Take one more exchange of somebody.

        Raises:
            MalformedRequest: When there are too many.
        """
        if self._each is not None and self.of[who] >= self._each:
            raise _BUSY.again()
        self.of[who] += 1

    def take_bytes(self, number: int) -> None:
        """Take more bytes.

        Raises:
            MalformedRequest: When there are too many.
        """
        if self.bytes + number > self._most_bytes:
            raise _HEAVY.again()
        self.bytes += number


class Carried:
    """One exchange, or the bytes of one; it is let go of once.

    Attributes:
        bytes: What it holds of a request.
    """

    def __init__(self, load: Load) -> None:
        self.bytes = 0
        self._load = load
        self._counted = False
        self._who: _Who | None = None

    def exchange(self) -> None:
        """Count it as an exchange.

        Raises:
            MalformedRequest: When there are too many.
        """
        self._load.take_exchange()
        self._counted = True

    def of(self, who: Principal) -> None:
        """Count it as one of somebody's.

        Raises:
            MalformedRequest: When there are too many.
        """
        name = (who.source, who.id, who.verified)
        self._load.take_of(name)
        self._who = name

    def grow(self, number: int) -> None:
        """Hold more bytes.

        Raises:
            MalformedRequest: When there are too many.
        """
        self._load.take_bytes(number)
        self.bytes += number

    def shrink(self, number: int) -> None:
        """Hold less bytes."""
        self._load.bytes -= number
        self.bytes -= number

    def keep(self, number: int = 0) -> None:
        """Hold so many bytes from now on, which are there already."""
        self.shrink(self.bytes - number)

    def end(self) -> None:
        """Let go of everything."""
        self.keep()
        self._load.exchanges -= self._counted
        self._counted = False
        who, self._who = self._who, None
        if who is not None:
            self._load.of[who] -= 1
            if not self._load.of[who]:
                del self._load.of[who]

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Let go of everything."""
        self.end()


class Places:
    """The places of the messages on one WebSocket; one for each of those.

    An open WebSocket is an exchange, whether or not anything is asked on it. The first
    message under way goes in its place: who may have one exchange can ask on it.

    Args:
        load: Of which the places are.
    """

    def __init__(self, load: Load) -> None:
        self._load = load
        self._beside: list[Carried] = []
        self._taken = 0

    def take(self, who: Principal) -> None:
        """Take one for a message of somebody's.

        Raises:
            MalformedRequest: When there are too many.
        """
        if self._taken:
            with contextlib.ExitStack() as stack:
                beside = stack.enter_context(self._load.carry())
                beside.exchange()
                beside.of(who)
                stack.pop_all()
            self._beside.append(beside)
        self._taken += 1

    def leave(self) -> None:
        """Give one back; the connection's own is the last to be."""
        self._taken -= 1
        if self._beside:
            self._beside.pop().end()
