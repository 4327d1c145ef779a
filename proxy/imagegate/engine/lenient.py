"""Reading JSON that others wrote, without ever refusing a part of it.

What a provider sends is observed, not checked: a value of an unexpected kind
reads as absent. Everything that leaves here is small and can be written as
UTF-8.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from imagegate.engine.events import TOO_LONG
from imagegate.engine.outline import Outline, hide_escapes, nest

if TYPE_CHECKING:
    from collections.abc import Iterator

Object: TypeAlias = dict[str, Any]

WORD: Final = 256  # characters of a string that is kept
ID: Final = 1024  # of an identifier; LiteLLM makes some of over 500
MEMBERS: Final = 64  # of an object or array that is copied
DEPTH: Final = 6
_MOST: Final = 1 << 63
_LARGEST: Final = 1.7976931348623157e308
_CLOSED: Final = bytes.maketrans(b"[{", b"]}")
_HALF: Final = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")


def decode(text: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Decode JSON as leniently as the clients do.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deep.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A client decodes with U+FFFD for what is no UTF-8, as the standard of
        # server-sent events says, and reads surrogates without their twin,
        # which occur where a text was cut between two deltas.
        plain = text.decode("utf-8-sig", "replace")
        return json.loads(plain, parse_constant=str, parse_float=_finite)


def _finite(spelled: str) -> float:
    """Read a number; there is none that could not be written again."""
    return max(-_LARGEST, min(float(spelled), _LARGEST))


def completions(text: bytes) -> Iterator[bytes]:
    """Yield ways to complete an object that breaks off, of which one may be JSON.

    What is open is closed, a string too, behind what came; or behind the last value
    that is known to be whole.
    """
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip()
    if Outline(text).open:
        half = _HALF.search(hide_escapes(text))
        text = text[: half.start() if half else None] + b'"'
    outline = Outline(text)
    cut, before = outline.before_last_comma()
    for end, outside in (len(text), outline.outside()), (cut, before):
        opened, ended = nest(outside[:1], outside[1:])
        if outside[:1] != b"{" or ended:
            return
        yield text[:end] + opened[::-1].translate(_CLOSED)


def as_object(value: object) -> Object:
    """Return an object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def as_array(value: object) -> list[Any]:
    """Return an array, or an empty one in place of anything else."""
    return value if isinstance(value, list) else []


def word(value: object) -> str | None:
    """Return a string within bounds, or None."""
    return short(value) if isinstance(value, str) else None


def identifier(value: object) -> str | None:
    """Return an identifier within bounds, or None: half of one names nothing."""
    found = short(value, ID) if isinstance(value, str) else TOO_LONG
    return None if found == TOO_LONG else found


def short(value: str, most: int = WORD) -> str:
    """Bound a string, and make sure that it can be written as UTF-8."""
    # NUL begins the mark of a string that was too long to be kept at all.
    if len(value) > most or "\0" in value:
        return TOO_LONG
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def number(value: object) -> int | None:
    """Return a count or an index, or None."""
    # No boolean, which is an `int` to Python.
    return value if type(value) is int and 0 <= value < _MOST else None


def flag(value: object) -> bool | None:
    """Return a boolean, or None."""
    return value if isinstance(value, bool) else None


class Cut:
    """Copies a JSON value within bounds, and remembers what it left out."""

    def __init__(self) -> None:
        self.whole = True

    def object(self, value: Object, depth: int = DEPTH) -> Object:
        """Copy an object."""
        members = list(value.items())[: self._room(len(value), depth)]
        return {short(key): self._value(kept, depth - 1) for key, kept in members}

    def _value(self, value: Any, depth: int) -> Any:  # noqa: ANN401 - any JSON value
        match value:
            case str():
                return short(value)
            case dict():
                return self.object(value, depth)
            case list():
                room = self._room(len(value), depth)
                return [self._value(kept, depth - 1) for kept in value[:room]]
            case int() if value.bit_length() > 63:  # noqa: PLR2004 - JSON writers' bound
                return TOO_LONG
            case _:
                return value

    def _room(self, length: int, depth: int) -> int:
        room = MEMBERS if depth > 0 else 0
        self.whole = self.whole and length <= room
        return room
