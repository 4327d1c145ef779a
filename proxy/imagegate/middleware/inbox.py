"""Messages that wait for somebody to take them: so many bytes, and no more.

A server that has a message for an application reads no further, and so does not see
that its client still answers its pings. Whoever always takes what comes keeps the
connection alive; what is taken has to be kept somewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from starlette.types import Message

from imagegate.engine.errors import MalformedRequest
from imagegate.middleware.load import Carried

_LEAST: Final = 1024
"""What a message costs, however short it is."""


class Inbox:
    """A queue of messages; one takes them out.

    Args:
        limit: Bytes that may wait. One message may, whatever its length.
        carried: Counts them with those of everybody else.
    """

    def __init__(self, limit: int, carried: Carried | None = None) -> None:
        self._limit = limit
        self._carried = carried
        self._size = 0
        self._messages: deque[Message] = deque()
        self._last: Message | None = None
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    def put(self, message: Message) -> bool:
        """Add a message; tell whether there was room for it."""
        size = _size(message)
        if self._messages and self._size + size > self._limit:
            return False
        if self._carried is not None and not _grown(self._carried, size):
            return False
        self._messages.append(message)
        self._size += size
        self._filled.set()
        self._emptied.clear()
        return True

    def end(self, message: Message) -> None:
        """Throw away what waits; from now on there is this message alone."""
        self._messages.clear()
        self._last = message
        self._filled.set()
        self._emptied.set()

    async def get(self) -> Message:
        """Take the next message out."""
        await self._filled.wait()
        if self._last is not None:
            return self._last
        message = self._messages.popleft()
        size = _size(message)
        self._size -= size
        if self._carried is not None:
            self._carried.shrink(size)
        if not self._messages:
            self._filled.clear()
            self._emptied.set()
        return message

    async def emptied(self) -> None:
        """Wait until nothing waits."""
        await self._emptied.wait()


def _grown(carried: Carried, size: int) -> bool:
    try:
        carried.grow(size)
    except MalformedRequest:
        return False
    return True


def _size(message: Message) -> int:
    text, data = message.get("text"), message.get("bytes")
    return _LEAST + len(text or "") + len(data or b"")
