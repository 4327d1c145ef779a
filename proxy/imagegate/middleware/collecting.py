"""Collecting the body of a request, as long as it stays within its limits."""

from __future__ import annotations

import asyncio
from typing import Self

from starlette.types import Message, Receive

from imagegate.engine.errors import MalformedRequest
from imagegate.middleware.headers import Head, declared_length
from imagegate.middleware.load import Carried
from imagegate.middleware.setup import Limits

_MAX_EMPTY = 1024
"""Messages without a byte in them. No server has a reason to send a second one."""
_UNHURRIED = 10.0
"""Seconds of a body in which it may come as slowly as it likes."""
_CRUMB = 4096
"""Bytes under which a piece of a body is not kept on its own."""
_BREATH = 64
"""Messages after which others run, and time-outs come true, however fast they come."""


class Gone(Exception):  # noqa: N818 - a fact, not an error
    """The client left before its request was whole."""


async def take_body(
    receive: Receive, head: Head, limits: Limits, carried: Carried
) -> bytes:
    """Collect a body, as long as it stays within its limits.

    Args:
        receive: The server's.
        head: Of the request.
        limits: How much is taken, and how fast it has to come.
        carried: Counts what is held of it.

    Raises:
        MalformedRequest: For a body that is too large, too slow, too finely cut,
            or not as long as its head says.
        Gone: When the client leaves.
    """
    declared = declared_length(head)
    _check_size(declared or 0, limits)
    try:
        with _Deadline(min(limits.seconds, _UNHURRIED)) as deadline:
            data = await _collect(receive, limits, carried, deadline)
    except TimeoutError:
        raise MalformedRequest(
            "body_too_slow", "the body did not come in time", status=408
        ) from None
    if declared is not None and declared != len(data):
        raise MalformedRequest(
            "content_length_mismatch", "the body is not as long as Content-Length says"
        )
    return data


async def _collect(
    receive: Receive, limits: Limits, carried: Carried, deadline: _Deadline
) -> bytes:
    first, more = await _part(receive)
    _check_size(len(first), limits)
    carried.grow(len(first))
    if not more:
        return first
    parts, size = _Parts(first), len(first)
    count = empty = 0
    while more:
        # What has come wins time for the rest: whoever drips gets little.
        won = _UNHURRIED + size / limits.rate
        deadline.extend(min(limits.seconds, won))
        part, more = await _part(receive)
        parts.add(part)
        size += len(part)
        _check_size(size, limits)
        carried.grow(len(part))
        count, empty = count + 1, empty + (not part)
        if empty > _MAX_EMPTY:
            said = "the body comes in too many empty pieces"
            raise MalformedRequest("body_in_crumbs", said)
        if not count % _BREATH:
            await asyncio.sleep(0)
    return parts.joined()


class _Deadline:
    """`asyncio.timeout`, at a third of its price: every body has one.

    Args:
        seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._seconds = seconds
        self._late = False

    def extend(self, seconds: float) -> None:
        """Let it be so many seconds from the beginning."""
        self._seconds = seconds

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task else 0
        self._timer = self._loop.call_later(self._seconds, self._ring)
        return self

    def _ring(self) -> None:
        end = self._began + self._seconds
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
        self._parts: list[bytes | bytearray] = [first]

    def add(self, part: bytes) -> None:
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
