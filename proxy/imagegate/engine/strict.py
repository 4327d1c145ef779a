"""Bytes to one level of JSON, with nothing lost and nothing guessed.

Two readers of the same bytes must see the same document, so this room refuses
what readers are known to differ on: encodings, duplicate keys, keys that only
look like a known one, lone surrogates, numbers that overflow. It decodes one
level and leaves the values as slices of what came in. It knows no API.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import count, islice
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Raw

from imagegate.engine.errors import MalformedRequest

Slice: TypeAlias = bytes | memoryview | Raw
Row: TypeAlias = dict[str, Raw]
_T = TypeVar("_T")

# Different keys at one level. The API has under forty at the top and under thirty
# per tool.
MAX_KEYS = 1_000
# No key of the API has more than thirty characters.
MAX_KEY_LENGTH = 1_024
# A level of this many values takes about 4 ms to take apart.
MAX_ELEMENTS = 10_000
# Commas bound the elements from above, but count those inside text too. A list
# of this many slices is 16 MB: affordable to learn the true number.
_MAX_COMMAS = 200_000
# Past this many digits a number is infinite, or zero, to every reader of doubles.
_MAX_NUMBER = 1_024
_SURELY_FINITE = 300
_SHOWN = 64
# Up to this size the plain decoder's memory and time, a millisecond at worst, are
# harmless whatever the bytes.
SMALL = 1 << 16
# What is copied to be looked at without its long strings.
_LEAN = 1 << 20
# From here on a look at each key costs less than leaving out white space.
_TINY = 1 << 13


class Walked(Row):
    """Members of a long text, and where in it each stands.

    Attributes:
        text: The text.
        starts: Where their values begin.
        strings: What stands in long strings of the text that are no keys, in order:
            where it begins and ends.
    """

    __slots__ = ("starts", "strings", "text")

    def __init__(self, text: bytes, strings: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        self.text = text
        self.strings = strings
        self.starts: dict[str, int] = {}

    def lean(self, key: str) -> tuple[bytes, int, int]:
        """Return a text in which a value stands, and where it begins and ends.

        Where its long strings are most of it, they are empty there: nothing in them
        is a bracket, or a key.
        """
        start, stop = self.starts[key], self.starts[key] + len(self[key])
        first = bisect_left(self.strings, (start,))
        strings = self.strings[first : bisect_left(self.strings, (stop,))]
        left = stop - start - sum(end - begin for begin, end in strings)
        if not strings or left > _LEAN:
            return self.text, start, stop
        starts = [start, *[end for _, end in strings]]
        stops = [*[begin for begin, _ in strings], stop]
        text = b"".join(map(self.text.__getitem__, map(slice, starts, stops)))
        return text, 0, left


class _Key:
    """A key that equals only itself, so that a mapping keeps its duplicates."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_KeyedRow: TypeAlias = dict[_Key, Raw]

_KEYED_ROWS = list[Annotated[_KeyedRow, Meta(min_length=1)]]
_encode = msgspec.json.Encoder().encode
_OBJECT = msgspec.json.Decoder(Row)
_ARRAY = msgspec.json.Decoder(list[Raw])
# `{}` would cost memory without costing a key, and no tool or item is empty;
# the length is checked as each one is read.
_ROWS = msgspec.json.Decoder(list[Annotated[Row, Meta(min_length=1)]])

_PLAIN_KEY = re.compile(r"[a-z0-9_]{1,64}")
_PLACE = re.compile(r"\(byte (\d+)\)")
_INDEX = re.compile(r"\$\[(\d+)\]")
# A good pair is stepped over; the group is left for half of one.
_SURROGATE = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F]|([89a-fA-F]))"
)
# How many pairs, and how many bytes, are looked at for the place of a half: a
# millisecond or two.
_MAX_PAIRS = 10_000
_SEARCHED = 1 << 19
# Not seen in print, and not removed by NFKC: controls, formats, unassigned and
# private characters, marks, Hangul fillers, the empty Braille pattern.
_UNSEEN = ("C", "M")
_BLANKS = "\u115f\u1160\u2800"


def read_whole(data: bytes, *, known: AbstractSet[str]) -> Row:
    """Take the top level apart; this is where a short body's syntax is checked."""
    try:
        return read_object(data, pointer="", known=known)
    except msgspec.ValidationError:
        raise not_an_object() from None
    except msgspec.DecodeError as error:
        raise syntax_error(str(error), data) from None


def not_an_object() -> MalformedRequest:
    """Say that the body is something else."""
    return MalformedRequest("not_an_object", "the body is not a JSON object")


def trailing_data(at: int) -> MalformedRequest:
    """Say that the object is not all there is."""
    return MalformedRequest(
        "trailing_data", "something follows the object", pointer=f"byte {at}"
    )


