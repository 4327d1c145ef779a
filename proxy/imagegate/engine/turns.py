"""Ordinary messages, recognised a hundred at a time.

Most of a long conversation is messages of text. Reading them into these types,
and seeing that what was read is as long as the text, proves that there is nothing
else: no other member, no second one of a name, no white space. Where there is, the
general reader finds out what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Final, Literal

import msgspec
from msgspec import Raw


class _Text(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A part with text, the caller's or the model's."""

    type: Literal["input_text", "output_text"]
    text: Raw


class _Turn(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """What messages have in common."""

    role: Literal["user", "assistant", "system", "developer"]
    type: Literal["message"] | None = None


class _Told(_Turn, forbid_unknown_fields=True, gc=False, kw_only=True):
    """A message that is one text."""

    content: Raw


class _Listed(_Turn, forbid_unknown_fields=True, gc=False, kw_only=True):
    """A message of several texts."""

    content: list[_Text]


_TOLD: Final = msgspec.json.Decoder(list[_Told])
_LISTED: Final = msgspec.json.Decoder(list[_Listed])
_QUOTE: Final = ord('"')
# What is written around the values, with a comma.
_BARE: Final = len('{"role":"","content":},')
_NAME: Final = len('"type":"message",')
_PART: Final = len('{"type":"","text":},')


def count_turns(text: bytes) -> tuple[int, int] | None:
    """Count the messages in an array of plain ones, and their parts.

    It is None when there is anything else, and when the array is not JSON.
    """
    try:
        listed = _LISTED.decode(text)
    except msgspec.DecodeError:
        return _count_told(text)
    contents = [turn.content for turn in listed]
    parts = list(chain.from_iterable(contents))
    texts = [part.text for part in parts]
    kinds = sum(map(len, map(_type, parts)))
    # Each list has its brackets, and one comma less than parts.
    length = _length(listed) + len(listed) + _PART * len(parts) + kinds
    plain = length + sum(map(len, texts)) == len(text) and _are_strings(texts)
    return (len(listed), len(parts)) if plain else None


def _count_told(text: bytes) -> tuple[int, int] | None:
    try:
        told = _TOLD.decode(text)
    except msgspec.DecodeError:
        return None
    texts = [turn.content for turn in told]
    plain = _length(told) + sum(map(len, texts)) == len(text) and _are_strings(texts)
    return (len(told), 0) if plain else None


def _length(turns: Sequence[_Turn]) -> int:
    """How long the array is without what the messages say.

    `null` for a type is longer than no type; and an empty array, or list of parts,
    than what is said here. So both are left to the general reader.
    """
    named = len(turns) - list(map(_type, turns)).count(None)
    return 1 + _BARE * len(turns) + sum(map(len, map(_role, turns))) + _NAME * named


def _are_strings(values: Iterable[Raw]) -> bool:
    return all(memoryview(value)[0] == _QUOTE for value in values)


_type = attrgetter("type")
_role = attrgetter("role")
