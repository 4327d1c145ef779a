"""Server-sent events, read beside their relay.

Two readers share the work. `_Lines` is the exact one: every line ending, cut
anywhere, lines of any length, in bounded memory. Most of a stream needs less:
small events in the plain form, and among those runs of text deltas, which are
stepped over without being decoded. Both see the same events, so how a stream
is cut into chunks never shows.

A delta is known by its first member, `"type":"response.….delta"`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from imagegate.engine.meaning import read_event
from imagegate.engine.reducer import Collector, Message

if TYPE_CHECKING:
    from imagegate.engine.events import Event

_BOM: Final = b"\xef\xbb\xbf"
_CARRY: Final = 4 * 1024  # of an event that is not there as a whole
_DATA: Final = b"data: "
_CR: Final = 0x0D
_LF: Final = 0x0A

_PLAIN: Final = re.compile(rb"(?:event:[^\n]{0,100}+\n)?+data: ?+([^\n]{0,4096}+)\n\n")
_DELTA: Final = re.compile(rb'\{"type": ?"response\.[a-z_.]{1,80}\.delta",')


class SseScanner:
    """Observes a `text/event-stream`."""

    def __init__(self) -> None:
        self.started = False
        self.boundary = 0
        self._base = 0  # bytes fed before the text at hand
        self._carry = b""
        self._lines = _Lines()
        # How a delta begins in this stream, behind the end of another event.
        self._delta = b""
        self._events: list[Event] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """Observe the next bytes and return the events they completed."""
        if self._lines.skip(chunk):
            self._base += len(chunk)
            return []
        text = self._carry + chunk
        rest = self._scan(text, 0 if self._base else self._begin(text))
        self._carry = text[rest:]
        self._base += rest
        return self._taken()

    def close(self) -> list[Event]:
        """Observe the end; an event without its blank line is reported."""
        text, self._carry = self._carry, b""
        pos = 0
        while pos < len(text):
            pos = self._slow(text, pos)
        self._base += len(text)
        message = self._lines.finish()
        if message is not None:
            self._report(message, self._base, incomplete=True)
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _begin(self, text: bytes) -> int:
        """Return where the events begin: behind one byte order mark.

        A part of the mark is no event, so it waits until the rest is there.
        """
        return len(_BOM) if text.startswith(_BOM) else 0

    def _scan(self, text: bytes, pos: int) -> int:
        """Read events; return where an incomplete one begins that can wait."""
        plain = None
        while pos < len(text):
            if self._lines.between:
                if plain is None:
                    plain = text.find(b"\r", pos) < 0
                if plain:
                    pos = self._quick(text, pos)
                    if len(text) - pos <= _CARRY and text.find(b"\n\n", pos) < 0:
                        break
            pos = self._slow(text, pos)
        return pos

    def _slow(self, text: bytes, pos: int) -> int:
        pos, message = self._lines.read(text, pos)
        if self._lines.ended:
            self.boundary = self._base + pos
        if message is not None:
            self._report(message, self._base + pos, incomplete=False)
        return pos

    def _quick(self, text: bytes, pos: int) -> int:
        """Read plain small events; return where something else begins."""
        while True:
            pos = self._skip_deltas(text, pos)
            event = _PLAIN.match(text, pos)
            if event is None:
                return pos
            pos = event.end()
            self.boundary = self._base + pos
            delta = _DELTA.match(text, event.start(1))
            if delta is None:
                self._report(_message(event[1]), self.boundary, incomplete=False)
            else:
                self._delta = b"\n\n" + text[event.start() : delta.end()]
                self.started = True

    def _skip_deltas(self, text: bytes, pos: int) -> int:
        """Step over events that begin like the last delta and are one line."""
        delta, size = self._delta, len(self._delta)
        if not delta or not text.startswith(delta[2:], pos):
            return pos
        find = text.find
        end = find(b"\n", pos + size - 2)
        while text[end : end + size] == delta:
            pos = end + 2
            end = find(b"\n", end + size)
        if end >= 0 and text.startswith(b"\n\n", end):
            pos = end + 2
        self.boundary = max(self.boundary, self._base + pos)
        return pos

    def _report(self, message: Message, end: int, *, incomplete: bool) -> None:
        if _DELTA.match(message.text):
            self.started = True
            return
        reading = read_event(message, end=end, incomplete=incomplete)
        self.started = self.started or reading.opens
        self._events += reading.events


def _message(data: bytes) -> Message:
    return Message(text=data, length=len(data))


class _Lines:
    """Reads events line by line, to the letter of the standard."""

    def __init__(self) -> None:
        self.ended = False  # the last `read` stopped behind a blank line
        self._fresh = True  # nothing has been read since a blank line
        self._after_cr = False
        self._name = b""  # the line's first bytes, up to `data: `
        self._is_data: bool | None = None  # of the line, once `_name` tells
        self._data: Collector | None = None

    @property
    def between(self) -> bool:
        """Whether the next byte begins an event, not the rest of a CRLF."""
        return self._fresh and not self._after_cr

    def skip(self, text: bytes) -> bool:
        """Take all of `text` if it is inside one long string, else nothing."""
        return (
            self._is_data is True
            and self._data is not None
            and b"\n" not in text
            and b"\r" not in text
            and self._data.skip(text)
        )

    def read(self, text: bytes, pos: int) -> tuple[int, Message | None]:
        """Read to the end of one event or of `text`, whichever comes first.

        Returns:
            Where it stopped, and the event's data if it had any.
        """
        self.ended = False
        while pos < len(text):
            skip, self._after_cr = self._after_cr, False
            if skip and text[pos] == _LF:
                pos += 1
                continue
            pos = self._piece(text, pos)
            if self.ended:
                return pos, self._dispatch()
        return pos, None

    def finish(self) -> Message | None:
        """Take the stream's end for the line's and the event's."""
        self._end_line()
        return self._dispatch()

    def _piece(self, text: bytes, pos: int) -> int:
        """Read what `text` has of one line."""
        self._fresh = False
        stop = text.find(b"\n", pos)
        stop = len(text) if stop < 0 else stop
        cr = text.find(b"\r", pos, stop)
        stop = stop if cr < 0 else cr
        self._take(text, pos, stop)
        if stop == len(text):
            return stop
        self._after_cr = text[stop] == _CR
        self._end_line()
        return stop + 1

    def _take(self, text: bytes, pos: int, stop: int) -> None:
        if self._is_data is None:
            pos = self._decide(text, pos, stop)
        if self._is_data and self._data is not None:
            self._data.feed(text, pos, stop)

    def _decide(self, text: bytes, pos: int, stop: int) -> int:
        """Read the field's name as far as it tells data from the rest."""
        part = text[pos : min(stop, pos + len(_DATA) - len(self._name))]
        self._name += part
        if len(self._name) == len(_DATA):
            self._is_data = self._name.startswith(b"data:")
            if self._is_data:
                self._begin_data(self._name[5:].removeprefix(b" "))
        return pos + len(part)

    def _end_line(self) -> None:
        if self._is_data is None:
            self.ended = not self._name
            if self._name in {b"data", b"data:"}:
                self._begin_data(b"")
        self._name, self._is_data = b"", None

    def _begin_data(self, first: bytes) -> None:
        """Begin a line of data; further lines of one event join with LF."""
        if self._data is None:
            self._data = Collector()
        else:
            first = b"\n" + first
        self._data.feed(first, 0, len(first))

    def _dispatch(self) -> Message | None:
        self._fresh = True
        data, self._data = self._data, None
        return data.close() if data is not None else None
