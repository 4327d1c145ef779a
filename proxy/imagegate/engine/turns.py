"""Ordinary messages, recognised a hundred at a time.

Most of a long conversation is messages of text. Reading them into these types,
and seeing that nothing was dropped on the way, proves that there is nothing else: no
other member, and no second one of a name. Where there is, the general reader finds
out what it is. Messages with pictures are recognised too, if all that they hold is
text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Final, Literal

import msgspec
from msgspec import Raw

from imagegate.engine.hidden import count_parts
from imagegate.engine.strict import is_whole


class _Text(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A part with text, the caller's or the model's."""

    type: Literal["input_text", "output_text"]
    text: Raw


class _Turn(
    msgspec.Struct,
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
    kw_only=True,
):
    """What messages have in common."""

    role: Literal["user", "assistant", "system", "developer"]
    type: Literal["message"] | None = None


class _Told(_Turn, kw_only=True, gc=False):
    """A message that is one text, or whatever else."""

    content: Raw


class _Listed(_Turn, kw_only=True, gc=False):
    """A message of several texts."""

    content: list[_Text]


_TOLD: Final = msgspec.json.Decoder(list[_Told])
_LISTED: Final = msgspec.json.Decoder(list[_Listed])
_STRINGS: Final = {ord('"')}
_STRINGS_AND_LISTS: Final = {ord('"'), ord("[")}
# Brackets and commas of a message, of a part that is text, and of any part.
_MESSAGE: Final = 4
_TEXT: Final = 3
_PART: Final = 16
# A string that is longer is left out before messages are read, if it is one of few.
_LONG: Final = 1 << 10
_MANY: Final = 200
# How often one looks for such a string.
_STEP: Final = 1 << 13
_BACKSLASH: Final = ord("\\")


def leave_out_long(text: bytes) -> bytes:
    """Empty long strings in JSON text; all of it when that is not easy.

    What is no string stays as it is, and so do white space and equal keys. No word
    that means anything is long.
    """
    places = range(_STEP, len(text) - _LONG, _STEP)
    if not places or all(text.find(b'"', at, at + _LONG) >= 0 for at in places):
        return text
    pieces, kept, at = list[bytes](), 0, -1
    for _ in range(_MANY):
        begin = text.find(b'"', at + 1)
        if begin < 0:
            return b"".join([*pieces, text[kept:]])
        at = text.find(b'"', begin + 1)
        if text[at - 1] == _BACKSLASH:
            break  # it may not be the end
        if at - begin > _LONG:
            pieces.append(text[kept : begin + 1])
            kept = at
    return text


def count_turns(text: bytes) -> tuple[int, int] | None:
    """Count the messages in an array of plain ones.

    Returns:
        How many there are, and how many brackets and commas they have at most. None
        when there is anything else, and when the array is not JSON.
    """
    try:
        listed = _LISTED.decode(text)
    except msgspec.DecodeError:
        return _count_told(text)
    parts = list(chain.from_iterable(map(_content, listed)))
    plain = listed and _kinds(map(_text, parts)) <= _STRINGS and is_whole(listed, text)
    turns = len(listed)
    return (turns, _MESSAGE * turns + _TEXT * len(parts)) if plain else None


def _count_told(text: bytes) -> tuple[int, int] | None:
    try:
        told = _TOLD.decode(text)
    except msgspec.DecodeError:
        return None
    turns, contents = len(told), [*map(_content, told)]
    kinds = _kinds(contents)
    if not kinds or not kinds <= _STRINGS_AND_LISTS or not is_whole(told, text):
        return None
    if kinds == _STRINGS:
        return turns, _MESSAGE * turns
    listed = [raw for raw in contents if _first(_view(raw)) not in _STRINGS]
    parts = count_parts(b"[%b]" % b",".join(listed))
    return None if parts is None else (turns, _MESSAGE * turns + _PART * parts)


def _kinds(values: Iterable[Raw]) -> set[int]:
    """Return the bytes that values begin with."""
    return {*map(_first, map(_view, values))}


_content = attrgetter("content")
_text = attrgetter("text")
_first = itemgetter(0)
_view: Callable[[Raw], memoryview] = memoryview
