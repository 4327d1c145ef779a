"""A connection to the provider, as httpcore2's pool wants its network.

The stream that comes with httpcore2 cannot say what we must know: whether anything
has come on a connection that nobody has asked anything on (it looks at the kernel's
buffer only), whether a write makes progress, how much came before a head. Nor may
closing wait: a cancellation in between would cost the pool a slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
import ssl
import time
from typing import Any, Final, cast

import httpcore2

from imagegate.tcp import drop, untaken
from imagegate.upstream.reach import ENDED, NO_ENCRYPTION, read_first, why
from imagegate.upstream.standstill import LOOKS, Standstill
from imagegate.upstream.waiting import meanwhile

_PIECE = 256 * 1024
"""What is written at once: a body of 10 MB is neither copied nor encrypted whole."""
_READ_AHEAD = 128 * 1024
"""How much is read that nobody has asked for yet."""
_HEAD = 128 * 1024
"""How much may come before a head is complete, interim answers included."""
_NOT_TAKEN: Final = "the request is not taken"
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


class UntrustedError(httpcore2.ConnectError):
    """The provider cannot prove who it is."""


class Wire(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """One connection; httpcore2 reads it, or writes it, never both at once."""

    def __init__(
        self, connect_by: float | None = None, *, idle_seconds: float = math.inf
    ) -> None:
        self._connect_by = connect_by
        self._idle_seconds = idle_seconds
        self._heard_at = time.time()
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._over = False
        self._broken = False
        self._cause = ENDED
        self._full = False
        self._paused = False
        self._used = False
        self._write_seconds = math.inf
        self._head_left: int | None = None
        self._waiter: asyncio.Future[None] | None = None

    # -- what the event loop says -----------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        # uvloop's is no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep what has come, and take no more when nobody fetches it."""
        self._received += data
        self._heard_at = time.time()
        if len(self._received) > _READ_AHEAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Note that nothing more comes; the loop then closes the connection."""
        self._over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing comes or goes any more."""
        self._over = True
        self._broken = exc is not None
        if isinstance(exc, OSError):
            self._cause = why(exc)
        self._wake()

    def pause_writing(self) -> None:
        """Note that the provider does not keep up."""
        self._full = True

    def resume_writing(self) -> None:
        """Note that it does again."""
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _change(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    # -- what httpcore2 asks ----------------------------------------------------

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore2's interface
        """Return what has come, at the latest when something does.

        Args:
            max_bytes: How much to return at most.
            timeout: Not heeded: the forwarder has deadlines for longer waits.
        """
        del timeout
        if self._head_left is not None and self._head_left <= 0:
            raise httpcore2.RemoteProtocolError("a head without end")
        if self._head_left is not None:
            await self._heard(self._write_seconds)
        while not (self._received or self._over):
            await self._change()
        if not self._received and (self._broken or self._head_left is not None):
            raise httpcore2.ReadError(self._cause)
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        if self._head_left is not None:
            self._head_left -= len(data)
        if self._paused and len(self._received) <= _READ_AHEAD:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _heard(self, seconds: float) -> None:
        """Wait until a request is taken, if nothing comes before."""
        standstill = Standstill()
        while untaken(self._transport) and not (self._received or self._over):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds / LOOKS):
                    await self._change()
            if standstill.look(untaken(self._transport)):
                raise httpcore2.WriteTimeout(_NOT_TAKEN)

    def head_ended(self) -> None:
        """From here on, the end of the connection can be the end of the answer."""
        self._head_left = None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore2's interface
        """Write all of it.

        Args:
            buffer: What to write.
            timeout: How long the provider may take no byte at all.
        """
        if self._head_left is None:
            self._begin()
        self._write_seconds = timeout or math.inf
        view = memoryview(buffer)
        for start in range(0, len(view), _PIECE):
            if not self._gone() and self._readable():
                await read_first()
            if self._gone():
                raise httpcore2.WriteError(self._cause)
            self._transport.write(view[start : start + _PIECE])
            await self._taken(timeout)

    def _begin(self) -> None:
        """Begin a request, if the provider has not closed the connection meanwhile.

        The last moment in which nothing is lost: no byte has been written, and the
        pool takes another connection. So what the kernel knows is asked for too.
        """
        if self._used and (self._received or self._gone() or self._readable()):
            raise httpcore2.ConnectionNotAvailable
        if self._gone():
            raise httpcore2.ConnectError("closed at once")
        self._used = True
        self._head_left = _HEAD

    def _gone(self) -> bool:
        # Old versions of uvloop close before they say so.
        return self._over or self._transport.is_closing()

    def _readable(self) -> bool:
        with _Selector() as selector:
            selector.register(
                self._transport.get_extra_info("socket"), selectors.EVENT_READ
            )
            return bool(selector.select(0))

    async def _taken(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self._full and not self._over:
                    await self._change()
        except TimeoutError:
            if self._received:
                # It has answered before it has read all: httpcore2 now reads that.
                raise httpcore2.WriteError("answered early") from None
            raise httpcore2.WriteTimeout(_NOT_TAKEN) from None

    async def aclose(self) -> None:
        """Close at once: nothing that is still to be written is wanted any more."""
        self._over = True
        drop(self._transport)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's interface
    ) -> httpcore2.AsyncNetworkStream:
        """Encrypt. The time it may take began with the connection."""
        del timeout
        loop, plain = asyncio.get_running_loop(), self._transport
        encrypted: asyncio.Transport | None = None
        try:
            async with asyncio.timeout_at(self._connect_by):
                with meanwhile(NO_ENCRYPTION):
                    encrypted = await loop.start_tls(
                        plain, self, ssl_context, server_hostname=server_hostname
                    )
        except OSError as error:
            raise connecting_error(error) from None
        finally:
            if encrypted is None or self._received:
                plain.abort()
        if encrypted is None or self._received:
            # What was said in clear would be taken for a part of the encrypted.
            raise httpcore2.ConnectError("spoke before it was asked")
        self._transport = encrypted
        return self

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore2's interface
        """Return a fact about the connection.

        Between two exchanges, `is_readable` means that it must not be used again:
        the provider has closed it, or has said something that nobody asked for, or
        word of that was lost while this machine slept.
        """
        if info == "is_readable":
            slept = time.time() > self._heard_at + self._idle_seconds
            return bool(self._received) or self._over or slept
        return self._transport.get_extra_info(info)


def connecting_error(error: OSError) -> Exception:
    """Turn what the loop raises while connecting into what httpcore2 expects."""
    match error:
        case TimeoutError():
            return httpcore2.ConnectTimeout(why(error))
        case ssl.SSLCertVerificationError():
            return UntrustedError(why(error))
    return httpcore2.ConnectError(why(error))
