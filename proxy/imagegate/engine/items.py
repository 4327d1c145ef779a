"""An array of items: what of it is known, and how it is written.

It consists of runs. Ordinary items are stretches of the text they came in, however
many there are; those that may hold tools are open, and can be edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw

from imagegate.engine.edits import spell_key
from imagegate.engine.strict import Row, letters_of, too_many, wrong_shape
from imagegate.engine.value import DELETE, Changes, Piece, Value

ITEM_KEYS: Final = frozenset({"type", "id", "role", "content", "tools"})
# Items that may hold tools. Each costs as much memory as a hundred others.
MAX_SPECIAL: Final = 5_000
# No type has a name of more than forty bytes, and no item an identifier of more
# than a hundred.
_MAX_NAME: Final = 1_024
_TEXT: Final[msgspec.json.Decoder[str | None]] = msgspec.json.Decoder(str | None)
_NULL: Final = Raw(b"null")
_CARRYING: Final = frozenset({"additionaltools", "toolsearchoutput"})

_letters_of = lru_cache(1_000)(letters_of)


class Item(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An item that is more than a plain message.

    Attributes:
        pointer: Where it stands.
        type: Its type; None when it names none.
        id: What a reference refers to; None for an item that is no reference.
    """

    pointer: str
    type: str | None
    id: str | None = None

    @property
    def compacts(self) -> bool:
        """Whether somebody may take it for history that was made compact.

        There are `compaction`, `compaction_summary` and `context_compaction`.
        """
        return self.type is not None and "compaction" in _letters_of(self.type)


class Items(Value):
    """An array of items, cut into runs of ordinary ones and opened special ones.

    Attributes:
        special: The items that may hold tools, opened.
        notable: What policy may want to know about, in order.
    """

    __slots__ = ("_kept", "_pointer", "_runs", "notable", "special")

    def __init__(self, *, parent: Value, key: str) -> None:
        super().__init__(b"[", parent=parent, key=key)
        self._pointer = self.pointer
        self.special: dict[str, Value] = {}
        self.notable: list[Item] = []
        self._runs: list[list[Piece] | Value] = []
        # Where the last run begins, when it is a stretch of the text.
        self._kept: int | None = None

    @property
    def opened(self) -> bool:
        """It has been read: whatever is still text has no key that matters."""
        return True

    def note(self, index: int, row: Row) -> None:
        """Mention an item that is more than a plain message."""
        kind = self._name(row.get("type"), index, "type")
        name = self._name(row.get("id"), index, "id") if _refers(kind, row) else None
        self.notable.append(
            Item(pointer=f"{self._pointer}/{index}", type=kind, id=name)
        )

    def _name(self, raw: Raw | None, index: int, key: str) -> str | None:
        if raw is None:
            return None
        if len(raw) <= _MAX_NAME:
            try:
                return _TEXT.decode(raw)
            except msgspec.ValidationError:
                pass
        raise wrong_shape("a short string", f"{self._pointer}/{index}/{key}")

    def keep(self, text: bytes, start: int, stop: int) -> None:
        """Add a run that is written as it came; what follows another prolongs it."""
        if self._kept is None:
            self._kept = start
        else:
            self._runs.pop()
        self._runs.append([memoryview(text)[self._kept : stop]])

    def copy(self, run: bytes) -> None:
        """Add a run that is written as it stands in a copy."""
        self._kept = None
        self._runs.append([run])

    def spell(self, run: list[Row]) -> None:
        """Add a run that is written again, compactly."""
        self._kept = None
        if len(run) == 1:
            self._runs.append(_spelled(run[0]))
        elif run:
            pieces = (b"".join(_spelled(row)) for row in run)
            self._runs.append([b",".join(pieces)])

    def suspect(self, index: int, row: Row) -> None:
        """Add an item that may hold tools.

        Raises:
            MalformedRequest: When there are too many.
        """
        if len(self.special) == MAX_SPECIAL:
            raise too_many(self.pointer)
        self._kept = None
        value = Value(b"{", parent=self, key=str(index), known=ITEM_KEYS)
        value.adopt(row)
        self._runs.append(value)
        self.special[str(index)] = value

    def write(self, out: list[Piece], changes: Changes | None = None) -> None:
        """Append what is to be sent in its place."""
        if changes is not None and isinstance(changes.here, bytes):
            out.append(changes.here)
        else:
            self._write_runs(out, {} if changes is None else changes.below)

    def _write_runs(self, out: list[Piece], changes: Mapping[str, Changes]) -> None:
        if not changes.keys() <= self.special.keys():
            raise LookupError("an edit points at an item that is not open")
        separator = b"["
        for run in self._runs:
            change = changes.get(run.key) if isinstance(run, Value) else None
            if change is not None and change.here is DELETE:
                continue
            out.append(separator)
            if isinstance(run, Value):
                run.write(out, change)
            else:
                out += run
            separator = b","
        out.append(b"]" if separator == b"," else b"[]")


def _refers(kind: str | None, row: Row) -> bool:
    """Whether somebody may take an item for a reference to a stored one.

    What is there to bring tools along, and brings none, has them where it is stored.
    """
    if kind is None:
        return True
    letters = _letters_of(kind)
    bare = row.get("tools", _NULL) == _NULL
    return letters == "itemreference" or (bare and letters in _CARRYING)


def _spelled(row: Row) -> list[Piece]:
    """Write an object compactly, without a copy of its values."""
    pieces: list[Piece] = [b"{"]
    for key, raw in row.items():
        pieces += (spell_key(key), raw)
    pieces[1] = spell_key(next(iter(row)))[1:]
    return [*pieces, b"}"]
