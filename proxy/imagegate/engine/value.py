"""A document that is decoded only where somebody looked.

A `Value` is a slice of what came in until it is opened; then it is one level of
values. Opened levels are written compactly, the rest as the bytes they came in,
so number spellings, order and unknown members survive, and nothing that was
looked at can mean something else to the next reader. It knows no API.
"""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Raw

from imagegate.engine.edits import (
    DELETE,
    Changes,
    Delete,
    Edit,
    Piece,
    Pieces,
    spell_key,
    split,
)
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.strict import (
    Row,
    Slice,
    Walked,
    check_number,
    join,
    may_overflow,
    read_elements,
    read_object,
)

__all__ = [
    "DELETE",
    "MAX_DEPTH",
    "Changes",
    "Delete",
    "Edit",
    "Number",
    "Piece",
    "Pieces",
    "Plain",
    "Value",
    "pointer_to_param",
    "split",
]

Kind = Literal["object", "array", "string", "number", "boolean", "null"]

# Ordinary requests nest tools about ten deep; parsers upstream give up between
# 200 and 1000, some by crashing.
MAX_DEPTH: Final = 64

_KINDS: Final[Mapping[int, Kind]] = {
    ord("{"): "object",
    ord("["): "array",
    ord('"'): "string",
    ord("t"): "boolean",
    ord("f"): "boolean",
    ord("n"): "null",
}
_OPENING: Final = frozenset(b"[{")
_HARMLESS: Final = frozenset(b'"tfn')
_QUOTE: Final = ord('"')
_STRING: Final = msgspec.json.Decoder(str)
_SCALAR: Final = msgspec.json.Decoder(bool | str | None)
# What is copied to be written sooner.
_SHORT: Final = 1 << 18
# What is copied anyway to be sent; see `edits.Pieces`.
_NEAR: Final = 1 << 16
_EMPTY: Final = Raw(b"")
_encode: Final = msgspec.json.Encoder().encode
_NO_KEYS: Final[frozenset[str]] = frozenset()


class Number(msgspec.Struct, frozen=True):
    """A number that is not written as an integer, as it is spelled: `1.10`."""

    spelling: str


Path: TypeAlias = "tuple[()] | tuple[Path, str]"
Plain: TypeAlias = "bool | int | str | Number | list[Plain] | dict[str, Plain] | None"