def syntax_error(
    said: str, data: bytes, gaps: Sequence[tuple[int, int]] = ()
) -> MalformedRequest:
    """Say what is wrong, and where, from what the decoder said.

    Args:
        said: What the decoder said.
        data: What it was given, maybe a part of the body.
        gaps: Where something is missing in that, and how long it is.
    """
    found = _PLACE.search(said)
    at = int(found[1]) if found else len(data)
    code, message = "invalid_json", "the body is not JSON"
    if "surrogate" in said or "truncated" in said:
        # The decoder says `truncated` for half a character before the quote.
        half = _lone_surrogate(data)
        if half is not None:
            at, code = half, "lone_surrogate"
            message = "an escape stands for half a character"
    elif "trailing characters" in said:
        return trailing_data(at - 1)  # the decoder has stepped over it
    elif data[at : at + 1] in (b"N", b"I"):
        code, message = "not_a_number", "NaN and Infinity are not JSON"
    at += sum(missing for place, missing in gaps if place <= at)
    return MalformedRequest(code, message, pointer=f"byte {at}")


def _lone_surrogate(data: bytes) -> int | None:
    for found in islice(_SURROGATE.finditer(data, 0, _SEARCHED), _MAX_PAIRS):
        before = data[max(found.start() - _SHOWN, 0) : found.start()]
        escaped = (len(before) - len(before.rstrip(b"\\"))) % 2
        if found[1] and not escaped:
            return found.start()
    return None


def read_object(data: Slice, *, pointer: str, known: AbstractSet[str]) -> Row:
    """Take one object apart: its keys in order, its values as they are spelled.

    Raises:
        MalformedRequest: For two equal keys, a key that only looks like a known
            one, a key that cannot be a name, or more than `MAX_KEYS` keys.
        msgspec.DecodeError: When it is no object.
    """
    row = read_row(data, pointer=pointer)
    if not row.keys() <= known:
        check_keys(row, pointer=pointer, known=known)
    return row


def read_row(data: Slice, *, pointer: str) -> Row:
    """Take one object apart without a look at its keys, but for equal ones.

    Raises:
        MalformedRequest: For two equal keys, or more than `MAX_KEYS` keys.
        msgspec.DecodeError: When it is no object.
    """
    if len(data) <= SMALL:
        row = _OBJECT.decode(data)
        if is_whole(row, data) or (
            len(data) <= _TINY and _is_whole_but_for_space(data, _OBJECT)
        ):
            if len(row) > MAX_KEYS:
                raise too_many(pointer)
            return row
    return _distinct(_keyed(_KeyedRow, MAX_KEYS, pointer).decode(data), pointer)


def is_whole(found: object, data: Slice) -> bool:
    """Whether nothing was dropped from JSON text when it was decoded.

    The decoder drops duplicates, white space and escapes in keys; each makes what
    is written again shorter and nothing makes it longer. So it is as long as the
    text if and only if nothing was dropped, which is the cheapest proof there is.
    """
    return len(_encode(found)) == len(data)


def tighten(data: Slice) -> bytes:
    """Leave out the white space around tokens, and nothing else.

    Raises:
        msgspec.DecodeError: When it is no JSON.
    """
    return msgspec.json.format(data, indent=-1)


def _is_whole_but_for_space(data: Slice, decoder: msgspec.json.Decoder[_T]) -> bool:
    tight = tighten(data)
    return len(tight) < len(data) and is_whole(decoder.decode(tight), tight)


def spelled_length(row: Row) -> int:
    """How long the object is when it is written without white space; see `is_whole`."""
    return 1 + 4 * len(row) + sum(map(len, row)) + sum(map(len, row.values()))


def _keyed(kind: type[_T], limit: int, pointer: str) -> msgspec.json.Decoder[_T]:
    """Make a decoder that keeps duplicates and stops as soon as there are too many."""
    seen = count(1)
    names: set[str] = set()

    def key(_kind: type, text: str) -> _Key:
        if len(text) > MAX_KEY_LENGTH:
            raise key_too_long(pointer)
        names.add(text)
        if next(seen) > limit or len(names) > MAX_KEYS:
            raise too_many(pointer)
        return _Key(text)

    return msgspec.json.Decoder(kind, dec_hook=key)


def key_too_long(pointer: str) -> MalformedRequest:
    """Say that no name is as long as a key."""
    return MalformedRequest("key_too_long", "a key is too long", pointer=pointer)


def too_many(pointer: str) -> MalformedRequest:
    """Say that a level has more values than any sensible request."""
    return MalformedRequest(
        "too_many_nodes", "too many values at one level", pointer=pointer, status=413
    )


def _distinct(keyed: _KeyedRow, pointer: str) -> Row:
    row: Row = {}
    for key, value in keyed.items():
        if key.text in row:
            raise duplicate_key(pointer, key.text)
        row[key.text] = value
    return row


def duplicate_key(pointer: str, key: str) -> MalformedRequest:
    """Say that an object has two members of one name."""
    return MalformedRequest(
        "duplicate_key",
        "two members of one object have the same name",
        pointer=_place(pointer, key),
    )


