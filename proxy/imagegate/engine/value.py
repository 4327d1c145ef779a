"""A document that is decoded only where somebody looked.

A `Value` is a slice of what came in until it is opened; then it is one level of
values. Opened levels are written compactly, the rest as the bytes they came in,
so number spellings, order and unknown members survive, and nothing that was
looked at can mean something else to the next reader. It knows no API.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import msgspec

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.strict import (
    Row,
    Slice,
    check_number,
    join,
    read_elements,
    read_object,
)

Kind = Literal["object", "array", "string", "number", "boolean", "null"]
Piece: TypeAlias = bytes | memoryview

# Ordinary requests nest tools about ten deep; parsers upstream give up between
# 200 and 1000, some by crashing.
MAX_DEPTH: Final = 64
# From here on, sending a view is cheaper than copying.
_LARGE: Final = 1 << 16

_KINDS: Final[Mapping[int, Kind]] = {
    ord("{"): "object",
    ord("["): "array",
    ord('"'): "string",
    ord("t"): "boolean",
    ord("f"): "boolean",
    ord("n"): "null",
}
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_.$ -]*")
_NO_KEYS: Final[frozenset[str]] = frozenset()


class Number(msgspec.Struct, frozen=True):
    """A number that is not written as an integer, as it is spelled: `1.10`."""

    spelling: str


Path: TypeAlias = "tuple[()] | tuple[Path, str]"
Plain: TypeAlias = "bool | int | str | Number | list[Plain] | dict[str, Plain] | None"


class Delete(Enum):
    """The edit that removes a member or an element."""

    DELETE = "delete"


DELETE: Final = Delete.DELETE
# Where (a pointer into the body as it came), and the new JSON or `DELETE`.
Edit: TypeAlias = tuple[str, bytes | Delete]


class Changes:
    """The edits below one place, by the next token of their pointers."""

    __slots__ = ("below", "here")

    def __init__(self) -> None:
        self.here: bytes | Delete | None = None
        self.below: dict[str, Changes] = {}

    @classmethod
    def of(cls, edits: Iterable[Edit]) -> Changes:
        """Gather edits.

        Of two at one place the later counts; of an edit at a place and one below
        it, the upper.
        """
        root = cls()
        for pointer, value in edits:
            node = root
            for token in split(pointer):
                node = node.below.setdefault(token, cls())
            node.here = value
        return root

    def created(self) -> bytes | None:
        """The object that the edits make where there was none, if they make any."""
        if self.here is not None:
            return None if self.here is DELETE else self.here
        made = ((key, changes.created()) for key, changes in self.below.items())
        members = [spell_key(key) + value for key, value in made if value is not None]
        return b"{" + b",".join(members) + b"}" if members else None


class Pieces:
    """A body in the pieces in which it is sent.

    It is no iterable: its length is that of the body, and `list` would believe it.

    Attributes:
        parts: Their join is the body; large members are views of what came in.
    """

    __slots__ = ("parts",)

    def __init__(self, out: Iterable[Piece]) -> None:
        parts: list[Piece] = []
        small: list[Piece] = []
        for piece in out:
            if len(piece) < _LARGE:
                small.append(piece)
            else:
                parts += (b"".join(small), piece)
                small.clear()
        parts.append(b"".join(small))
        self.parts: Sequence[Piece] = tuple(part for part in parts if len(part))

    def __len__(self) -> int:
        """How many bytes the body has, for `Content-Length`."""
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


class Value:
    """One JSON value of the body.

    Attributes:
        kind: Which of the six kinds of JSON value it is.
        depth: How many levels it stands below the body.
        path: Its pointer as a chain of tokens, the last outermost.
        raw: The bytes it came in; only the first of them when it was read opened.
        known: The keys that no member of this object may merely resemble.
    """

    __slots__ = (
        "_elements",
        "_members",
        "depth",
        "kind",
        "known",
        "path",
        "raw",
    )

    def __init__(
        self,
        raw: Slice,
        *,
        parent: Value | None = None,
        key: str = "",
        known: AbstractSet[str] = _NO_KEYS,
    ) -> None:
        self.raw = raw
        self.kind: Kind = _KINDS.get(memoryview(raw)[0], "number")
        self.known = known
        self.depth = 0
        self.path: Path = ()
        if parent is not None:
            self.depth = parent.depth + 1
            # No reference to the parent: a cycle would keep megabytes until the
            # garbage collector comes by.
            self.path = (parent.path, key)
        self._members: dict[str, Value] | None = None
        self._elements: list[Value] | None = None

    @property
    def pointer(self) -> str:
        """Where it stands, as a JSON pointer."""
        return spell_path(self.path)

    @property
    def key(self) -> str:
        """The last token of its pointer."""
        return self.path[1] if self.path else ""

    @property
    def spelling(self) -> bytes:
        """The bytes it came in, without the white space around them."""
        return bytes(self.raw)

    @property
    def is_null(self) -> bool:
        """Whether it is written as `null`."""
        return self.kind == "null"

    @property
    def opened(self) -> bool:
        """Whether it has been taken apart, and so is written compactly."""
        return self._members is not None or self._elements is not None

    def text(self) -> str | None:
        """The string it stands for; None when it is no string."""
        if self.kind != "string":
            return None
        return msgspec.json.decode(self.raw, type=str)

    def members(self) -> Mapping[str, Value]:
        """Open the object: its members in order; nothing when it is no object.

        Raises:
            MalformedRequest: For duplicate, look-alike or impossible keys, too many
                of them, a number that overflows, or too great a depth.
        """
        if self._members is None:
            if self.kind != "object":
                return {}
            pointer = self.reach()
            self.adopt(read_object(self.raw, pointer=pointer, known=self.known))
        return self._members or {}

    def adopt(self, row: Row) -> None:
        """Take members that have been read and checked already."""
        self._members = {
            key: Value(raw, parent=self, key=key) for key, raw in row.items()
        }
        _check_numbers(self._members.values())

    def get(self, key: str) -> Value | None:
        """One member of the object; None when it has none of that name."""
        return self.members().get(key)

    def put(self, key: str, value: Value) -> None:
        """Let another reading of the same bytes stand for a member."""
        if self._members is not None:
            self._members[key] = value

    def elements(self) -> Sequence[Value]:
        """Open the array: its elements in order; nothing when it is no array.

        Raises:
            MalformedRequest: For too many elements, a number that overflows, or too
                great a depth.
        """
        if self._elements is None:
            if self.kind != "array":
                return ()
            raws = read_elements(self.raw, pointer=self.reach())
            self._elements = [
                Value(raw, parent=self, key=str(index))
                for index, raw in enumerate(raws)
            ]
            _check_numbers(self._elements)
        return self._elements

    def adopt_rows(self, rows: Iterable[Row], *, known: AbstractSet[str]) -> None:
        """Take the objects of the array, read and checked already."""
        self._elements = []
        for index, row in enumerate(rows):
            element = Value(b"{", parent=self, key=str(index), known=known)
            element.adopt(row)
            self._elements.append(element)

    def children(self) -> Iterable[Value]:
        """Open the object or array: what stands directly in it."""
        return self.members().values() if self.kind == "object" else self.elements()

    def plain(self) -> Plain:
        """Decode it all the way down, each level as strictly as the first."""
        match self.kind:
            case "object":
                return {key: value.plain() for key, value in self.members().items()}
            case "array":
                return [value.plain() for value in self.elements()]
            case "number":
                return _number(self.spelling)
            case _:
                scalar: bool | str | None = msgspec.json.decode(self.raw)
                return scalar

    def reach(self) -> str:
        """Say where it stands, or refuse to open it when that is too deep."""
        pointer = self.pointer
        if self.depth >= MAX_DEPTH:
            raise MalformedRequest(
                "too_deep", f"nested more than {MAX_DEPTH} deep", pointer=pointer
            )
        return pointer

    def write(self, out: list[Piece], changes: Changes | None = None) -> None:
        """Append what is to be sent in its place."""
        if changes is not None and isinstance(changes.here, bytes):
            out.append(changes.here)
        elif changes is not None and changes.below and self.kind not in _CONTAINERS:
            out.append(changes.created() or memoryview(self.raw))
        elif changes is None and not self.opened:
            out.append(memoryview(self.raw))
        elif self.kind == "object":
            _write_members(self.members(), changes or _UNCHANGED, out)
        else:
            _write_elements(self.elements(), changes or _UNCHANGED, out)


_CONTAINERS: Final = ("object", "array")
_UNCHANGED: Final = Changes()


def spell_path(path: Path) -> str:
    """Write a chain of tokens as a JSON pointer."""
    return join(spell_path(path[0]), path[1]) if path else ""


def _check_numbers(values: Iterable[Value]) -> None:
    for value in values:
        if value.kind == "number":
            check_number(value.spelling, pointer=value.pointer)


def _number(spelling: bytes) -> int | Number:
    text = spelling.decode()
    return int(text) if text.lstrip("-").isdigit() else Number(text)


def _write_members(
    members: Mapping[str, Value], changes: Changes, out: list[Piece]
) -> None:
    separator = b"{"
    for key, value in members.items():
        change = changes.below.get(key)
        if change is not None and change.here is DELETE:
            continue
        out.append(separator + spell_key(key))
        value.write(out, change)
        separator = b","
    for key, change in changes.below.items():
        made = None if key in members else change.created()
        if made is not None:
            out.append(separator + spell_key(key) + made)
            separator = b","
    out.append(b"}" if separator == b"," else b"{}")


def _write_elements(
    elements: Sequence[Value], changes: Changes, out: list[Piece]
) -> None:
    if not changes.below.keys() <= set(map(str, range(len(elements)))):
        raise LookupError("an edit points at an element that is not there")
    separator = b"["
    for index, value in enumerate(elements):
        change = changes.below.get(str(index))
        if change is not None and change.here is DELETE:
            continue
        out.append(separator)
        value.write(out, change)
        separator = b","
    out.append(b"]" if separator == b"," else b"[]")


@lru_cache(1_000)
def spell_key(key: str) -> bytes:
    """Write a member's name and its colon."""
    if _BARE_KEY.fullmatch(key):
        return b'"%b":' % key.encode()
    return msgspec.json.encode(key) + b":"


def split(pointer: str) -> list[str]:
    """Take a JSON pointer apart into its tokens."""
    tokens = pointer.split("/")[1:]
    return [token.replace("~1", "/").replace("~0", "~") for token in tokens]


def pointer_to_param(pointer: str) -> str:
    """Spell a pointer as the API's errors do: `/tools/0/size` is `tools[0].size`."""
    param = ""
    for token in split(pointer):
        param += f"[{token}]" if token.isdigit() else f".{token}"
    return param.removeprefix(".")
