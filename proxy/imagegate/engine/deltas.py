r"""Small events in the plain form, and the runs of text deltas among them.

A text stream is hundreds of deltas that say nothing about images. They are
stepped over a run at a time, without a step of Python for each: the bytes from
the end of one delta's line to the text of the next are always the same, so
when every line end of a run belongs to such a seam, the run is deltas and
nothing else. Two searches show that, whatever stands in the texts.

A delta is known by its first member, `"type":"response.….delta"`. A second
`type` behind it is not looked for: it takes a provider that wants to hide an
event, which need not send it at all.
"""

from __future__ import annotations

import re
from typing import Final

# Its kind, and what follows up to the first number, which counts deltas.
_DELTA: Final = re.compile(
    rb'(\{"type": ?"response\.[a-z_.]{7,80}+(?<=\.delta)",)[^0-9]{0,64}+'
)

_LF: Final = b"\n"
_CR: Final = b"\r"
_CRLF: Final = b"\r\n"
SMALL: Final = 16 * 1024
"""Bytes of data that are read as they stand; no string is cut out of so few."""
_BEGIN: Final = rb"(?:event:[^%b]{0,100}+%b)?data: "
_FORM: Final = _BEGIN + rb"?([^%b]{0,%d}+)%b%b"
_PLAIN: Final = {
    newline: re.compile(_FORM % (newline, newline, newline, SMALL, newline, newline))
    for newline in (_LF, _CR, _CRLF)
}
_LONG: Final = {newline: re.compile(_BEGIN % (newline, newline)) for newline in _PLAIN}
# A blank line, as it may stand in a text that has these line ends.
_BLANK: Final = {
    _LF: (b"\n\n",),
    _CR: (b"\r\r",),
    _CRLF: (b"\n\r", b"\n\n", b"\r\r"),
}

_KINDS: Final = 8  # of deltas that are remembered; two may alternate
_FEW: Final = 2560  # bytes in which deltas are faster told one by one
_MOST: Final = 64 * 1024


def is_delta(data: bytes) -> bool:
    """Whether the data of an event is a text delta, whole or not."""
    return _DELTA.match(data) is not None


def newline_of(text: bytes, pos: int) -> bytes:
    """Say how the lines in `text[pos:]` end, if they all end alike."""
    if text.find(_CR, pos) < 0:
        return _LF
    return _CR if text.find(_LF, pos) < 0 else _CRLF


class Plain:
    """Reads plain events whose lines end in one way, between other events.

    Attributes:
        newline: How lines end.
        late: Bytes at the end of an event that may come later than the event.
        head: How a delta begins in this stream; empty before there was one.
        event: Reads one event; its first group is the data. Only in a text whose
            lines can end in no other way.
        begin: The same for all before the data of one that is long.
    """

    def __init__(self, newline: bytes) -> None:
        self.newline = newline
        self.late = 1 if newline == _CRLF else 0
        self.head = b""
        self._heads: dict[bytes, bytes] = {}  # of each kind of delta
        self.event = _PLAIN[newline].match
        self.begin = _LONG[newline].match
        self._blank = newline * 2
        self._first = newline[:1]
        self._also = newline[1:]  # nothing, or the LF of a CRLF
        self._other = {_LF: _CR, _CR: _LF}.get(newline, b"")
        self._odd = self._other or self._also  # in no line of a delta
        self._seam = b""  # the end of one delta and the head of another
        self._ends = 0  # of lines, in a seam
        self._reach = _MOST

    def waits(self, text: bytes, pos: int) -> bool:
        """Whether no event ends in `text[pos:]`, where lines end in one way."""
        return all(text.find(blank, pos) < 0 for blank in _BLANK[self.newline])

    def learn(self, event: re.Match[bytes]) -> bool:
        """Whether an event is a delta; if so, remember how it begins."""
        text = event.string
        delta = _DELTA.match(text, *event.span(1))
        if delta is None:
            return False
        start = event.start()
        kind = text[start : delta.end(1)]
        head = self._heads.get(kind, b"")
        if not head or not text.startswith(head, start):
            one = text[start : delta.end()]
            head = one[: _shared(one, head)] if head else one
            if len(self._heads) >= _KINDS:
                self._heads.clear()
            self._heads[kind] = head
        self.head, self._seam = head, self._blank + head
        self._ends = self._seam.count(self.newline)
        return True

    def is_one(self, text: bytes) -> bool:
        """Whether a text that begins like the last delta is one, and nothing else.

        Many providers send each in a piece of its own.
        """
        start = len(self.head)
        end = text.find(self._first, start)
        return text[end:] == self._blank and text.find(self._odd, start, end) < 0

    def skip(self, text: bytes, pos: int) -> int:
        """Step over deltas that begin like the last one."""
        while self.head and text.startswith(self.head, pos):
            end = text.find(self._first, pos + len(self.head))
            if len(text) - end < _FEW or not text.startswith(self._seam, end):
                return self._steps(text, pos, end + _FEW)
            last = text.rfind(self._seam, end, pos + self._reach)
            stop = last + len(self._blank)
            if last >= 0 and self._is_run(text[pos:stop]):
                self._reach = min(self._reach * 2, _MOST)
                pos = stop
            elif self._reach > _FEW:
                self._reach //= 2
            else:
                return self._steps(text, pos, end + _FEW)
        return pos

    def _steps(self, text: bytes, pos: int, stop: int) -> int:
        """Step over them one by one, as far as `stop`."""
        if self._other and text.find(self._other, pos, stop) >= 0:
            return pos
        find, first, also = text.find, self._first, self._also
        seam, size = self._seam, len(self._seam)
        start = pos + len(self.head)
        end = find(first, start, stop)
        while text[end : end + size] == seam:
            if also and find(also, start, stop) != end + 1:
                return pos
            pos, start = end + len(self._blank), end + size
            end = find(first, start, stop)
        clean = not also or find(also, start, stop) == end + 1
        last = clean and text.startswith(self._blank, end)
        return end + len(self._blank) if last else pos

    def begun(self, text: bytes, pos: int) -> bool:
        """Whether `text[pos:]` is the beginning of another such delta."""
        if len(text) - pos <= len(self.head):
            return self.head.startswith(text[pos:])
        if not text.startswith(self.head, pos):
            return False
        pos += len(self.head)
        return text.find(_LF, pos) < 0 and text.find(_CR, pos) < 0

    def _is_run(self, part: bytes) -> bool:
        """Whether `part` is deltas and nothing else.

        It begins like a delta and ends with a blank line, which makes one
        seam; seams cannot overlap. To remove a character and compare lengths
        is the fastest way to count it.
        """
        if self._other and self._other in part:
            return False
        ends = (part.count(self._seam) + 1) * self._ends
        return _count(part, self._first) == ends and (
            not self._also or _count(part, self._also) == ends
        )


def _shared(one: bytes, other: bytes) -> int:
    """Count the bytes at the beginning that two texts have in common."""
    size = min(len(one), len(other))
    differ = int.from_bytes(one[:size], "big") ^ int.from_bytes(other[:size], "big")
    return size - (differ.bit_length() + 7) // 8


def _count(text: bytes, character: bytes) -> int:
    """Count a character that is rare: twice as fast as `bytes.count`."""
    return len(text) - len(text.replace(character, b""))
