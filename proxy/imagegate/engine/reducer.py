"""One JSON text of any length, kept in bounded memory.

An answer carries images of many megabytes inside a handful of small members.
Up to `WHOLE` bytes a text is kept as it came. Beyond, every string longer than
`LONG` is cut out while it streams by: its place is taken by a short mark, its
length and its first characters are set aside. What is left is JSON with the
same members in the same order, wherever the payload stands among them, and is
read by the ordinary decoder.

Stepping over a payload is one search for a quote per chunk.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from imagegate.engine.pixels import HEAD

WHOLE: Final = 16 * 1024
LONG: Final = 4 * 1024
REDUCED: Final = 512 * 1024  # an echo of 128 large function tools is 100 KB

# No string of the text can pass for a mark: one that begins with NUL, which
# JSON can spell in no other way, is set aside whatever its length.
_NUL: Final = b"\\u0000"
_BACKSLASH: Final = 0x5C

# Whole strings and what stands between them; one that begins like a mark is left
# out. A string without `\"` is read by the first way, which is much the faster.
_STRINGS: Final = re.compile(
    rb'[^"]*+(?:"(?!\\u0000)(?=[^"]*+")'
    rb'(?:[^"]*+(?<!\\)"|[^"\\]*+(?:\\.[^"\\]*+)*")'
    rb'[^"]*+)*',
    re.DOTALL,
)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A string that was cut out.

    Attributes:
        head: Its first characters.
        length: Bytes between the quotes, escapes as written.
    """

    head: str
    length: int


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON text, or what could be kept of it.

    Attributes:
        text: JSON, unless the text was none.
        length: Bytes before anything was cut out.
        held: What was cut out, in order.
        whole: False when `text` breaks off at the limit.
    """

    text: bytes
    length: int
    held: tuple[Held, ...] = ()
    whole: bool = True

    def payload(self, value: str) -> tuple[str, int]:
        """Return head and length of a string decoded from `text`."""
        if self.held and value.startswith("\0"):
            held = self.held[int(value[1:])]
            return held.head, held.length
        return value[:HEAD], len(value)


class Collector:
    """Gathers the pieces of one JSON text, cut anywhere.

    Attributes:
        inside: What was fed ends inside a long string, and not behind a
            backslash: more without a quote may be skipped if it does not end in
            a backslash either. Most of an image goes by in this way.
    """

    def __init__(self) -> None:
        self.inside = False
        self._kept = bytearray()
        self._length = 0
        self._reducer: _Reducer | None = None

    def feed(self, data: bytes, pos: int, end: int) -> None:
        """Take `data[pos:end]`; the range spares a copy of a long piece."""
        self._length += end - pos
        if self._reducer is None:
            if self._length <= WHOLE:
                self._kept += data[pos:end]
                return
            self._reducer = _Reducer()
            if self._kept:
                self._reducer.feed(bytes(self._kept), 0, len(self._kept))
                self._kept.clear()
        self._reducer.feed(data, pos, end)
        self.inside = self._reducer.inside

    def skip(self, length: int) -> None:
        """Count bytes that were not fed, for they are only more of a string."""
        self._length += length
        if self._reducer is not None:
            self._reducer.skip(length)

    def close(self) -> Message:
        """Return what was gathered."""
        if self._reducer is None:
            return Message(text=bytes(self._kept), length=self._length)
        reducer = self._reducer
        return Message(
            text=bytes(reducer.kept),
            length=self._length,
            held=tuple(reducer.held),
            whole=reducer.whole,
        )


def message(data: bytes) -> Message:
    """Gather a text that is there as a whole."""
    collector = Collector()
    collector.feed(data, 0, len(data))
    return collector.close()


class _Reducer:
    """Cuts long strings out of a JSON text.

    It knows strings and nothing else of JSON: what is malformed stays so.
    """

    def __init__(self) -> None:
        self.kept = bytearray()
        self.held: list[Held] = []
        self.whole = True
        self._room = REDUCED
        self._quoted = False
        self._start = 0  # of the open string's characters in `kept`
        self._length = 0  # of the open string so far
        self._odd = False  # it stands behind an odd run of backslashes

    def feed(self, data: bytes, pos: int, end: int) -> None:
        while pos < end and self.whole:
            step = self._inside if self._quoted else self._outside
            pos = step(data, pos, end)

    @property
    def inside(self) -> bool:
        return self._quoted and self._length >= LONG and not self._odd

    def skip(self, length: int) -> None:
        self._length += length

    def _outside(self, data: bytes, pos: int, end: int) -> int:
        # What is whole within `LONG` bytes is not too long.
        whole = _STRINGS.match(data, pos, min(pos + LONG, end))
        stop = whole.end() if whole is not None else pos
        opens = data.startswith(b'"', stop, end)
        self._keep(data[pos : stop + opens])
        if opens:
            self._quoted, self._length, self._odd = True, 0, False
            self._start = len(self.kept)
        return stop + opens

    def _inside(self, data: bytes, pos: int, end: int) -> int:
        quote = self._closing(data, pos, end)
        stop = end if quote < 0 else quote
        room = LONG - self._length
        if room > 0:
            self._keep(data[pos : min(stop, pos + room)])
        self._length += stop - pos
        if quote < 0:
            return end
        self._close()
        return quote + 1

    def _closing(self, data: bytes, pos: int, end: int) -> int:
        """Find the quote that closes the string, or -1."""
        quote = data.find(b'"', pos, end)
        before = (end if quote < 0 else quote) - 1
        escaped = data[before] == _BACKSLASH if before >= pos else self._odd
        if escaped:
            return self._closing_among_escapes(data, pos, end)
        self._odd = False
        return quote

    def _closing_among_escapes(self, data: bytes, pos: int, end: int) -> int:
        """Do the same for what is no base64, a window at a time."""
        at, self._odd = pos + self._odd, False
        while at < end:
            window = data[at : min(at + LONG, end)]
            plain = window.replace(b"\\\\", b"..").replace(b'\\"', b"..")
            quote = plain.find(b'"')
            if quote >= 0:
                return at + quote
            at += len(plain)
            if plain.endswith(b"\\"):
                self._odd = at == end
                at -= at < end  # the next window begins with the escape
        return -1

    def _close(self) -> None:
        self._quoted = False
        kept, start, end = self.kept, self._start, b'"'
        if self._length > LONG or kept.startswith(_NUL, start):
            head = kept[start : start + HEAD].decode("latin-1")
            self._room += len(kept) - start
            del kept[start:]
            end = b'%s%d"' % (_NUL, len(self.held))
            self.held.append(Held(head=_unescaped(head), length=self._length))
            # What is set aside counts too: a text of many long strings would
            # otherwise grow without bound beside `kept`.
            self._room -= 2 * HEAD
        self._keep(end)

    def _keep(self, piece: bytes) -> None:
        self._room -= len(piece)
        if self._room < 0:
            self.whole = False
        else:
            self.kept += piece


def _unescaped(head: str) -> str:
    r"""Undo `\/`, which some encoders write, and end at any other escape."""
    return head.replace("\\/", "/").partition("\\")[0]
