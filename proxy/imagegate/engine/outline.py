"""What stands outside the strings of JSON text, found without decoding it.

Strings are told from the rest by their quotes alone, with the few fast passes that
`bytes` has, so that megabytes of brackets take milliseconds. The text need not be
JSON; what is found in it then means nothing, and no decoder accepts it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from imagegate.engine.errors import MalformedRequest

# Opening brackets and commas outside strings. A hundred thousand items of four
# members have 500,000; readers behind us need a hundred bytes for each.
MAX_STRUCTURE: Final = 600_000
# What is looked at in one go: half a millisecond at worst.
WINDOW: Final = 1 << 14

NO_BRACKET: Final = bytes(set(range(256)) - set(b"[]{}"))
_CLOSING: Final = b"]}"
_PAIRS: Final = (b"[]", b"{}")
# Rounds of removing the innermost pairs; what is left then is counted one by one.
_ROUNDS: Final = 4


def hide_escapes(text: bytes) -> bytes:
    """Replace escaped backslashes and quotes, so that each quote bounds a string.

    The text must not begin inside an escape. Nothing moves.
    """
    if b"\\" not in text:
        return text
    # Backslashes pair from the left, so none that is left begins in a pair.
    return text.replace(b"\\\\", b"..").replace(b'\\"', b"..")


class Outline:
    """A stretch of text that begins outside strings, or in one.

    Attributes:
        open: Whether the stretch ends inside a string.
    """

    __slots__ = ("_from", "_length", "_parts", "open")

    def __init__(self, text: bytes, *, inside: bool = False) -> None:
        self._length = len(text)
        self._parts = hide_escapes(text).split(b'"')
        self._from = int(inside)
        self.open = (len(self._parts) % 2 == 0) ^ inside

    @property
    def last_quote(self) -> int:
        """Where the last quote stands; -1 when there is none."""
        return self._length - len(self._parts[-1]) - 1

    def outside(self) -> bytes:
        """Join what stands outside strings."""
        return b"".join(self._parts[self._from :: 2])

    def before_last_comma(self) -> tuple[int, bytes]:
        """Find the last comma outside strings, in a stretch that begins there.

        Returns:
            Where it stands, 0 when there is none after the first byte; and what
            stands outside strings before it.
        """
        # What is in strings, with their quotes, moves what is outside.
        last = len(self._parts) - self.open
        outside = self._parts[:last:2]
        joined = b"".join(outside)
        comma = joined.rfind(b",")
        if comma < 0:
            return 0, b""
        before = bisect_right(list(accumulate(map(len, outside))), comma)
        moved = sum(map(len, self._parts[1 : 2 * before : 2])) + 2 * before
        return comma + moved, joined[:comma]


def structure(outside: bytes) -> int:
    """Count the values that text without strings has at most."""
    return sum(map(outside.count, (b",", b"[", b"{")))


def nest(stack: bytes, outside: bytes) -> tuple[bytes, bool]:
    """Open and close brackets.

    Args:
        stack: The brackets that are open.
        outside: What follows, without strings.

    Returns:
        The brackets that are open then, and whether the last one was closed on the
        way; if so, what is open means nothing.
    """
    brackets = outside.translate(None, NO_BRACKET)
    for _ in range(_ROUNDS):
        shorter = brackets
        for pair in _PAIRS:
            shorter = shorter.replace(pair, b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
    opened = bytearray(stack)
    for bracket in brackets:
        if bracket not in _CLOSING:
            opened.append(bracket)
        elif len(opened) > 1:
            opened.pop()
        else:
            return b"", True
    return bytes(opened), False


class Budget:
    """How much structure a body may have, and what is known of how much it has.

    Attributes:
        size: How long the body is.
        spent: What was found so far, at most.
        proved: Whether the body is known to have no more than it may.
    """

    __slots__ = ("_text", "proved", "size", "spent")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self.size = len(text)
        self.spent = 0
        self.proved = self.size <= MAX_STRUCTURE

    def spend(self, found: int) -> Iterator[None]:
        """Add what a part of the body has at most.

        When that is too much, the whole body is counted exactly, once.

        Raises:
            MalformedRequest: When the body has more structure than it may.
        """
        self.spent += found
        if self.spent > MAX_STRUCTURE and not self.proved:
            yield from _count(self._text)
            self.proved = True


def _count(text: bytes) -> Iterator[None]:
    at = found = 0
    inside = False
    while at < len(text):
        window = text[at : at + WINDOW]
        # An escape is not cut.
        plain = hide_escapes(window)
        if plain.endswith(b"\\") and at + len(window) < len(text):
            window = window[:-1]
        outline = Outline(window, inside=inside)
        inside = outline.open
        found += structure(outline.outside())
        if found > MAX_STRUCTURE:
            raise MalformedRequest(
                "too_many_nodes", "too many values in the body", status=413
            )
        at += len(window)
        yield
