"""Where tools may hide: an object or array in which some key may be read as `tools`.

In any case or escape, at any depth; and any key with a character that some readers
drop, or take for the end. A string holds no key, whatever it says, and is not looked
into; that is why values are searched and not the text they stand in.
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
# Controls, and what stands for what could not be read: short escapes, other escapes,
# and the characters themselves; below U+0020 JSON has the escapes only. Each branch
# begins with a byte of its own, which makes the search fast.
_STRANGE: Final = re.compile(
    rb"\\(?:[bfnrt]|u(?:00(?:[01]|7[fF]|[89])|[fF]{3}[d-fD-F]|[fF][dD][deDE]"
    rb"|[dD][89abAB][37bfBF][fF]\\u[dD][fF]{2}[efEF]))|\x7f|\xc2[\x80-\x9f]"
    rb"|\xef\xbf[\xbd-\xbf]|\xef\xb7[\x90-\xaf]"
    + b"".join(
        b"|%c[\x8f\x9f\xaf\xbf]\xbf[\xbe\xbf]" % lead for lead in range(0xF0, 0xF5)
    )
)
# What is left of a string, and the colon behind it if it is a key.
_REST: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*"[ \t\r\n]*+(:?)', re.DOTALL)
# A key that is longer than this is opened, and then refused for it.
_LONGEST: Final = 1 << 16
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
        window = text[at : min(last + _OVERLAP, stop)]
        if _mentions(window):
            return True
        if not _is_plain(window):
            if _has_strange_key(text, at, min(at + _WINDOW, stop), stop):
                return True
            yield
        at += _WINDOW
        if at - paused >= _PAUSE:
            paused = at
            yield
    return False


def some_may_hide_tools(values: Iterable[Raw]) -> bool:
    """Whether one of many values that are not long may have such a key."""
    text = b",".join(value for value in values if opens(value))
    return _mentions(text) or (
        not _is_plain(text) and _has_strange_key(text, 0, len(text), len(text))
    )


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


def _has_strange_key(text: bytes, at: int, end: int, stop: int) -> bool:
    """Whether a stretch has such a character in a key, which may go on behind it."""
    while (found := _STRANGE.search(text, at, end)) is not None:
        rest = _REST.match(text, found.end(), min(found.end() + _LONGEST, stop))
        if rest is None or rest[1]:
            return True
        at = rest.end()
    return False


def _is_plain(text: bytes) -> bool:
    """Whether a stretch is ASCII without escapes: most is, and that is seen fast."""
    return b"\\" not in text and b"\x7f" not in text and text.isascii()
