"""Taking clients who come in crowds.

uvloop takes one client in a round of its loop, and where much is done a round is long:
new clients, and whoever asks how we do, would wait for seconds while others are served.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final

_AT_ONCE: Final = 64
"""So many may be between the door and a seat: each has a descriptor already, of those
that are left to others than the clients who are served."""


class Crowd:
    """Takes those who wait behind a client who was taken.

    Args:
        listening: Where they wait.
        make: Makes the protocol of one.
    """

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], asyncio.Protocol],
    ) -> None:
        self._listening = listening
        self._make = make
        self._looking = False
        self._loop = asyncio.get_running_loop()
        self._entering: set[asyncio.Task[Any]] = set()

    def look(self) -> None:
        """Look for more in a moment; once for all who ask until then."""
        if not self._looking:
            self._looking = True
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        self._looking = False
        try:
            for _ in range(_AT_ONCE - len(self._entering)):
                self._enter(self._listening.accept()[0])
        except OSError:
            return  # nobody is left, or there is nothing left to take them with

    def _enter(self, connection: socket.socket) -> None:
        entering = self._loop.connect_accepted_socket(self._make, connection)
        task = self._loop.create_task(entering)
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)
