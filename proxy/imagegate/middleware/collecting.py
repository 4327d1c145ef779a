"""Collecting the body of a request, as long as it stays within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Self, TypeAlias

from starlette.types import Message, Receive

from imagegate.engine.errors import MalformedRequest
from imagegate.middleware.asked import Asked
from imagegate.middleware.headers import declared_length
from imagegate.middleware.load import Carried
from imagegate.middleware.setup import Limits

_MAX_EMPTY = 1024
"""Messages without a byte in them. No server has a reason to send a second one."""
_UNHURRIED = 10.0
"""Seconds of a body in which it may come as slowly as it likes."""
_CRUMB = 4096
"""Bytes under which a piece of a body is not kept on its own."""
_ROOM = 256 * 1024
_MOST_ROOM = 4 * 1024 * 1024
"""Bytes for which there is room before they have come, at least and at most."""
_BREATH = 64
"""Messages after which others run, and time-outs come true, however fast they come."""

FILL: Final = "imagegate.fill"
"""The extension in which a server writes a body to where it is kept, past `receive`."""
Fill: TypeAlias = Callable[[memoryview, Callable[[int], None]], Awaitable[int]]


class Gone(Exception):  # noqa: N818 - a fact, not an error
    """The client left before its request was whole."""


async def take_body(
    receive: Receive, asked: Asked, limits: Limits, carried: Carried
) -> bytes:
    """Collect a body, as long as it stays within its limits.

    Args:
        receive: The server's.
        asked: The head of the request.
        limits: How much is taken, and how fast it has to come.
        carried: Counts what is held of it.

    Raises:
        MalformedRequest: For a body that is too large, too slow, too finely cut,
            or not as long as its head says.
        Gone: When the client leaves.
    """
    declared = declared_length(asked.head)
    _check_size(declared or 0, limits)
    try:
        with _Deadline(limits) as deadline:
            data, more = await _part(receive)
            deadline.came(len(data))
            _check_size(len(data), limits)
            carried.grow(len(data))
            if more:
                parts = _Parts(data)
                fill = (asked.scope.get("extensions") or {}).get(FILL)
                if fill is not None and declared is not None:
                    more = await _fill(fill, declared, parts, deadline, carried)
                if more:
                    await _collect(receive, parts, deadline, limits, carried)
                data = parts.joined()
    except TimeoutError:
        raise MalformedRequest(
            "body_too_slow", "the body did not come in time", status=408
        ) from None
    if declared is not None and declared != len(data):
        raise MalformedRequest(
            "content_length_mismatch", "the body is not as long as Content-Length says"
        )
    return data


async def _fill(
    fill: Fill, declared: int, parts: _Parts, deadline: _Deadline, carried: Carried
) -> bool:
    """Have the server write the rest to where it is kept.

    Returns:
        Whether it is not whole; `receive` knows why.
    """
    while deadline.size < declared:
        # By what has come, for a promise alone gets no room.
        ahead = min(max(2 * deadline.size, _ROOM), _MOST_ROOM)
        size = min(ahead, declared - deadline.size)
        carried.grow(size)
        room = memoryview(bytearray(size))
        filled = await fill(room, deadline.came)
        parts.add(room[:filled])
        if filled < size:
            carried.shrink(size - filled)
            return True
    return False


async def _collect(
    receive: Receive,
    parts: _Parts,
    deadline: _Deadline,
    limits: Limits,
    carried: Carried,
) -> None:
    """Take the rest message by message."""
    more = True
    count = empty = 0
    while more:
        part, more = await _part(receive)
        parts.add(part)
        deadline.came(len(part))
        _check_size(deadline.size, limits)
        carried.grow(len(part))
        count, empty = count + 1, empty + (not part)
        if empty > _MAX_EMPTY:
            said = "the body comes in too many empty pieces"
            raise MalformedRequest("body_in_crumbs", said)
        if not count % _BREATH:
            await asyncio.sleep(0)


class _Deadline:
    """The time of a body: what has come wins some for the rest, who drips gets little.

    It is `asyncio.timeout`, at a third of its price: every body has one.

    Args:
        limits: How much time there is.

    Attributes:
        size: How much has come.
    """

    def __init__(self, limits: Limits) -> None:
        self.size = 0
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._late = False

    def came(self, number: int) -> None:
        """Note that so many bytes have come."""
        self.size += number

    @property
    def _end(self) -> float:
        won = _UNHURRIED + self.size / self._limits.rate
        return self._began + min(self._limits.seconds, won)

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task else 0
        self._timer = self._loop.call_at(self._end, self._ring)
        return self

    def _ring(self) -> None:
        end = self._end
        if self._loop.time() < end:
            self._timer = self._loop.call_at(end, self._ring)
        elif self._task is not None:
            self._late = self._task.cancel()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._timer.cancel()
        if self._late and self._task is not None:
            alone = self._task.uncancel() <= self._before
            if alone and kind is asyncio.CancelledError:
                raise TimeoutError from None


class _Parts:
    """Pieces of a body, to be joined once: what grows is copied again and again.

    Crumbs go into one, or each would take many times its size.
    """

    def __init__(self, first: bytes) -> None:
        self._parts: list[bytes | bytearray | memoryview] = [first]

    def add(self, part: bytes | memoryview) -> None:
        """Take the next piece."""
        last = self._parts[-1]
        if len(part) >= _CRUMB:
            self._parts.append(part)
        elif isinstance(last, bytearray):
            last += part
        else:
            self._parts.append(bytearray(part))

    def joined(self) -> bytes:
        """Return all of them as one."""
        return b"".join(self._parts)


async def _part(receive: Receive) -> tuple[bytes, bool]:
    message: Message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body = message.get("body") or b""
    # Servers give bytes, and wrappers of theirs what they like.
    data = body if isinstance(body, bytes) else bytes(memoryview(body))
    return data, message.get("more_body", False)


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.body:
        raise MalformedRequest(
            "body_too_large", f"the body has over {limits.body} bytes", status=413
        )