class Value:
    """One JSON value of the body.

    Attributes:
        kind: Which of the six kinds of JSON value it is.
        path: Its pointer as a chain of tokens, the last outermost.
        raw: The bytes it came in; only the first of them when it was read opened.
        known: The keys that no member of this object may merely resemble.
        frozen: Whether `raw` is what is to be sent of an opened value.
        where: The long text that it stands in, and where, as far as that is known.
    """

    __slots__ = (
        "_asked",
        "_elements",
        "_inner",
        "_members",
        "_row",
        "frozen",
        "kind",
        "known",
        "path",
        "raw",
        "where",
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
        self.frozen = False
        self.where: tuple[bytes, int] | None = None
        # No reference to the parent: a cycle would keep megabytes until the
        # garbage collector comes by.
        self.path: Path = () if parent is None else (parent.path, key)
        # Of an opened object, what it came with, the keys of objects and arrays in
        # it, what somebody asked for, and all.
        self._row: Row | None = None
        self._inner: list[str] = _NOTHING
        self._asked: dict[str, Value] = {}
        self._members: Mapping[str, Value] | None = None
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
    def depth(self) -> int:
        """How many levels it stands below the body."""
        return self.pointer.count("/")

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
        return self.frozen or self._row is not None or self._elements is not None

    def text(self) -> str | None:
        """The string it stands for; None when it is no string."""
        return _STRING.decode(self.raw) if self.kind == "string" else None

    def members(self) -> Mapping[str, Value]:
        """Open the object: its members in order; nothing when it is no object.

        Raises:
            MalformedRequest: For duplicate, look-alike or impossible keys, too many
                of them, a number that overflows, or too great a depth.
        """
        if self._members is None:
            row = self._open()
            self._asked = self._members = {
                key: self._member(key, raw) for key, raw in row.items()
            }
        return self._members

    @property
    def names(self) -> KeysView[str]:
        """Open the object: the names of its members in order."""
        return self._open().keys()

    def _open(self) -> Row:
        if self._row is None:
            if self.kind != "object":
                return {}
            pointer = self.reach()
            self.adopt(read_object(self.raw, pointer=pointer, known=self.known))
        return self._row or {}

    def _member(self, key: str, raw: Raw) -> Value:
        value = self._asked.get(key)
        if value is None:
            value = Value(raw, parent=self, key=key)
            if isinstance(self._row, Walked):
                value.where = (self._row.text, self._row.starts[key])
        return value

    def adopt(self, row: Row) -> None:
        """Take members that have been read and checked already."""
        self._row = row
        inner = []
        for key, raw in row.items():
            first = memoryview(raw)[0]
            if first in _OPENING:
                inner.append(key)
            elif first not in _HARMLESS and may_overflow(raw):
                check_number(bytes(raw), pointer=join(self.pointer, key))
        self._inner = inner

    def get(self, key: str) -> Value | None:
        """One member of the object; None when it has none of that name."""
        value = self._asked.get(key)
        if value is None and key in self._open():
            value = self.member(key)
        return value

    def text_at(self, key: str) -> str | None:
        """The string that a member stands for; None when there is no such string."""
        raw = self._open().get(key)
        if raw is None or memoryview(raw)[0] != _QUOTE:
            return None
        return _STRING.decode(raw)

    def spelled(self, keys: Iterable[str]) -> tuple[bytes, ...]:
        """The bytes in which members came; none for what is not there."""
        row = self._open()
        return tuple([bytes(row.get(key, b"")) for key in keys])

    def put(self, key: str, value: Value) -> None:
        """Let another reading of the same bytes stand for a member."""
        if self._row is not None:
            self._asked[key] = value

    def elements(self) -> Sequence[Value]:
        """Open the array: its elements in order; nothing when it is no array.

        Raises:
            MalformedRequest: For too many elements, a number that overflows, or too
                great a depth.
        """
        if self._elements is None:
            if self.kind != "array":
                return ()
            self.adopt_elements(read_elements(self.raw, pointer=self.reach()))
        return self._elements or ()

    def adopt_elements(self, raws: Iterable[Raw]) -> None:
        """Take elements that have been read already, after those taken before."""
        if self._elements is None:
            self._elements = []
        for index, raw in enumerate(raws, len(self._elements)):
            value = Value(raw, parent=self, key=str(index))
            if value.kind == "number" and may_overflow(raw):
                check_number(value.spelling, pointer=value.pointer)
            self._elements.append(value)

    def adopt_spans(self, text: bytes, spans: Sequence[tuple[int, int]]) -> None:
        """Take elements of a long text, after those taken before."""
        view, first = memoryview(text), self.size
        self.adopt_elements(Raw(view[start:end]) for start, end in spans)
        for value, (start, _) in zip(self.elements()[first:], spans, strict=True):
            value.where = (text, start)

    def adopt_rows(
        self, rows: Iterable[Row], *, known: AbstractSet[str]
    ) -> list[Value]:
        """Take the objects of the array, read and checked already."""
        elements: list[Value] = []
        self._elements = elements
        for index, row in enumerate(rows):
            element = Value(b"{", parent=self, key=str(index), known=known)
            element.adopt(row)
            elements.append(element)
        return elements

    @property
    def inner(self) -> Sequence[str]:
        """Open the object: the keys of the objects and arrays in it."""
        self._open()
        return self._inner

    def closed(self) -> Row:
        """Open the object: the objects and arrays in it that nobody has opened."""
        row, asked = self._open(), self._asked
        return {
            key: row[key]
            for key in self._inner
            if key not in asked or not asked[key].opened
        }

    def raw_at(self, key: str) -> Raw:
        """The bytes of a member that is there."""
        return self._open()[key]

    def place_of(self, key: str) -> tuple[bytes, int]:
        """A text in which a member stands that is there, and where it begins."""
        row = self._open()
        if isinstance(row, Walked):
            return row.text, row.starts[key]
        return bytes(row[key]), 0

    def member(self, key: str) -> Value:
        """One member of the object, that is there."""
        value = self._asked.get(key)
        if value is None:
            value = self._asked[key] = self._member(key, self._open()[key])
        return value

    def asked(self, key: str) -> Value | None:
        """The member of the object, if somebody asked for it before."""
        return self._asked.get(key)

    @property
    def nests(self) -> bool:
        """Whether an opened object has an object or array in it."""
        return bool(self._inner)

    def children(self) -> Iterable[Value]:
        """Open the object or array: what stands directly in it."""
        return self.members().values() if self.kind == "object" else self.elements()

    @property
    def size(self) -> int:
        """How many members or elements it has; none before it was opened."""
        return len(self._row or self._elements or ())

    def kind_at(self, key: str) -> Kind | None:
        """Which kind of value a member is; None when there is no such member."""
        raw = self._open().get(key)
        return None if raw is None else _KINDS.get(memoryview(raw)[0], "number")

    def containers(self) -> list[Value]:
        """Open it, and give what in it can be opened, in order."""
        if self.kind != "object":
            return [value for value in self.elements() if value.kind in _CONTAINERS]
        self._open()
        if not self._inner:
            return []
        return [value for value in map(self.get, self._inner) if value is not None]

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
                scalar: bool | str | None = _SCALAR.decode(self.raw)
                return scalar

    def reach(self) -> str:
        """Say where it stands, or refuse to open it when that is too deep."""
        pointer = self.pointer
        if pointer.count("/") >= MAX_DEPTH:
            raise MalformedRequest(
                "too_deep", f"nested more than {MAX_DEPTH} deep", pointer=pointer
            )
        return pointer

    def write(self, out: list[Piece], changes: Changes | None = None) -> None:
        """Append what is to be sent in its place."""
        if changes is None:
            if self.frozen or not self.opened:
                out.append(self.raw)
                return
            changes = _UNCHANGED
        if isinstance(changes.here, bytes):
            out.append(changes.here)
        elif self.kind == "object":
            self._write_members(out, changes)
        elif self.kind == "array":
            _write_elements(self.elements(), changes, out)
        else:
            out.append(changes.created() or self.raw)

    def freeze(self) -> None:
        """Spell it now, as far as that is no long copy, and forget what is in it.

        Whatever was opened in pieces is written at once, so that must be fast. Who
        looks into it again opens it again.
        """
        out: list[Piece] = []
        self.write(out)
        if sum(map(len, out)) <= _SHORT:
            self.raw, self.frozen = b"".join(out), True
            self._row = self._members = self._elements = None
            self._asked, self._inner = {}, _NOTHING

    def _write_members(self, out: list[Piece], changes: Changes) -> None:
        row, below = self._open(), changes.below
        members, long = {**row}, dict[str, list[Piece]]()
        for key, value in self._asked.items():
            if key not in below and (value.opened or value.raw is not row[key]):
                pieces: list[Piece] = []
                value.write(pieces)
                _replace(members, long, key, pieces)
        for key, change in below.items():
            _replace(members, long, key, self._changed(key, change))
        if long or sum(map(len, members.values())) > _NEAR:
            _write_long(members, long, out)
        else:
            out.append(_encode(members))

    def _changed(self, key: str, change: Changes) -> list[Piece]:
        """What stands for a member that is changed or made; nothing when it goes."""
        here, raw = change.here, self._open().get(key)
        if here is DELETE:
            return []
        if raw is None or isinstance(here, bytes):
            made = change.created()
            return [] if made is None else [made]
        pieces: list[Piece] = []
        self._member(key, raw).write(pieces, change)
        return pieces


_NOTHING: Final[list[str]] = []
_CONTAINERS: Final = ("object", "array")
_UNCHANGED: Final = Changes()


def spell_path(path: Path) -> str:
    """Write a chain of tokens as a JSON pointer."""
    return join(spell_path(path[0]), path[1]) if path else ""


def _replace(
    members: Row, long: dict[str, list[Piece]], key: str, pieces: list[Piece]
) -> None:
    """Let pieces stand for a member; a long one is not copied."""
    if not pieces:
        members.pop(key, None)
    elif sum(map(len, pieces)) > _NEAR:
        members[key], long[key] = _EMPTY, pieces
    else:
        members[key] = Raw(b"".join(pieces))


def _write_long(
    members: Row, long: Mapping[str, list[Piece]], out: list[Piece]
) -> None:
    begins = len(out)
    for key, raw in members.items():
        out.append(spell_key(key))
        out += long.get(key) or (raw,)
    out[begins] = b"{" + bytes(out[begins])[1:]
    out.append(b"}")


def _number(spelling: bytes) -> int | Number:
    text = spelling.decode()
    return int(text) if text.lstrip("-").isdigit() else Number(text)


def _write_elements(
    elements: Sequence[Value], changes: Changes, out: list[Piece]
) -> None:
    below = changes.below
    if below and not below.keys() <= set(map(str, range(len(elements)))):
        raise LookupError("an edit points at an element that is not there")
    begins = len(out)
    for index, value in enumerate(elements):
        change = below.get(str(index)) if below else None
        if change is None and (value.frozen or not value.opened):
            out += (b",", value.raw)
        elif change is None or change.here is not DELETE:
            out.append(b",")
            value.write(out, change)
    if len(out) == begins:
        out.append(b"[]")
    else:
        out[begins] = b"["
        out.append(b"]")


def pointer_to_param(pointer: str) -> str:
    """Spell a pointer as the API's errors do: `/tools/0/size` is `tools[0].size`."""
    param = ""
    for token in split(pointer):
        param += f"[{token}]" if token.isdigit() else f".{token}"
    return param.removeprefix(".")
