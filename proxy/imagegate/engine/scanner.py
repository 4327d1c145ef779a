"""The way in: a scanner for each kind of answer.

A scanner is fed what the provider sends, cut anywhere, and tells what it saw.
It never gives bytes back: whoever relays them relays what was read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from imagegate.engine.meaning import read_answer, read_event
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
        self._fed = 0
        self._collector = Collector()

    def feed(self, chunk: bytes) -> list[Event]:
        """Observe the next bytes; nothing is known before the end."""
        self._fed += len(chunk)
        if (
            self._collector.inside
            and chunk
            and b'"' not in chunk
            and chunk[-1] != _BACKSLASH
        ):
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
        collector, self._collector = self._collector, Collector()
        fed, self._fed = self._fed, 0
        return [*read_answer(collector.close(), end=fed)] if fed else []

    def _return(self) -> None:
        """Make up for what was skipped."""
        self._collector.skip(self._skipped)
        self._skipped = 0


def scanner_for(content_type: str) -> Scanner | None:
    """Choose by the response's content type, never by the path.

    Returns:
        None for a type that is not observed.
    """
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
