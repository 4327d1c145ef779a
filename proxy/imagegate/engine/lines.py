"""Server-sent events line by line, to the letter of the standard.

Every line ending, cut anywhere, lines of any length, in bounded memory. This is
the exact reader; what is common and small is read faster elsewhere.
"""

from __future__ import annotations

from typing import Final

from imagegate.engine.reducer import Collector, Message

_DATA: Final = b"data: "
_CR: Final = 0x0D
_LF: Final = 0x0A


class Text:
    """Bytes at hand, and where their lines end; each end is searched for once.

    Without that a text whose lines end in CR would be searched to its end for
    an LF at every line.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._lf = self._cr = -1

    def line_end(self, pos: int) -> int:
        """Return where the line at `pos` ends, or the length of the text."""
        if self._lf < pos:
            self._lf = self._find(b"\n", pos)
        if self._cr < pos:
            self._cr = self._find(b"\r", pos)
        return min(self._lf, self._cr)

    def _find(self, end: bytes, pos: int) -> int:
        at = self.data.find(end, pos)
        return len(self.data) if at < 0 else at


class Lines:
    """Reads events from pieces of a stream.

    Attributes:
        fresh: Nothing has been read since a blank line.
        inside: What was read ends inside a long string of an event's data.
    """

    def __init__(self) -> None:
        self.fresh = True
        self.inside = False
        self._ended = False  # the last line was blank
        self._after_cr = False  # an LF would still belong to the last line
        self._name = b""  # the line's first bytes, up to `data: `
        self._is_data: bool | None = None  # of the line, once `_name` tells
        self._data: Collector | None = None

    def skip(self, length: int) -> None:
        """Count bytes that are more of the string that is `inside`."""
        if self._data is not None:
            self._data.skip(length)

    def read(self, text: Text, pos: int) -> tuple[int, Message | None]:
        """Read to the end of one event or of `text`, whichever comes first.

        Returns:
            Where it stopped, and the event's data if it had any.
        """
        self._ended = False
        pos = self._rest(text.data, pos)
        while pos < len(text.data):
            pos = self._piece(text, pos)
            if self._ended:
                return pos, self._dispatch()
            pos = self._rest(text.data, pos)
        return pos, None

    def _rest(self, data: bytes, pos: int) -> int:
        """Step over the LF of a CRLF."""
        if self._after_cr and pos < len(data):
            self._after_cr = False
            return pos + (data[pos] == _LF)
        return pos

    def finish(self) -> Message | None:
        """Take the stream's end for the line's and the event's."""
        self._end_line()
        return self._dispatch()

    def _piece(self, text: Text, pos: int) -> int:
        """Read what `text` has of one line."""
        self.fresh = False
        stop = text.line_end(pos)
        self._take(text.data, pos, stop)
        if stop == len(text.data):
            return stop
        self._after_cr = text.data[stop] == _CR
        self._end_line()
        return stop + 1

    def _take(self, data: bytes, pos: int, stop: int) -> None:
        if self._is_data is None:
            pos = self._decide(data, pos, stop)
        if self._is_data and self._data is not None:
            self._data.feed(data, pos, stop)
            self.inside = self._data.inside

    def _decide(self, data: bytes, pos: int, stop: int) -> int:
        """Read the field's name as far as it tells data from the rest."""
        part = data[pos : min(stop, pos + len(_DATA) - len(self._name))]
        self._name += part
        if len(self._name) == len(_DATA):
            self._is_data = self._name.startswith(b"data:")
            if self._is_data:
                self._begin_data(self._name[5:].removeprefix(b" "))
        return pos + len(part)

    def _end_line(self) -> None:
        self.inside = False
        if self._is_data is None:
            self._ended = not self._name
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
        self.fresh = True
        data, self._data = self._data, None
        return data.close() if data is not None else None
