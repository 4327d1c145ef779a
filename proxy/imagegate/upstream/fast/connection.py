"""One connection to a provider: at rest, or with one exchange on it.

What comes is read into a buffer that all connections of a client share, and goes
from there into the answer at once. Only one task waits on a connection at a time: for
its request to be taken, for the head of the answer, or for the next piece.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol, TypeAlias, cast

from imagegate.tcp import drop, untaken
from imagegate.upstream.client import UpstreamError
from imagegate.upstream.fast.arrival import Arrival
from imagegate.upstream.fast.reading import Reading
from imagegate.upstream.reach import ENDED, NO_ENCRYPTION, read_first, why
from imagegate.upstream.standstill import Standstill
from imagegate.upstream.waiting import meanwhile

READ: Final = 512 * 1024
"""How much is read at once: less costs more calls, more costs more memory."""
_HELD: Final = 64 * 1024
"""How much may wait to be taken before no more is read."""
_LARGE: Final = 64 * 1024
"""Who waits behind a piece of this size goes on as soon as the next is read."""
_REFUSAL: Final = 400


Waiter: TypeAlias = "asyncio.Future[None] | Arrival"


class Keeper(Protocol):
    """Where a connection belongs."""

    def rest(self, connection: Connection) -> None:
        """Take a connection back that can be used again."""

    def lost(self, connection: Connection) -> None:
        """Take word that a connection is no more; once."""


class Buffer:
    """Where what comes is read into; one for all connections of a loop."""

    __slots__ = ("data", "view")

    def __init__(self, size: int = READ) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)


class Connection(asyncio.BufferedProtocol):
    """A connection.

    Args:
        keeper: Where it belongs.
        buffer: What is read into.

    Attributes:
        loop: The event loop that it belongs to.
        gone: It is closed, or being closed, and of no use.
        since: When it came to rest.
    """

    __slots__ = (
        "_arrival",
        "_buffer",
        "_disturbed",
        "_encrypting",
        "_full",
        "_keeper",
        "_large",
        "_paused",
        "_poll",
        "_reading",
        "_standstill",
        "_transport",
        "_waiter",
        "_written",
        "gone",
        "loop",
        "since",
    )

    def __init__(self, keeper: Keeper, buffer: Buffer) -> None:
        self.gone = False
        self.since = 0.0
        self._keeper = keeper
        self._buffer = buffer
        self.loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reading: Reading | None = None
        self._standstill = Standstill()
        self._arrival = Arrival(self.loop)
        self._waiter: Waiter | None = None
        self._encrypting = False
        self._disturbed = False  # by what came while it was not encrypted yet
        self._paused = False
        self._full = False
        self._large = False  # what came last
        self._written = True
        self._poll: Callable[[], Sequence[object]] | None = None

    # -- what the event loop says -----------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to read into."""
        del sizehint
        return self._buffer.view

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has come; what nobody asked for ends the connection."""
        reading = self._reading
        if reading is None:
            self._unasked()
            return
        buffer, waiter = self._buffer, self._waiter
        reading.feed(buffer.data, buffer.view, nbytes)
        self._large = nbytes >= _LARGE
        if reading.over:
            self._settle(reading)
        # Last, for who waits may go on within this call, and end the exchange.
        if waiter is not None:
            self._waiter = None
            _let_go_on(waiter)
        if not reading.over and self._is_enough(reading):
            self._pause()

    def eof_received(self) -> None:
        """Take word that nothing more comes."""
        self._end(broken=False, cause=ENDED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take word that nothing comes or goes any more."""
        cause = why(exc) if isinstance(exc, OSError) else ENDED
        self._end(broken=exc is not None, cause=cause)

    def pause_writing(self) -> None:
        """Note that the provider does not keep up."""
        self._full = True

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._full = False
        self._wake()

    async def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Encrypt what has just been connected.

        Raises:
            OSError: When it cannot be done.
        """
        self._encrypting = True
        if self.gone or self._transport.is_closing():
            raise ConnectionError("spoken over before it was encrypted")
        encrypted: asyncio.Transport | None = None
        try:
            with meanwhile(NO_ENCRYPTION):
                encrypted = await self.loop.start_tls(
                    self._transport, self, context, server_hostname=host
                )
        finally:
            self._encrypting = False
            if encrypted is None or self._disturbed:
                self.abort()
        if encrypted is None or self.gone:
            raise ConnectionError("spoken over while it was encrypted")
        self._transport = encrypted

    # -- for an exchange --------------------------------------------------------

    def fit(self) -> bool:
        """Whether a request can be sent: it is open, and nothing has come over it.

        The last moment in which nothing is lost, so what only the kernel knows is
        asked for too.
        """
        if self.gone or self._transport.is_closing():
            return False
        return not self._has_come()

    def begin(self, reading: Reading) -> None:
        """Begin an exchange."""
        self._reading, self._written, self._large = reading, False, False

    def write(self, data: bytes) -> None:
        """Write a whole request that is small."""
        self._transport.write(data)
        self._written = True

    async def write_all(
        self, portions: Iterable[bytes | memoryview], seconds: float
    ) -> None:
        """Write a request, or as much of it as is wanted.

        Raises:
            UpstreamError: When not a byte is taken in so many seconds.
        """
        reading = self._reading
        for portion in portions:
            if not self.gone and self._has_come():
                await read_first()
            if reading is None or _is_refused(reading):
                return
            self._transport.write(portion)
            if self._full and not await self._taken(reading, seconds):
                return
        self._written = True

    def more(self) -> Waiter:
        """Read on; return what is over when more has come, or nothing will."""
        if self._paused:
            self._resume()
        return self._anything()

    def abort(self) -> None:
        """Close at once; an exchange that is under way ends."""
        if self.gone:
            return
        self.gone = True
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.end(broken=True)
        drop(self._transport)
        self._keeper.lost(self)
        self._wake()

    def look(self) -> bool:
        """End an exchange whose request is written, and none of it taken for long.

        What is still being written has a deadline of its own.

        Returns:
            Whether nothing was taken since the last look.
        """
        reading = self._reading
        waits = reading is not None and self._written and not reading.begun
        left = untaken(self._transport) if waits else 0
        if self._standstill.look(left) and reading is not None:
            reading.fail("write_timeout")
            self.abort()
        return self._standstill.begun

    # -- how it goes on ---------------------------------------------------------

    def _has_come(self) -> bool:
        """Ask the kernel whether there is something to read."""
        if self._poll is None:
            self._poll = _poll_of(self._transport)
        return bool(self._poll())

    def _end(self, *, broken: bool, cause: str) -> None:
        if self._reading is not None:
            self._reading.end(broken=broken, cause=cause)
        self._unasked()

    def _unasked(self) -> None:
        """End on what nobody asked for: it must not become part of an answer.

        While encryption begins, the transport is not ours to close.
        """
        if self._encrypting:
            self._disturbed = True
        else:
            self.abort()

    def _settle(self, reading: Reading) -> None:
        """End an exchange, and keep the connection if nothing is left over."""
        self._reading = None
        unsent = not self._written or self._transport.get_write_buffer_size()
        if reading.clean and not unsent:
            self._resume()
            self._keeper.rest(self)
        else:
            self.abort()

    def _is_enough(self, reading: Reading) -> bool:
        """Whether no more should be read before more is taken."""
        return reading.held >= _HELD or (self._large and self._waiter is None)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _anything(self) -> Waiter:
        """Return what is over when something has happened; one task at a time waits."""
        large = self._large
        self._waiter = waiter = self._arrival if large else self.loop.create_future()
        return waiter

    def _wake(self) -> None:
        """Let who waits see what has happened, behind what is being done here."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self.loop.call_soon(_let_go_on, waiter)

    async def _taken(self, reading: Reading, seconds: float) -> bool:
        """Wait until there is room; tell whether more should be written."""
        try:
            async with asyncio.timeout(seconds):
                while self._full and not _is_refused(reading):
                    await self._anything()
        except TimeoutError:
            if reading.begun:
                return False  # it has answered before it has read all
            raise UpstreamError("write_timeout", status=504) from None
        return True


def _let_go_on(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _is_refused(reading: Reading) -> bool:
    """Whether nobody will read the rest of a request: RFC 9112 section 9.3."""
    return reading.over or (reading.begun and reading.status >= _REFUSAL)


def _poll_of(transport: asyncio.Transport) -> Callable[[], Sequence[object]]:
    """Return what tells whether the kernel has something to read, at little cost."""
    sock = transport.get_extra_info("socket")
    if not hasattr(select, "poll"):  # pragma: no cover - on Windows
        return lambda: select.select([sock], [], [], 0)[0]
    asked = select.poll()
    asked.register(sock, select.POLLIN)
    return partial(asked.poll, 0)
