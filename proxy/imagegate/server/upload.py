"""The rest of a large body, on its way to where it is wanted.

The parser and uvicorn copy each piece, wake a task for it, and read no more meanwhile.
Where the length of a body was said, its end needs no parser: the kernel writes it to
where the application wants it, and nobody is woken before there is no more room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from imagegate.server.flow import Flow

_NOWHERE: Final = memoryview(bytearray())


class Upload(asyncio.BufferedProtocol):
    """What a transport speaks to while the rest of one body comes.

    Args:
        protocol: The connection's own, which hears of all but bytes.
        flow: The connection's.
        left: How many bytes are still to come; never is one read behind them.
        ended: Called when they are there.
    """

    def __init__(
        self,
        protocol: asyncio.Protocol,
        flow: Flow,
        left: int,
        ended: Callable[[], None],
    ) -> None:
        self._protocol = protocol
        self._flow = flow
        self._left = left
        self._ended = ended
        self._room = _NOWHERE
        self._came: Callable[[int], None]
        self._full: asyncio.Future[None] | None = None

    async def fill(self, room: memoryview, came: Callable[[int], None]) -> int:
        """Fill a room, or as much of it as the body takes.

        Args:
            room: Where to write.
            came: Called with the size of each piece.

        Returns:
            How many bytes are there: fewer if the client leaves.
        """
        begun, self._full = self._full, asyncio.get_running_loop().create_future()
        self._room, self._came = room[: self._left], came
        size = len(self._room)
        if begun is None:
            self._flow.read_as(self)
        else:
            self._flow.resume_reading()
        try:
            await self._full
        finally:
            if self._left:  # who gives up has nowhere to write
                self._flow.pause_reading()
            size -= len(self._room)
            self._room = _NOWHERE
        return size

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to read into."""
        del sizehint
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come."""
        self._room = self._room[nbytes:]
        self._left -= nbytes
        self._came(nbytes)
        if not self._left:
            self._ended()
        elif self._room:
            return
        else:
            self._flow.pause_reading()
        self._wake()

    def eof_received(self) -> bool | None:
        """Take word that nothing more comes."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take word that the client has left."""
        self._protocol.connection_lost(exc)
        self._wake()

    def pause_writing(self) -> None:
        """Pass it on: an application may answer while it reads."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._protocol.resume_writing()

    def _wake(self) -> None:
        if self._full is not None and not self._full.done():
            self._full.set_result(None)
