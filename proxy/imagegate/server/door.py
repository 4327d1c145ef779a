"""The door through which clients come who want encryption.

Until both have agreed on one, a client is nobody's: the loop's own server tells no one
of him, and lets him be for a minute. Here he has a seat from the moment in which he is
taken, as he has without encryption, and as many seconds: who only stands in the door
takes nothing from others that he could not take from inside.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from imagegate.server.seats import Seats

_AT_ONCE: Final = 16
"""Clients that are taken in one round of the loop; each has some work behind him."""
_PAUSE: Final = 0.5
"""Seconds without a look, where there is nothing left to take a client with."""


class Door:
    """Takes clients, and encrypts.

    Args:
        listening: Where they wait.
        make: Makes the protocol of one.
        tls: What to encrypt with.
        seats: Where they sit.
        seconds: How long one may take to agree on an encryption.
    """

    def __init__(
        self,
        listening: socket.socket,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext,
        seats: Seats,
        seconds: float,
    ) -> None:
        self._listening = listening
        self._make = make
        self._tls = tls
        self._seats = seats
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[Any]] = set()
        listening.setblocking(False)  # noqa: FBT003 - its name
        self._open()

    def close(self) -> None:
        """Take nobody any more, and let those go who are not in yet."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._listening)
        for task in self._entering:
            task.cancel()

    def _open(self) -> None:
        self._timer = None
        self._loop.add_reader(self._listening, self._take)

    def _take(self) -> None:
        """Take some of those who wait."""
        try:
            for _ in range(_AT_ONCE):
                self._enter(*self._listening.accept())
        except (BlockingIOError, ConnectionError, InterruptedError):
            return  # nobody is left, or he has left
        except OSError:
            self._loop.remove_reader(self._listening)
            self._timer = self._loop.call_later(_PAUSE, self._open)

    def _enter(self, connection: socket.socket, peer: object) -> None:
        protocol = self._make()
        entering = self._loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=self._seconds,
        )
        task = self._loop.create_task(entering)
        self._entering.add(task)
        # Who finds no seat is told so inside, where he can read it.
        self._seats.sit(protocol, peer, task.cancel)

        def entered(task: asyncio.Task[Any]) -> None:
            self._entering.discard(task)
            self._seats.leave(protocol)
            failure = None if task.cancelled() else task.exception()
            if task.cancelled() or failure:
                connection.close()  # nobody else does, if it had not begun
            if isinstance(failure, ConnectionAbortedError):
                self._seats.tell("handshake_too_slow")

        task.add_done_callback(entered)
