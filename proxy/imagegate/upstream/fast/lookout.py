"""Looking after requests that were written, and that may not have been taken.

A timer for each would cost more than a request that finds a connection. One goes over
the connections to a provider now and then: nothing is asked of a connection at rest, or
of one whose answer has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from imagegate.upstream.fast.connection import Connection
from imagegate.upstream.standstill import LOOKS


class Lookout:
    """Ends exchanges whose request is not taken.

    Args:
        connections: All there are, at any time.
        seconds: How long a provider may take no byte of one.
        doubt: Called when a provider has taken none for a while.
    """

    def __init__(
        self,
        connections: Collection[Connection],
        seconds: float,
        doubt: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._doubt = doubt
        self._pause = seconds / LOOKS
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Look after them from now on, as long as there are any."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._pause, self._look)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        if self._connections:
            self.begin()
        if [each for each in [*self._connections] if each.look()]:
            self._doubt()
