"""Long arrays of objects: the conversation that comes with a request.

Ten megabytes of messages must neither become Python objects all at once nor hold
the event loop. The array is cut where one item seems to end, and the part before
the cut is read as an array of its own. When that succeeds the cut was right: it
is a beginning of the array and consists of whole items, and JSON can be read in
one way only. Items that may hold tools are kept open, the rest is kept as text.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw

from imagegate.engine.hidden import is_plain, may_hide_tools, some_may_hide_tools
from imagegate.engine.spans import (
    HARMLESS,
    Budget,
    Short,
    count,
    element_end,
    is_slow,
    shorten,
)
from imagegate.engine.strict import (
    MAX_KEYS,
    Row,
    check_keys,
    is_doubtful,
    read_row,
    read_rows,
    too_many,
    wrong_shape,
)
from imagegate.engine.turns import count_turns
from imagegate.engine.value import DELETE, Changes, Piece, Value, spell_key

# Ten megabytes of the shortest messages anybody has a use for.
MAX_ITEMS: Final = 100_000
# In a part: as many as can stand in it.
_MAX_PART_KEYS: Final = 16_000
ITEM_KEYS: Final = frozenset({"type", "id", "role", "content", "tools"})

# Reading this much takes less than a millisecond, four at worst.
_SPAN: Final = 1 << 16
# Wrong guesses before one stops guessing, and places looked at for one.
_TRIES: Final = 8
_LOOKS: Final = 1_000
# Small items whose ends are looked for at a time.
_ITEMS: Final = 500
# Items that may hold tools. Each costs as much memory as a hundred others.
MAX_SPECIAL: Final = 5_000
# About a millisecond of items.
_STRIDE: Final = 1_000
# How far before an item its comma is looked for.
_BEFORE: Final = 64
_BETWEEN: Final = re.compile(rb"\}[ \t\r\n]*(,)[ \t\r\n]*\Z")
_MESSAGE: Final = Raw(b'"message"')


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


class Items(Value):
    """An array of items, cut into runs of ordinary ones and opened special ones.

    Attributes:
        special: The items that may hold tools, opened.
        notable: What policy may want to know about, in order.
    """

    __slots__ = (
        "_budget",
        "_count",
        "_kept",
        "_ordinary",
        "_runs",
        "_seen",
        "_span",
        "_tries",
        "notable",
        "special",
    )

    def __init__(
        self, value: Value, *, parent: Value, key: str, budget: Budget | None = None
    ) -> None:
        super().__init__(value.raw, parent=parent, key=key)
        self.special: dict[str, Value] = {}
        self.notable: list[Item] = []
        self._budget = Budget(b"") if budget is None else budget
        self._count = 0
        # The last run, when it is a stretch of a text: that text, from, to.
        self._kept: tuple[bytes, int, int] = (b"", 0, 0)
        self._runs: list[list[Piece] | Value] = []
        self._seen: set[str] = set()
        self._span = _SPAN // 4  # until it is known whether they are compact
        self._tries = self._ordinary = _TRIES

    @property
    def opened(self) -> bool:
        """It has been read: whatever is still text has no key that matters."""
        return True

    def read(self) -> Iterator[None]:
        """Read all items, in pieces.

        Raises:
            MalformedRequest: For an item that is no object, duplicate or look-alike
                keys, or too many items.
        """
        text = self.spelling
        if text != b"[]":
            yield from self._read(text, 1, len(text) - 1)

    def scout(self, text: bytes, start: int) -> Generator[None, None, int]:
        """Read the items of an array of which only the beginning is known.

        Args:
            text: The whole body, of which nothing is known to be JSON.
            start: What follows the opening bracket.

        Returns:
            Where the comma or bracket after the last item stands that was read, or
            less than `start`. Whatever is in between is whole items.
        """
        return (yield from self._read(text, start, None))

    def read_on(self, rest: Value) -> Iterator[None]:
        """Read the items after those that were scouted, for which one value stands."""
        text = rest.spelling
        yield from self._read(text, text.find(b",") + 1 or len(text), len(text) - 1)

    def _read(
        self, text: bytes, start: int, end: int | None
    ) -> Generator[None, None, int]:
        stop = start - 1
        while stop != end and (stop < start or text[stop : stop + 1] == b","):
            taken = yield from self._take(text, stop + 1, end)
            if taken is None:
                break
            stop = taken
            yield
        return stop

    def _take(
        self, text: bytes, start: int, end: int | None
    ) -> Generator[None, None, int | None]:
        """Read items, and say where they end; None when what follows is no JSON."""
        if end is not None and end - start <= _SPAN:
            yield from self._read_part(text, start, end)
            return end
        for stop in _cuts(text, start, start + self._span) if self._tries else ():
            try:
                yield from self._read_part(text, start, stop)
            except msgspec.DecodeError:
                self._tries -= 1  # the cut was inside an item
                yield
            else:
                return stop
        stop, before = (yield from self._step(text, start)), self._count
        try:
            if stop - start > _SPAN:
                yield from self._read_large(text, start, stop)
            else:
                yield from self._read_part(text, start, stop)
        except msgspec.DecodeError:
            return None
        # Nothing between a comma and a bracket is an array, but not in this place.
        return stop if self._count > before else None

    def _read_part(self, text: bytes, start: int, stop: int) -> Iterator[None]:
        part = b"[%b]" % text[start:stop]
        turns = count_turns(part) if self._ordinary else None
        if turns is not None:
            yield from self._absorb_turns(*turns, text, start, stop)
            return
        self._ordinary -= 1 if self._ordinary else 0
        rows, compact = read_rows(
            part,
            pointer=self.pointer,
            limit=_MAX_PART_KEYS,
            first=self._count,
            plain=_SPAN + 2,
        )
        # What is not compact is read twice, and the second time slowly.
        self._span = _SPAN if compact else _SPAN // 4
        yield from self._absorb(rows, text, start, stop, compact=compact)

    def _absorb_turns(
        self, turns: int, parts: int, text: bytes, start: int, stop: int
    ) -> Iterator[None]:
        self._span, self._ordinary = _SPAN, _TRIES
        self._admit(turns)
        yield from self._budget.spend(4 * turns + 3 * parts)
        self._keep(text, start, stop)
        self._count += turns

    def _admit(self, count: int) -> None:
        if self._count + count > MAX_ITEMS:
            raise too_many(self.pointer)

    def _step(self, text: bytes, start: int) -> Generator[None, None, int]:
        """Find the end of an item: the last that fits, or of the first."""
        stop, structure = yield from element_end(text, start)
        if stop - start > _SPAN:
            yield from self._budget.spend(structure)
        for _ in range(_ITEMS):
            if text[stop : stop + 1] != b"," or stop - start > self._span // 2:
                break
            further, _ = yield from element_end(text, stop + 1)
            if further - start > self._span:
                break
            stop = further
        return stop

    def _read_large(self, text: bytes, start: int, stop: int) -> Iterator[None]:
        """Read one item that is too large to be copied."""
        place = f"{self.pointer}/{self._count}"
        view = memoryview(text)[start:stop]
        short = Short(b"")
        if len(view) > HARMLESS:
            if (yield from is_slow(text, start, stop)):
                short = yield from shorten(text[start:stop], first=start)
            yield
        try:
            row, compact = read_row(short.text or view, pointer=place)
        except msgspec.ValidationError:
            raise wrong_shape("an object with members", place) from None
        rows = [short.restore(row)]
        yield from self._absorb(rows, text, start, stop, compact=compact)

    def _absorb(
        self, rows: list[Row], text: bytes, start: int, stop: int, *, compact: bool
    ) -> Iterator[None]:
        if not rows:
            return
        self._admit(len(rows))
        keys: set[str] = set().union(*rows)
        self._check(keys - self._seen, rows)
        yield from self._note(rows)
        if (yield from self._search(rows, keys)):
            yield from self._open(rows)
        elif compact:
            self._keep(text, start, stop)
        else:
            self._spell(rows)
        self._count += len(rows)

    def _keep(self, text: bytes, start: int, stop: int) -> None:
        """Add a run that is written as it came; what follows another prolongs it."""
        known, begin, end = self._kept
        if self._runs and known is text and end + 1 == start:
            self._runs.pop()
            start = begin
        self._kept = (text, start, stop)
        self._runs.append([memoryview(text)[start:stop]])

    def _search(self, rows: list[Row], keys: set[str]) -> Generator[None, None, bool]:
        """Whether some item may hold tools; on the way, count what is in them."""
        yield from self._budget.spend(len(rows) + sum(map(len, rows)))
        found = "tools" in keys
        for key in keys:
            column = [row[key] for row in rows if key in row]
            if sum(map(len, column)) > _SPAN:
                for raw in column:
                    found |= yield from may_hide_tools(raw)
            else:
                text = b"[%b]" % b",".join(column)
                if text.find(b"{") > 0 or text.find(b"[", 1) > 0:
                    if not self._budget.proved:
                        yield from self._budget.spend(count(text, 0, len(text)))
                    found |= not is_plain(text) and some_may_hide_tools(column)
        return found

    def _check(self, keys: set[str], rows: list[Row]) -> None:
        """Check the keys that no earlier item had."""
        self._seen |= keys
        if len(self._seen) > MAX_KEYS:
            raise too_many(self.pointer)
        doubtful = set(filter(is_doubtful, keys))
        for index, row in enumerate(rows if doubtful else (), self._count):
            place = f"{self.pointer}/{index}"
            check_keys(row.keys() & doubtful, pointer=place, known=ITEM_KEYS)

    def _note(self, rows: list[Row]) -> Iterator[None]:
        pointer = self.pointer
        for index, row in enumerate(rows, self._count):
            kind = row.get("type")
            if kind is None:
                plain = "role" in row and "content" in row
            else:
                plain = kind == _MESSAGE
            if not plain:
                self.notable.append(_item(row, f"{pointer}/{index}"))
                if len(self.notable) % _STRIDE == 0:
                    yield

    def _open(self, rows: list[Row]) -> Iterator[None]:
        """Keep the items that may hold tools open, and the runs between them."""
        run: list[Row] = []
        if len(self.special) > MAX_SPECIAL:
            raise too_many(self.pointer)
        for index, row in enumerate(rows, self._count):
            if not (yield from _may_hold_tools(row)):
                run.append(row)
                continue
            self._spell(run)
            value = Value(b"{", parent=self, key=str(index), known=ITEM_KEYS)
            value.adopt(row)
            self._runs.append(value)
            self.special[str(index)] = value
            run = []
            if len(self.special) % _STRIDE == 0:
                yield
        self._spell(run)

    def _spell(self, run: list[Row]) -> None:
        """Add a run that is written again, compactly."""
        if len(run) == 1:
            self._runs.append(_spelled(run[0]))
        elif run:
            pieces = (b"".join(_spelled(row)) for row in run)
            self._runs.append([b",".join(pieces)])

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


def _may_hold_tools(row: Row) -> Generator[None, None, bool]:
    if "tools" in row:
        return True
    for raw in row.values():
        if (yield from may_hide_tools(raw)):
            return True
    return False


def _cuts(text: bytes, start: int, high: int) -> Iterator[int]:
    """Find commas in a stretch that seem to stand between two items, at most a few.

    When one is of no use it stood in an array inside an item, and so do those after
    it until a bracket is closed that was not opened since. Brackets in strings can
    spoil the count, and with it this cut but not the reading.
    """
    # The later, the fewer parts.
    low = start + (high - start) * 3 // 4
    depth, last = -1, low
    tries = 2
    for _ in range(_LOOKS):
        low = text.find(b"{", low + 1, high)
        if low < 0:
            return
        found = _BETWEEN.search(text, low - _BEFORE, low)
        depth += text.count(b"[", last, low) - text.count(b"]", last, low)
        last = low
        if found and depth < 0:
            yield found.start(1)
            depth = 0
            tries -= 1
        if tries == 0:
            return


def _spelled(row: Row) -> list[Piece]:
    """Write an object compactly, without a copy of its values."""
    pieces: list[Piece] = []
    separator = b"{"
    for key, raw in row.items():
        pieces += (separator + spell_key(key), memoryview(raw))
        separator = b","
    return [*pieces, b"}"]


def _item(row: Row, pointer: str) -> Item:
    kind = _text(row.get("type"), f"{pointer}/type")
    refers = kind in (None, "item_reference")
    name = _text(row.get("id"), f"{pointer}/id") if refers else None
    return Item(pointer=pointer, type=kind, id=name)


def _text(raw: Raw | None, pointer: str) -> str | None:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str | None)
    except msgspec.ValidationError:
        raise wrong_shape("a string", pointer) from None
