"""How deep a value is nested that nobody opens.

Readers give up at different depths, the next one perhaps in the middle of a crash,
and what a reader behind us does not see has not been judged. So there is a bound,
also where only a provider ever looks: the schema of a function, a caller's own notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.outline import NO_BRACKET, WINDOW, Outline, hide_escapes

MAX_NESTED: Final = 100
"""Levels of one value. Schemas have been seen at thirty objects in each other, which
are sixty levels; the strictest readers in use stop at 64 or 128."""
_PAIRS: Final = (b"[]", b"{}")
# Rounds of removing the innermost pairs: most values are not nested deeper.
_ROUNDS: Final = 6
_BACKSLASH: Final = ord("\\")
_STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_depth(text: bytes, start: int, stop: int, *, pointer: str) -> Iterator[None]:
    """Refuse a value that is nested too deep, window by window.

    Args:
        text: In which it stands; it is known to be JSON.
        start: Where it begins.
        stop: Where it ends.
        pointer: Its place.

    Raises:
        MalformedRequest: When it is.
    """
    at, depth, inside = start, 0, False
    if stop - start <= WINDOW and has_few(text, start, stop):
        return
    while at < stop:
        at = _skipped(text, at, stop) if inside else at
        window = text[at : min(at + WINDOW, stop)]
        # An escape is not cut.
        if hide_escapes(window).endswith(b"\\"):
            window = window[:-1]
        outline = Outline(window, inside=inside)
        inside = outline.open
        brackets = outline.outside().translate(None, NO_BRACKET)
        if _exceeds(depth, brackets):
            said = f"nested more than {MAX_NESTED} deep"
            raise MalformedRequest("too_deep", said, pointer=pointer)
        depth += _opened(brackets) - _closed(brackets)
        at += len(window)
        yield


def has_few(text: bytes, start: int = 0, stop: int | None = None) -> bool:
    """Whether text has fewer brackets than it takes, those in its strings too."""
    brackets = text.count(b"{", start, stop) + text.count(b"[", start, stop)
    return brackets <= MAX_NESTED


def _skipped(text: bytes, at: int, stop: int) -> int:
    """Step over much of a long string: megabytes of base64 have no quotes."""
    quote = text.find(b'"', at, stop)
    far = quote - at > WINDOW and text[quote - 1] != _BACKSLASH
    return quote if far else at


def _exceeds(depth: int, brackets: bytes) -> bool:
    """Whether brackets that follow at a depth go too deep."""
    shorter = brackets
    for _ in range(_ROUNDS):
        for pair in _PAIRS:
            shorter = shorter.replace(pair, b"")
    if depth + _opened(shorter) + _ROUNDS * len(_PAIRS) <= MAX_NESTED:
        return False
    deepest = max(accumulate(map(_STEP.__getitem__, brackets)), default=0)
    return depth + deepest > MAX_NESTED


def _opened(brackets: bytes) -> int:
    return brackets.count(b"[") + brackets.count(b"{")


def _closed(brackets: bytes) -> int:
    return brackets.count(b"]") + brackets.count(b"}")
