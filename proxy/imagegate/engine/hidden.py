"""Where tools may hide: an object or array in which some key may be read as `tools`.

In any case or escape, at any depth. A string holds no key, whatever it says, and is
not looked into; that is why values are searched and not the text they stand in.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from imagegate.engine.strict import Slice

_WINDOW: Final = 1 << 14
# About a millisecond of windows.
_PAUSE: Final = 1 << 19
# The longest spelling of the key has two quotes and five escapes of six bytes.
_OVERLAP: Final = 64
# A quote inside a string comes after a backslash, so this begins a whole string.
# U+017F is the one character beyond ASCII that a lenient reader takes for a letter
# of the word. The colon may be far away, beyond the window.
_TOOLS: Final = re.compile(rb'"tool(?:s|\xc5\xbf)"[ \t\r\n]*(?::|\Z)')
# Nobody escapes ASCII letters who has nothing to hide.
_HIDDEN: Final = re.compile(rb"\\u0(?:0[4-7]|17f)")
_OPENING: Final = frozenset(b"[{")

_Nothing = Annotated[list[None], Meta(max_length=0)] | None


class _Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A part of a message that holds nothing but text."""

    type: str | None = None
    text: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    refusal: str | None = None
    annotations: _Nothing = None
    logprobs: _Nothing = None


_PLAIN: Final = msgspec.json.Decoder(list[list[_Part]])


def may_hide_tools(text: bytes, start: int, stop: int) -> Generator[None, None, bool]:
    """Whether a value in a text may have such a key, at any length.

    Megabytes of base64 have no quotes, and are stepped over at memory speed.
    """
    paused = at = start if text[start] in _OPENING else stop
    while (at := text.find(b'"', at, stop)) >= 0:
        # The key begins with a quote, so what follows the last one matters no more.
        last = text.rfind(b'"', at, min(at + _WINDOW, stop))
        if _mentions(text[at : min(last + _OVERLAP, stop)]):
            return True
        at += _WINDOW
        if at - paused >= _PAUSE:
            paused = at
            yield
    return False


def some_may_hide_tools(values: Iterable[Raw]) -> bool:
    """Whether one of many values that are not long may have such a key."""
    return _mentions(b",".join(value for value in values if opens(value)))


def count_parts(text: bytes) -> int | None:
    """Count the parts of messages in an array of lists of such.

    It is None when there is anything else; the parts hold only strings. Reading them
    into types is faster than a search.
    """
    try:
        return sum(map(len, _PLAIN.decode(text)))
    except msgspec.DecodeError:
        return None


def opens(raw: Slice) -> bool:
    """Whether a value is an object or an array."""
    return memoryview(raw)[0] in _OPENING


def _mentions(text: bytes) -> bool:
    text = text.lower()
    # The expressions are slow and the finds are not; most text has neither.
    return (b'"tool' in text and _TOOLS.search(text) is not None) or (
        b"\\" in text and b"\\u0" in text and _HIDDEN.search(text) is not None
    )
