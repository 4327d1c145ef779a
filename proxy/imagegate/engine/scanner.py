"""The way in: a scanner for each kind of answer.

A scanner is fed what the provider sends, cut anywhere, and tells what it saw.
It never gives bytes back: whoever relays them relays what was read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from imagegate.engine.events import Undecodable
from imagegate.engine.meaning import read_answer, read_event, read_made
from imagegate.engine.reducer import Collector, message
from imagegate.engine.sse import SseScanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagegate.engine.events import Event

_BACKSLASH: Final = 0x5C
_TYPES: Final = 64
"""How many content types are remembered, each for as much as a head may have."""


class Scanner(Protocol):
    """What observes one answer."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Observe the next bytes and return the events they completed."""

    def close(self) -> list[Event]:
        """Observe the end of the answer and return what it completed."""


class JsonScanner:
    """Observes an `application/json` answer, which tells all at its end."""

    def __init__(self) -> None:
        self._skipped = 0  # bytes of a long string that were not read
        self._collector = Collector()

    def feed(self, chunk: bytes) -> list[Event]:
        """Observe the next bytes; nothing is known before the end."""
        inside = self._collector.inside and chunk
        if inside and b'"' not in chunk and chunk[-1] != _BACKSLASH:
            self._skipped += len(chunk)
            return []
        if self._skipped:
            self._return()
        self._collector.feed(chunk, 0, len(chunk))
        return []

    def close(self) -> list[Event]:
        """Read the whole answer, once."""
        if self._skipped:
            self._return()
        text, self._collector = self._collector.close(), Collector()
        return [*read_answer(text, end=text.length)] if text.length else []

    def _return(self) -> None:
        """Make up for what was skipped."""
        self._collector.skip(self._skipped)
        self._skipped = 0


class LinesScanner:
    """Observes a file that a provider gives out: it may tell what a batch made.

    Any other file is known by its first line, and goes by. A line of a batch's that
    nobody can read hides no other.
    """

    def __init__(self) -> None:
        self._fed = 0
        self._collector = Collector()
        self._begun = self._over = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Observe the next bytes: each line tells something at its end."""
        events: list[Event] = []
        start, before = 0, self._fed
        self._fed += len(chunk)
        while not self._over:
            end = chunk.find(b"\n", start)
            if end < 0:
                self._collector.feed(chunk, start, len(chunk))
                break
            self._collector.feed(chunk, start, end)
            start = end + 1
            events += self._read(before + start)
        return events

    def close(self) -> list[Event]:
        """Observe the end of the file, which ends a line as well."""
        return [] if self._over else self._read(self._fed)

    def _read(self, end: int) -> list[Event]:
        line, self._collector = self._collector.close(), Collector()
        if not line.text.strip():
            return []
        events = read_made(line, end=end)
        if events is None and self._begun:
            return [Undecodable(reason="not_json", length=line.length, end=end)]
        self._begun = True
        self._over = events is None
        return [*(events or ())]


def scanner_for(content_type: str, *, lines: bool = False) -> Scanner | None:
    """Choose by the response's content type, never by the path.

    Args:
        content_type: As sent.
        lines: The answer is a file, of whatever type it is said to be.

    Returns:
        None for a type that is not observed.
    """
    if lines:
        return LinesScanner()
    make = _made_for(content_type)
    return None if make is None else make()


@lru_cache(_TYPES)
def _made_for(content_type: str) -> Callable[[], Scanner] | None:
    media = content_type.partition(";")[0].strip().lower()
    if media == "text/event-stream":
        return SseScanner
    if media == "application/json" or media.endswith("+json"):
        return JsonScanner
    return None


def read_message(data: bytes) -> tuple[Event, ...]:
    """Read one event that is framed already, as a WebSocket message is."""
    return read_event(message(data), end=len(data))
