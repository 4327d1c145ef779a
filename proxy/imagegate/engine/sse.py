"""Server-sent events, read beside their relay.

Three readers share the work, from the most common to the most careful: inside a
long string a chunk is only searched for a quote; between two events runs of text
deltas are stepped over, and small events read as they stand; all else is read
line by line. They see the same events, so how a stream is cut into chunks never
shows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from imagegate.engine.deltas import Plain, newline_of
from imagegate.engine.lines import Lines, Text
from imagegate.engine.meaning import read_event, read_other
from imagegate.engine.reducer import Message

if TYPE_CHECKING:
    from imagegate.engine.events import Event

_BOM: Final = b"\xef\xbb\xbf"
_CARRY: Final = 4 * 1024  # of an event that is not there as a whole
_SMALL: Final = 8 * 1024
_PENDING: Final = 16 * 1024
_TEXT: Final = re.compile(rb"[^\r\n]")
_BACKSLASH: Final = 0x5C


class SseScanner:
    """Observes a `text/event-stream`."""

    def __init__(self) -> None:
        self._base = 0  # bytes fed before the text at hand
        self._carry = b""
        self._inside = False  # a long string is open
        self._pending: list[bytes] = []  # chunks of it that have no quote
        self._size = 0
        self._passed = 0  # bytes of it that were not read
        self._lines = Lines()
        self._ready: Plain | None = None  # between two events, if deltas came
        self._plain: dict[bytes, Plain] = {}
        self._events: list[Event] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """Observe the next bytes and return the events they completed."""
        if self._inside:
            return self._inside_string(chunk)
        text = self._carry + chunk if self._carry else chunk
        plain, pos = self._ready, 0
        if plain is not None and text.startswith(plain.head):
            if plain.is_one(text):
                self._base += len(text)
                self._carry = b""
                return []
            pos = plain.skip(text, 0)
            if len(text) - pos <= _CARRY and plain.begun(text, pos):
                self._base += pos
                self._carry = text[pos:]
                return []
        return self._read(text, pos or (0 if self._base else _begin(text)))

    def close(self) -> list[Event]:
        """Observe the end; an event without its blank line is reported."""
        if self._lines.fresh and not (self._inside or self._carry):
            return []  # almost always
        events = self._read(self._gathered(), 0) if self._inside else []
        text, self._carry = Text(self._carry), b""
        pos = 0
        while pos < len(text.data):
            pos = self._slow(text, pos)
        self._base += len(text.data)
        message = self._lines.finish()
        if message is not None:
            self._report(message, self._base, incomplete=True)
        return events + self._taken()

    def _inside_string(self, chunk: bytes) -> list[Event]:
        """Pass over more of a long string.

        No event can matter that has no quote in it. So small chunks without one
        are gathered before they are searched for a line end, which must not be
        there.
        """
        if b'"' in chunk:
            return self._read(self._gathered() + chunk, 0)
        if self._size or len(chunk) < _SMALL:
            self._pending.append(chunk)
            self._size += len(chunk)
            if self._size < _PENDING:
                return []
            chunk = self._gathered()
        if b"\n" in chunk or b"\r" in chunk or chunk[-1] == _BACKSLASH:
            return self._read(chunk, 0)
        self._passed += len(chunk)
        return []

    def _gathered(self) -> bytes:
        data = b"".join(self._pending)
        self._pending.clear()
        self._size = 0
        return data

    def _read(self, text: bytes, pos: int) -> list[Event]:
        if self._passed:
            self._lines.skip(self._passed)
            self._base += self._passed
            self._passed = 0
        pos = self._scan(text, pos)
        self._carry = text[pos:]
        self._base += pos
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _scan(self, data: bytes, pos: int) -> int:
        """Read events; return where an incomplete one begins that can wait."""
        lines, plain, text = self._lines, None, None
        while pos < len(data):
            if lines.fresh:
                pos = _text_at(data, pos)
                plain = plain or self._plain_in(data, pos)
                pos = self._quick(plain, data, pos)
                rest = len(data) - pos
                if not rest or (rest <= _CARRY and plain.waits(data, pos)):
                    break
                begun = plain.begin(data, pos)
                if begun is not None:
                    pos = begun.end()
                    lines.begin()
            text = text or Text(data, cr=plain is None or plain.newline != b"\n")
            pos = self._slow(text, pos)
        self._inside = lines.inside
        self._ready = plain if lines.fresh and plain and plain.head else None
        return pos

    def _plain_in(self, data: bytes, pos: int) -> Plain:
        newline = newline_of(data, pos)
        if newline not in self._plain:
            self._plain[newline] = Plain(newline)
        return self._plain[newline]

    def _quick(self, plain: Plain, data: bytes, pos: int) -> int:
        """Read plain small events; return where something else begins."""
        while (event := plain.event(data, pos)) is not None:
            pos = event.end()
            if plain.learn(event):
                pos = plain.skip(data, pos)
            else:
                text = event[1]
                message = Message(text=text, length=len(text))
                end = self._base + pos - plain.late
                self._events += read_other(message, end=end)
        return pos

    def _slow(self, text: Text, pos: int) -> int:
        pos, message = self._lines.read(text, pos)
        if message is not None:
            self._report(message, self._base + pos, incomplete=False)
        return pos

    def _report(self, message: Message, end: int, *, incomplete: bool) -> None:
        self._events += read_event(message, end=end, incomplete=incomplete)


def _begin(text: bytes) -> int:
    """Return where the events begin: behind one byte order mark.

    A part of the mark is no event, so it waits until the rest is there.
    """
    return len(_BOM) if text.startswith(_BOM) else 0


def _text_at(data: bytes, pos: int) -> int:
    """Step over blank lines between two events, which may be many.

    An LF that belongs to the CR that ended the event is one of them.
    """
    if data[pos] not in b"\r\n":
        return pos
    text = _TEXT.search(data, pos)
    return text.start() if text is not None else len(data)
