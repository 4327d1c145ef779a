"""Who waits on a connection: like uvicorn's and asyncio's, at a tenth of the memory.

An `asyncio.Event` has a queue of 760 bytes for those who wait. A connection has two of
them, for minutes, and on each one task waits at most now and then.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

from imagegate.tcp import untaken


class Flag:
    """`asyncio.Event`, as far as a server needs it."""

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[asyncio.Future[None]] | None = None

    def set(self) -> None:
        """Let those go on who wait, and those who come."""
        self._set = True
        waiting, self._waiting = self._waiting, None
        for each in waiting or ():
            if not each.done():
                each.set_result(None)

    def clear(self) -> None:
        """Let those wait who come."""
        self._set = False

    async def wait(self) -> bool:
        """Wait until it is set, if it is not."""
        if not self._set:
            future = asyncio.get_running_loop().create_future()
            others = (each for each in self._waiting or () if not each.done())
            self._waiting = [*others, future]
            await future
        return True


class Turns(list[Any]):
    """`collections.deque`, as far as pipelined requests need it, which are few."""

    __slots__ = ()

    def appendleft(self, item: object) -> None:
        """Let a request wait for its turn, behind all others."""
        self.insert(0, item)


class Flow(FlowControl):
    """Which way bytes flow at the moment."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_paused = False
        self.write_paused = False
        self._writable = Flag()

    def read_as(self, protocol: asyncio.BaseProtocol) -> None:
        """Have what comes from now on given to somebody else.

        uvloop asks how somebody reads when reading begins, and never again.
        """
        self.pause_reading()
        self._transport.set_protocol(protocol)
        self.resume_reading()

    async def drain(self) -> None:
        """Wait until more can be written."""
        if self.write_paused:
            await self._writable.wait()

    def pause_writing(self) -> None:
        """Note that the client does not keep up."""
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Note that it does again."""
        self.write_paused = False
        self._writable.set()

    def untaken(self) -> int:
        """Return how many bytes the client has still to take, the kernel's too.

        That asks for more only when much of its room is free: a slow client may take
        minutes until the transport notices.
        """
        return untaken(self._transport)
