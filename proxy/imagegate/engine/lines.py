"""Server-sent events line by line, to the letter of the standard.

Every line ending, cut anywhere, lines of any length, in bounded memory. This is
the exact reader; what is common and small is read faster elsewhere.
"""

from __future__ import annotations

from typing import Final

from imagegate.engine.reducer import Collector, Message

_DATA: Final = b"data: "
_BARE: Final = frozenset({b"data", b"data:"})
_CR: Final = 0x0D
_LF: Final = 0x0A


class Text:
    """Bytes at hand, and where their lines end; each byte is looked at once or twice.

    A text whose lines end in CR must not be searched to its end for an LF at every
    line, so the next LF is remembered.

    Args:
        data: The bytes.
        cr: Whether a line may end in CR, as far as is known.
    """

    def __init__(self, data: bytes, *, cr: bool = True) -> None:
        self.data = data
        self._cr = cr
        self._lf = -1

    def line_end(self, pos: int) -> int:
        """Return where the line at `pos` ends, or the length of the text."""
        if self._lf < pos:
            lf = self.data.find(b"\n", pos)
            self._lf = len(self.data) if lf < 0 else lf
        cr = self.data.find(b"\r", pos, self._lf) if self._cr else -1
        return self._lf if cr < 0 else cr


class Lines:
    """Reads events from pieces of a stream.

    Attributes:
        fresh: Nothing has been read since a blank line.
        inside: What was read ends inside a long string of an event's data.
    """

    def __init__(self) -> None:
        self.fresh = True
        self.inside = False
        self._after_cr = False  # an LF would still belong to the last line
        self._name = b""  # the line's first bytes, up to `data: `
        self._is_data: bool | None = None  # of the line, once `_name` tells
        self._data: Collector | None = None

    def begin(self) -> None:
        """Begin an event behind the name of its first line of data, which was seen."""
        self.fresh = self._after_cr = False
        self._is_data, self._data = True, Collector()

    def skip(self, length: int) -> None:
        """Count bytes that are more of the string that is `inside`."""
        if self._data is not None:
            self._data.skip(length)

    def read(self, text: Text, pos: int) -> tuple[int, Message | None]:
        """Read to the end of one event or of `text`, whichever comes first.

        Returns:
            Where it stopped, and the event's data if it had any.
        """
        data = text.data
        pos = self._rest(data, pos)
        while pos < len(data):
            self.fresh = False
            stop = text.line_end(pos)
            if stop > pos:
                self._take(data, pos, stop)
            if stop == len(data):
                return stop, None
            self._after_cr = data[stop] == _CR
            if self._end_line():
                return stop + 1, self._dispatch()
            pos = self._rest(data, stop + 1)
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

    def _take(self, data: bytes, pos: int, stop: int) -> None:
        """Read what there is of one line."""
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

    def _end_line(self) -> bool:
        """End a line; tell whether it was blank, which ends the event."""
        name, begun = self._name, self._is_data is not None
        if not begun and name in _BARE:
            self._begin_data(b"")
        self.inside = False
        self._name, self._is_data = b"", None
        return not (name or begun)

    def _begin_data(self, first: bytes) -> None:
        """Begin a line of data; further lines of one event join with LF."""
        if self._data is None:
            self._data = Collector()
        else:
            first = b"\n" + first
        if first:
            self._data.feed(first, 0, len(first))

    def _dispatch(self) -> Message | None:
        self.fresh = True
        data, self._data = self._data, None
        return data.close() if data is not None else None
