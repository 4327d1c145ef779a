"""The connections to one provider: so many, kept for so long, given out in turn.

The one that came to rest last is taken first, so that those which are not needed
grow old. Who has to wait is served in the order of coming; nobody who comes later
finds a connection before. Each step costs the same, however many there are.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from imagegate.upstream.client import UpstreamError
from imagegate.upstream.fast.connection import Connection
from imagegate.upstream.fast.lookout import Lookout

Open: TypeAlias = "Callable[[Pool], Awaitable[Connection]]"
_Turn: TypeAlias = "asyncio.Future[Connection | None]"


class Pool:
    """The connections to one provider.

    Args:
        open_one: Makes a connection.
        limit: How many there may be.
        wait_seconds: How long one waits for one.
        write_seconds: How long a provider may take no byte of what was written.
        idle_seconds: How long one is kept that nobody uses.
    """

    def __init__(
        self,
        open_one: Open,
        *,
        limit: int,
        wait_seconds: float,
        write_seconds: float,
        idle_seconds: float,
    ) -> None:
        self._open_one = open_one
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._idle_seconds = idle_seconds
        self._all: set[Connection] = set()
        self._lookout = Lookout(self._all, write_seconds, self._doubt)
        self._resting: OrderedDict[Connection, float] = OrderedDict()  # since when
        self._slots = 0  # taken: by connections, and by those who are to open one
        self._waiting: OrderedDict[_Turn, None] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # -- for the client ---------------------------------------------------------

    def take(self) -> Connection | None:
        """Return a connection that can be used at once, if there is one."""
        while self._resting:
            connection, since = self._resting.popitem()
            # A machine that slept has kept its connections; who was asked has not.
            if connection.fit() and time.time() < since + self._idle_seconds:
                return connection
            connection.abort()
        return None

    async def wait(self) -> Connection:
        """Return a connection, at the latest when one comes free.

        Raises:
            UpstreamError: When none can be made, or none comes free in time.
        """
        if self._slots < self._limit:
            self._slots += 1
            return await self._opened()
        try:
            async with asyncio.timeout(self._wait_seconds):
                connection = await self._turn()
        except TimeoutError:
            raise UpstreamError("upstream_busy", status=503, resendable=True) from None
        return connection or await self._opened()

    def close(self) -> None:
        """Close every connection, and serve nobody any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._lookout.close()
        for connection in list(self._all):
            connection.abort()
        while self._waiting:
            self._slots += 1
            self._next(None)

    # -- for connections --------------------------------------------------------

    def rest(self, connection: Connection) -> None:
        """Give a connection to who has waited longest, or keep it."""
        if self._waiting:
            if not connection.fit():
                connection.abort()
                return
            if self._next(connection):
                return
        loop = connection.loop
        connection.since = loop.time()
        self._resting[connection] = time.time()
        if self._timer is None:
            self._timer = loop.call_later(self._idle_seconds, self._expire)

    def lost(self, connection: Connection) -> None:
        """Forget a connection, and let another be opened in its place."""
        if connection in self._all:
            self._all.discard(connection)
            self._resting.pop(connection, None)
            self._free()

    # -- turns ------------------------------------------------------------------

    async def _turn(self) -> Connection | None:
        """Wait for a connection that can be used, or for leave to open one."""
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        while True:
            try:
                given = await turn
            except BaseException:
                self._give_back(turn)
                raise
            if given is None or given.fit():
                return given
            turn = asyncio.get_running_loop().create_future()
            self._waiting[turn] = None
            self._waiting.move_to_end(turn, last=False)
            given.abort()  # if it had not gone before, its slot comes to us
            if turn in self._waiting and self._slots < self._limit:
                self._slots += 1
                self._next(None)

    def _give_back(self, turn: _Turn) -> None:
        """Pass on what was given to one who has left."""
        self._waiting.pop(turn, None)
        if turn.cancelled() or not turn.done():
            return
        given = turn.result()
        if given is None:
            self._free()
        elif not given.gone:
            self.rest(given)

    def _free(self) -> None:
        """Let who has waited longest open a connection; or nobody, for now."""
        if not self._next(None):
            self._slots -= 1

    def _next(self, given: Connection | None) -> bool:
        """Give to who has waited longest and still does; false if nobody does."""
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(given)
                return True
        return False

    # -- connections ------------------------------------------------------------

    async def _opened(self) -> Connection:
        """Open a connection in a slot that was taken before."""
        connection: Connection | None = None
        try:
            if not self._closed:
                connection = await self._open_one(self)
        except BaseException:
            self._free()
            raise
        if connection is not None and not self._closed and not connection.gone:
            self._all.add(connection)
            self._lookout.begin()
            return connection
        if connection is not None:
            connection.abort()
        self._free()
        raise UpstreamError("cannot_connect", status=502, resendable=True)

    def _doubt(self) -> None:
        """Close all at rest: what has befallen one may have befallen each.

        A router that has forgotten them lets a new one through, where whoever asks
        over a kept one would wait in vain, and could not ask again.
        """
        for connection in [*self._resting]:
            connection.abort()

    def _expire(self) -> None:
        """Close what has rested long enough."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._resting:
            oldest = next(iter(self._resting))
            due = oldest.since + self._idle_seconds
            if due > now:
                self._timer = loop.call_at(due, self._expire)
                return
            oldest.abort()
