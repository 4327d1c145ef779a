"""Ordinary messages, recognised a hundred at a time.

Most of a long conversation is messages of text. Reading them into these types,
and seeing that nothing was dropped on the way, proves that there is nothing else: no
other member, and no second one of a name. Where there is, the general reader finds
out what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Final, Literal

import msgspec
from msgspec import Raw

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
    """A message that is one text."""

    content: Raw


class _Listed(_Turn, kw_only=True, gc=False):
    """A message of several texts."""

    content: list[_Text]


_TOLD: Final = msgspec.json.Decoder(list[_Told])
_LISTED: Final = msgspec.json.Decoder(list[_Listed])
_STRINGS: Final = {ord('"')}


def count_turns(text: bytes) -> tuple[int, int] | None:
    """Count the messages in an array of plain ones, and their parts.

    It is None when there is anything else, and when the array is not JSON.
    """
    try:
        listed = _LISTED.decode(text)
    except msgspec.DecodeError:
        return _count_told(text)
    parts = list(chain.from_iterable(map(_content, listed)))
    plain = _are_strings(map(_text, parts)) and is_whole(listed, text)
    return (len(listed), len(parts)) if plain else None


def _count_told(text: bytes) -> tuple[int, int] | None:
    try:
        told = _TOLD.decode(text)
    except msgspec.DecodeError:
        return None
    plain = _are_strings(map(_content, told)) and is_whole(told, text)
    return (len(told), 0) if plain else None


def _are_strings(values: Iterable[Raw]) -> bool:
    return {*map(_first, map(_view, values))} == _STRINGS


_content = attrgetter("content")
_text = attrgetter("text")
_first = itemgetter(0)
_view: Callable[[Raw], memoryview] = memoryview