def read_rows(
    data: Slice, *, pointer: str, limit: int, first: int = 0
) -> tuple[list[Row], bool]:
    """Take an array of objects apart, two levels at once; the keys are unchecked.

    Args:
        data: The array.
        pointer: Where it stands.
        limit: How many keys there may be in all, when they are looked at closely.
        first: The index of its first element, when it is a part of an array.

    Returns:
        The objects, and whether the array is written compactly.

    Raises:
        MalformedRequest: For two equal keys in one object, something that is not
            an object with members, or too many keys.
        msgspec.DecodeError: When it is no JSON.
    """
    try:
        if len(data) <= SMALL:
            rows = _ROWS.decode(data)
            if is_whole(rows, data):
                return rows, True
            if _is_whole_but_for_space(data, _ROWS):
                return rows, False
        keyed = _keyed(_KEYED_ROWS, limit, pointer).decode(data)
    except msgspec.ValidationError as error:
        place = _element(str(error), pointer, first)
        raise wrong_shape("an object with members", place) from None
    rows = [_distinct(row, f"{pointer}/{at}") for at, row in enumerate(keyed, first)]
    return rows, False


def _element(text: str, pointer: str, first: int) -> str:
    found = _INDEX.search(text)
    return f"{pointer}/{first + int(found[1])}" if found else pointer


def read_elements(data: Slice, *, pointer: str) -> list[Raw]:
    """Take an array apart.

    Raises:
        MalformedRequest: When it has, or by its commas may have, more elements
            than any sensible request.
    """
    if len(data) > SMALL and bytes(data).count(b",") > _MAX_COMMAS:
        raise too_many(pointer)
    elements = _ARRAY.decode(data)
    if len(elements) > MAX_ELEMENTS:
        raise too_many(pointer)
    return elements


def may_overflow(spelling: Slice) -> bool:
    """Whether a number needs a closer look: it is long, or has an exponent."""
    text = bytes(spelling)
    return len(text) > _SURELY_FINITE or b"e" in text or b"E" in text


def check_number(spelling: bytes, *, pointer: str) -> None:
    """Refuse a number that some readers turn into infinity."""
    if len(spelling) > _MAX_NUMBER or math.isinf(float(spelling)):
        raise MalformedRequest(
            "number_out_of_range", "a number is too large", pointer=pointer
        )


def check_keys(keys: Iterable[str], *, pointer: str, known: AbstractSet[str]) -> None:
    """Refuse keys that cannot be names, or only look like a known one."""
    for key in keys:
        if key not in known and is_doubtful(key):
            _check_key(key, pointer, known)


def is_doubtful(key: str) -> bool:
    """Whether a key needs a closer look.

    Any other folds to itself, so it is a known one or looks like none.
    """
    return _PLAIN_KEY.fullmatch(key) is None


def _check_key(key: str, pointer: str, known: AbstractSet[str]) -> None:
    if len(key) > MAX_KEY_LENGTH:
        raise key_too_long(pointer)
    if any(map(_impossible, key)):
        raise MalformedRequest(
            "invalid_key",
            "a key contains a control character, or one that is none",
            pointer=pointer,
        )
    if fold(key) in known:
        raise MalformedRequest(
            "look_alike_key",
            f"a key looks like {fold(key)!r} but is spelled differently",
            pointer=_place(pointer, key),
        )


def _place(pointer: str, key: str) -> str:
    """Point at a key, or at its object when the key is no fit for a message."""
    return join(pointer, key) if len(key) <= _SHOWN and key.isprintable() else pointer


def _impossible(character: str) -> bool:
    code = ord(character)
    return unicodedata.category(character) == "Cc" or (
        # Unicode 23.7, and what stands for bytes that could not be read
        code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or code == 0xFFFD  # noqa: PLR2004
    )


def fold(text: str) -> str:
    """Reduce a name to what a lenient reader or a human eye takes it for."""
    if _PLAIN_KEY.fullmatch(text):
        return text
    text = unicodedata.normalize("NFKC", text).casefold()
    seen = unicodedata.normalize("NFKC", text)
    return "".join(filter(_seen, seen)).strip()


def letters_of(text: str) -> str:
    """Reduce a word to the letters and digits that a careless reader takes it for."""
    return "".join(filter(str.isalnum, fold(text)))


def _seen(character: str) -> bool:
    kind = unicodedata.category(character)
    return not kind.startswith(_UNSEEN) and character not in _BLANKS


def wrong_shape(expected: str, pointer: str) -> MalformedRequest:
    """Say what should have stood at a place."""
    return MalformedRequest("wrong_shape", f"expected {expected}", pointer=pointer)


def join(pointer: str, token: str) -> str:
    """Add a token to a JSON pointer (RFC 6901)."""
    return f"{pointer}/{token.replace('~', '~0').replace('/', '~1')}"
