"""The way in: a scanner for each kind of answer.

A scanner is fed what the provider sends, cut anywhere, and tells what it saw.
It never gives bytes back: whoever relays them relays what was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from imagegate.engine.meaning import read_answer, read_event
from imagegate.engine.reducer import Collector, message
from imagegate.engine.sse import SseScanner

if TYPE_CHECKING:
    from imagegate.engine.events import Event


class Scanner(Protocol):
    """What observes one answer."""

    @property
    def started(self) -> bool:
        """Whether nothing is to be waited for at the start.

        True once the first event that belongs to an API is complete, which is
        `response.created` with its echo unless the stream is resumed or fails
        at once. Heartbeats, comments and foreign events do not count.
        """

    @property
    def boundary(self) -> int:
        """Bytes fed up to the end of the last complete event."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Observe the next bytes and return the events they completed."""

    def close(self) -> list[Event]:
        """Observe the end of the answer and return what it completed."""


class JsonScanner:
    """Observes an `application/json` answer, which tells all at its end."""

    def __init__(self) -> None:
        self.started = False
        self.boundary = 0
        self._fed = 0
        self._collector: Collector | None = Collector()

    def feed(self, chunk: bytes) -> list[Event]:
        """Observe the next bytes; nothing is known before the end."""
        self._fed += len(chunk)
        if self._collector is not None:
            self._collector.feed(chunk, 0, len(chunk))
        return []

    def close(self) -> list[Event]:
        """Read the whole answer, once."""
        collector, self._collector = self._collector, None
        if collector is None or not self._fed:
            return []
        self.started, self.boundary = True, self._fed
        return list(read_answer(collector.close(), end=self._fed).events)


def scanner_for(content_type: str) -> Scanner | None:
    """Choose by the response's content type, never by the path.

    Returns:
        None for a type that is not observed.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media == "text/event-stream":
        return SseScanner()
    if media == "application/json" or media.endswith("+json"):
        return JsonScanner()
    return None


def read_message(data: bytes) -> tuple[Event, ...]:
    """Read one event that is framed already, as a WebSocket message is."""
    return read_event(message(data), end=len(data)).events
