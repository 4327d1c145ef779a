"""How much structure JSON text has, found out without decoding it.

A decoder cannot be stopped, and ten megabytes of `[],` keep it for twenty
milliseconds, those of `{},` for forty. So structure is bounded before a long text
is decoded: mostly by counting bytes, which counts those inside strings too, and
where that is too many by stepping over the strings. The text need not be JSON;
what is found in it then means nothing, and no decoder accepts it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator
from typing import Final

import msgspec
from msgspec import Raw

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.strict import syntax_error

# Opening brackets and commas outside strings. A hundred thousand items of four
# members have 500,000. Decoding takes 6 ns for each, and ten megabytes of text
# 3 ms: about 5 ms in all.
MAX_STRUCTURE: Final = 600_000
# Text up to this size is decoded in 4 ms, whatever it is: 4 ns a byte at worst.
HARMLESS: Final = 1 << 20

# Counting in this much takes 60 µs.
_WINDOW: Final = 1 << 16
# About a millisecond of windows, and of steps.
_WINDOWS: Final = 16
_STEPS: Final = 4_000
# What a window without a bracket, comma or quote costs.
_BLANK: Final = 500
# Strings with escaped quotes are mostly short.
_GLANCE: Final = 1 << 10
# An escape costs 2 to 7 ns.
_MAX_ESCAPES: Final = 200_000
_NEAR: Final = 64
_MARK: Final = b"\xff%d\xff"
_MARKED: Final = re.compile(rb"\xff(\d+)\xff")
_ANY: Final = msgspec.json.Decoder(Raw)
_TOKEN: Final = re.compile(rb'["\[\]{},]')
_QUOTE, _COMMA, _BACKSLASH = b'",\\'
_STEP: Final = {**dict.fromkeys(b"[{", 1), **dict.fromkeys(b"]}", -1), _COMMA: 0}


class Budget:
    """How much structure a body may have, and what is known of how much it has.

    Attributes:
        spent: What was found so far, at most.
        proved: Whether the body is known to have no more than it may.
    """

    __slots__ = ("_text", "proved", "spent")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.spent = 0
        self.proved = len(text) <= HARMLESS

    def spend(self, structure: int) -> Iterator[None]:
        """Add what a part of the body has at most.

        When that is too much, the whole body is counted exactly, once.

        Raises:
            MalformedRequest: When the body has more structure than it may.
        """
        self.spent += structure
        if self.spent > MAX_STRUCTURE and not self.proved:
            yield from element_end(self._text, 0)
            self.proved = True

    def weigh(self, text: bytes) -> Iterator[None]:
        """Add what a long part of the body has, the text in its strings included."""
        for number, at in enumerate(range(0, len(text), _WINDOW), 1):
            if self.proved:
                return
            yield from self.spend(count(text, at, at + _WINDOW))
            if number % _WINDOWS == 0:
                yield


def count(text: bytes, start: int, stop: int) -> int:
    """How much structure a stretch has at most."""
    return sum(_count(text, byte, start, stop) for byte in (b",", b"[", b"{"))


def _count(text: bytes, byte: bytes, start: int, stop: int) -> int:
    # A find runs at memory speed, which a count does not; base64 has none of these.
    found = text.find(byte, start, stop)
    return 0 if found < 0 else text.count(byte, found, stop)


class Short:
    """JSON text whose long strings were taken out, having been checked.

    Attributes:
        text: The rest. Each string left in it a mark that no UTF-8 text has.
        gaps: Where in the rest something is missing, and how long it is.
    """

    __slots__ = ("_taken", "gaps", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.gaps: list[tuple[int, int]] = []
        self._taken: list[memoryview] = []

    def take(self, spans: Iterable[tuple[int, int]]) -> None:
        """Take stretches out."""
        view = memoryview(self.text)
        parts: list[bytes | memoryview] = []
        size = last = 0
        for start, stop in spans:
            mark = _MARK % len(self._taken)
            parts += (view[last:start], mark)
            size += start - last + len(mark)
            self.gaps.append((size, stop - start - len(mark)))
            self._taken.append(view[start:stop])
            last = stop
        self.text = b"".join((*parts, view[last:]))

    def restore(self, row: dict[str, Raw]) -> dict[str, Raw]:
        """Put into the members of an object what was taken out of them."""
        return {key: self._whole(raw) for key, raw in row.items()} if self.gaps else row

    def _whole(self, raw: Raw) -> Raw:
        parts: list[bytes | memoryview] = list(_MARKED.split(bytes(raw)))
        parts[1::2] = [self._taken[int(number)] for number in parts[1::2]]
        return raw if len(parts) == 1 else Raw(b"".join(parts))


def shorten(text: bytes, *, first: int = 0) -> Generator[None, None, Short]:
    """Take out the long strings, which are slow to decode when they have escapes.

    Args:
        text: JSON, or what may be such; in any case UTF-8.
        first: Where it begins in the body.

    Raises:
        MalformedRequest: For a long key, and a long string that is none.
    """
    short = Short(text)
    short.take((yield from _long_strings(text, first)))
    return short


def is_slow(text: bytes, start: int, stop: int) -> Generator[None, None, bool]:
    """Whether a stretch has so many escapes that it is to be shortened."""
    escapes = 0
    for number, at in enumerate(range(start, stop, _WINDOW), 1):
        escapes += _count(text, b"\\", at, min(at + _WINDOW, stop))
        if number % _WINDOWS == 0:
            yield
    return escapes > _MAX_ESCAPES


def _long_strings(
    text: bytes, first: int
) -> Generator[None, None, list[tuple[int, int]]]:
    found: list[tuple[int, int]] = []
    at, spent = 0, 0
    while start := text.find(b'"', at) + 1:
        at = text.find(b'"', start) + 1 or len(text)
        if text[at - 2] == _BACKSLASH:
            at = yield from _string_end(text, start)
        spent += 1
        if spent % _STEPS == 0:
            yield
        if at - start > _WINDOW:
            if text[at : at + _NEAR].lstrip(b" \t\r\n").startswith(b":"):
                raise MalformedRequest("key_too_long", "a key is too long")
            yield from _check_text(text, start, at - 1, first)
            found.append((start, at - 1))
    return found


def _check_text(text: bytes, start: int, stop: int, first: int) -> Iterator[None]:
    """Decode what a string holds in pieces that end between two characters.

    A piece that is cut inside an escape, or between the halves of a pair, is no
    string; so one that is a string was not cut there. An escaped pair has twelve
    bytes.
    """
    while start < stop:
        for cut in range(start + _WINDOW, start + _WINDOW + 12):
            end = min(cut, stop)
            try:
                _ANY.decode(b'"%b"' % text[start:end])
            except msgspec.DecodeError as error:
                said = str(error)
            else:
                break
        else:
            # The decoder has seen a quote before it.
            missing = first + start - 1
            raise syntax_error(said, text[start - 1 : end], [(0, missing)])
        start = end
        yield


def element_end(text: bytes, at: int) -> Generator[None, None, tuple[int, int]]:
    """Go from the beginning of an element to what follows it.

    Returns:
        Where the comma or the bracket after it stands, the end of the text when
        there is none; and how much structure was on the way.

    Raises:
        MalformedRequest: When that is more than a body may have.
    """
    depth = structure = spent = 0
    while at < len(text):
        found = _TOKEN.search(text, at, at + _WINDOW)
        spent += 1 if found else _BLANK
        if spent >= _STEPS:
            spent = 0
            yield
        if found is None:
            at += _WINDOW
            continue
        at = found.end()
        token = text[at - 1]
        if token == _QUOTE:
            at = text.find(b'"', at) + 1 or len(text)
            if text[at - 2] == _BACKSLASH:
                at = yield from _string_end(text, found.end())
            continue
        step = _STEP[token]
        if depth + step < 0 or (token == _COMMA and not depth):
            return at - 1, structure
        depth += step
        structure += step >= 0
        if structure > MAX_STRUCTURE:
            raise MalformedRequest(
                "too_many_nodes", "too many values in the body", status=413
            )
    return len(text), structure


def _string_end(text: bytes, at: int) -> Generator[None, None, int]:
    """Step over the rest of a string in which quotes are escaped."""
    size = _GLANCE
    while at < len(text):
        part = text[at : at + size]
        # Backslashes pair from the left, so none that is left begins in a pair.
        part = part.replace(b"\\\\", b"..").replace(b'\\"', b"..")
        found = part.find(b'"')
        if found >= 0:
            return at + found + 1
        at += len(part) - (part.endswith(b"\\") and at + len(part) < len(text))
        if size == _WINDOW:
            yield
        size = min(2 * size, _WINDOW)
    return len(text)
