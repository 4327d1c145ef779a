"""The reading of the items that come with a request.

Ten megabytes of messages must neither become Python objects all at once nor hold
the event loop. The array is read in parts. Each is a stretch that seems to end
between two items, and when it can be read as an array of its own it did: it goes on
from the beginning of an item and consists of whole ones, and JSON can be read in
one way only.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Final, TypeAlias

import msgspec
from msgspec import Raw

from imagegate.engine.depth import MAX_NESTED, check_depth
from imagegate.engine.fragment import decoded_end
from imagegate.engine.hidden import (
    count_parts,
    may_hide_tools,
    opens,
    some_may_hide_tools,
)
from imagegate.engine.items import ITEM_KEYS, Items
from imagegate.engine.outline import structure
from imagegate.engine.strict import (
    MAX_KEYS,
    Row,
    Walked,
    check_keys,
    is_doubtful,
    join,
    read_rows,
    spelled_length,
    tighten,
    too_many,
    wrong_shape,
)
from imagegate.engine.turns import count_turns, leave_out_long
from imagegate.engine.walk import Walk

# Ten megabytes of the shortest messages anybody has a use for.
MAX_ITEMS: Final = 100_000
# In a part, when they are looked at closely.
_MAX_PART_KEYS: Final = 4_000

# Reading this much, with its brackets, takes less than a millisecond, two at worst.
_SPAN: Final = (1 << 16) - 2
# An item of this size, with a picture, is decoded in a tenth of a millisecond; one
# of brackets in one.
_FAR: Final = 1 << 18
# Wrong guesses before one stops guessing, and places looked at for one.
_TRIES: Final = 8
_LOOKS: Final = 1_000
# Small items whose ends are looked for at a time.
_ITEMS: Final = 500
# About a millisecond of items, and of special ones.
_SPECIAL: Final = 200
_STRIDE: Final = 1_000
# Brackets and commas of a part of a message.
_PART: Final = 16
# How far before an item its comma is looked for.
_BEFORE: Final = 64
# How an item begins that is written without white space, most likely.
_COMPACT: Final = re.compile(rb'\{"[a-z_]{1,64}":[^ \t\r\n]')
_BETWEEN: Final = re.compile(rb"\}[ \t\r\n]*(,)[ \t\r\n]*\Z")
# Ordinary items as they are written: a stretch of the text, or a copy.
Run: TypeAlias = tuple[int, int] | bytes
_ROW: Final = msgspec.json.Decoder(Row)
_MESSAGE: Final = Raw(b'"message"')
_ROLES: Final = [
    Raw(b'"%b"' % role) for role in (b"user", b"assistant", b"system", b"developer")
]
_SAYING: Final = frozenset(b'"[')
_NULL: Final = Raw(b"null")


def keep_turns(text: bytes, items: Items) -> bool:
    """Take an array of ordinary messages, and of nothing else, at once.

    It is known to be JSON, and short enough to have no more structure than it may.
    """
    spaced = _COMPACT.match(text, 1) is None
    tight = tighten(text) if spaced else text
    if count_turns(leave_out_long(tight)) is None:
        return False
    if len(tight) == len(text):
        items.keep(text, 1, len(text) - 1)
    else:
        items.copy(tight[1:-1])
    return True


class Conversation:
    """Reads the items of one array, and keeps them as they are to be kept."""

    __slots__ = (
        "_count",
        "_items",
        "_ordinary",
        "_seen",
        "_spaced",
        "_tries",
        "_walk",
    )

    def __init__(self, walk: Walk, items: Items) -> None:
        self._walk = walk
        self._items = items
        self._count = 0
        self._seen: set[str] = set()
        self._tries = self._ordinary = _TRIES
        # Whether there is white space around tokens.
        self._spaced = False

    def read(self, at: int) -> Generator[None, None, int]:
        """Read all items, in pieces.

        Args:
            at: Where in the text the array begins.

        Returns:
            What follows it.

        Raises:
            MalformedRequest: For an item that is no object, duplicate or look-alike
                keys, too many items, and what is no JSON.
        """
        walk, text = self._walk, self._walk.text
        end = walk.near_end(at)
        at = yield from walk.space(at + 1)
        self._spaced = _COMPACT.match(text, at) is None
        if end is not None and text[at : at + 1] != b"]":
            yield from self._read_part(at, end - 1)
            return end
        while text[at : at + 1] != b"]" or self._count:
            at = yield from walk.space((yield from self._take(at)))
            if text[at : at + 1] != b",":
                break
            at = yield from walk.space(at + 1)
            yield
        return walk.expect(b"]", at)

    def _take(self, at: int) -> Generator[None, None, int]:
        """Read items, and say what follows them."""
        for stop in _cuts(self._walk.text, at, at + _SPAN) if self._tries else ():
            try:
                yield from self._read_part(at, stop)
            except msgspec.DecodeError:
                self._tries -= 1  # the cut was inside an item
                yield
            else:
                return stop
        stop = self._step(at)
        if stop > at:
            yield from self._read_part(at, stop)
            return stop
        return (yield from self._read_large(at))

    def _step(self, at: int) -> int:
        """Find the end of some small items; where they begin if there is none."""
        text, walk = self._walk.text, self._walk
        if self._tries and (end := self._rest(at)) is not None:
            return end
        stop = at
        for _ in range(_ITEMS):
            begin = stop + (stop > at)
            end = walk.near_end(begin)
            if end is None or end - at > _SPAN:
                break
            stop = end
            if text[stop : stop + 1] != b"," or stop - at > _SPAN // 2:
                break
        return stop

    def _rest(self, at: int) -> int | None:
        """Find the end of the last item, if it is near."""
        if self._walk.text.find(b"]", at, at + _SPAN) < 0:
            return None
        begin = b"[" + self._walk.text[at : at + _SPAN]
        try:
            end = decoded_end(begin)
        except msgspec.DecodeError:
            return None
        stop = len(begin) if end is None else end
        return at + begin.rindex(b"]", 0, stop) - 1

    def _read_part(self, at: int, stop: int) -> Iterator[None]:
        part = b"[%b]" % self._walk.text[at:stop]
        if self._spaced:
            part = tighten(part)
        run = (at, stop) if len(part) == stop - at + 2 else part[1:-1]
        turns = count_turns(part) if self._ordinary else None
        if turns is not None:
            self._ordinary = _TRIES
            yield from self._absorb_turns(*turns, run)
            return
        self._ordinary -= 1 if self._ordinary else 0
        rows, compact = read_rows(
            part, pointer=self._items.pointer, limit=_MAX_PART_KEYS, first=self._count
        )
        if not compact and not self._spaced and len(tighten(part)) < len(part):
            # Its white space is left out from here on.
            self._spaced, self._ordinary = True, _TRIES
            yield
            yield from self._read_part(at, stop)
        else:
            yield from self._absorb(rows, run if compact else None)

    def _absorb_turns(self, turns: int, spent: int, run: Run) -> Iterator[None]:
        self._admit(turns)
        yield from self._walk.budget.spend(spent)
        self._keep(run)
        self._count += turns

    def _keep(self, run: Run) -> None:
        if isinstance(run, bytes):
            self._items.copy(run)
        else:
            self._items.keep(self._walk.text, *run)

    def _admit(self, count: int) -> None:
        if self._count + count > MAX_ITEMS:
            raise too_many(self._items.pointer)

    def _read_large(self, at: int) -> Generator[None, None, int]:
        """Read one item that is too large to be copied."""
        place = f"{self._items.pointer}/{self._count}"
        walk = self._walk
        if walk.text[at : at + 1] != b"{":
            yield from walk.value(at)
            raise wrong_shape("an object with members", place)
        row, stop = self._decode(at) or (yield from walk.members(at, pointer=place))
        if not row:
            raise wrong_shape("an object with members", place)
        compact = spelled_length(row) == stop - at
        yield from self._absorb([row], (at, stop) if compact else None, walked=True)
        return stop

    def _decode(self, at: int) -> tuple[Row, int] | None:
        """Read an item at once when it is not so large, and compact."""
        walk = self._walk
        # Going through it in pieces counts what is in it.
        stop = walk.near_end(at, near=_FAR) if walk.budget.proved else None
        if stop is None:
            return None
        row = _ROW.decode(memoryview(walk.text)[at:stop])
        return (row, stop) if spelled_length(row) == stop - at else None

    def _absorb(
        self, rows: list[Row], run: Run | None, *, walked: bool = False
    ) -> Iterator[None]:
        self._admit(len(rows))
        keys: set[str] = set().union(*rows)
        self._check(keys - self._seen, rows)
        yield from self._note(rows)
        if (yield from self._search(rows, keys, walked=walked)):
            yield from self._open_some(rows)
        elif run is not None:
            self._keep(run)
        else:
            self._items.spell(rows)
        self._count += len(rows)

    def _search(
        self, rows: list[Row], keys: set[str], *, walked: bool
    ) -> Generator[None, None, bool]:
        """Whether some item may hold tools; on the way, count what is in them."""
        yield from self._walk.budget.spend(len(rows) + sum(map(len, rows)))
        if walked:
            yield from self._check_depth(rows)
            return (yield from _may_hold_tools(rows[0]))
        opened = [raw for row in rows for raw in row.values() if opens(raw)]
        if opened:
            text = b"[%b]" % b",".join(opened)
            parts = count_parts(text)
            if parts is not None:
                yield from self._walk.budget.spend(_PART * parts + 2 * len(opened))
            else:
                yield from self._walk.budget.spend(structure(text))
                yield from self._check_depth(rows)
                if some_may_hide_tools(opened):
                    return True
        return "tools" in keys

    def _check_depth(self, rows: list[Row]) -> Iterator[None]:
        for index, row in enumerate(rows, self._count):
            for key, raw in row.items():
                if len(raw) > MAX_NESTED and opens(raw):
                    place = join(f"{self._items.pointer}/{index}", key)
                    yield from check_depth(*_place(row, key), pointer=place)

    def _check(self, keys: set[str], rows: list[Row]) -> None:
        """Check the keys that no earlier item had."""
        self._seen |= keys
        if len(self._seen) > MAX_KEYS:
            raise too_many(self._items.pointer)
        doubtful = set(filter(is_doubtful, keys))
        for index, row in enumerate(rows if doubtful else (), self._count):
            place = f"{self._items.pointer}/{index}"
            check_keys(row.keys() & doubtful, pointer=place, known=ITEM_KEYS)

    def _note(self, rows: list[Row]) -> Iterator[None]:
        for index, row in enumerate(rows, self._count):
            kind = row.get("type")
            plain = _is_turn(row) if kind is None else kind == _MESSAGE
            if not plain:
                self._items.note(index, row)
                if len(self._items.notable) % _STRIDE == 0:
                    yield

    def _open_some(self, rows: list[Row]) -> Iterator[None]:
        """Keep the items that may hold tools open, and the runs between them."""
        run: list[Row] = []
        for index, row in enumerate(rows, self._count):
            if not (yield from _may_hold_tools(row)):
                run.append(row)
                continue
            self._items.spell(run)
            self._items.suspect(index, row)
            run = []
            if len(self._items.special) % _SPECIAL == 0:
                yield
        self._items.spell(run)


def _is_turn(row: Row) -> bool:
    """Whether an item without a type can be nothing but a message.

    If it has an id, some readers take it for a reference as soon as the rest does not
    fit a message.
    """
    if "id" not in row:
        return "role" in row and "content" in row
    said = row.get("content", _NULL)
    return row.get("role") in _ROLES and memoryview(said)[0] in _SAYING


def _place(row: Row, key: str) -> tuple[bytes, int, int]:
    """Return a text in which a value stands, and where it begins and ends."""
    if isinstance(row, Walked):
        return row.lean(key)
    return bytes(row[key]), 0, len(row[key])


def _may_hold_tools(row: Row) -> Generator[None, None, bool]:
    if "tools" in row:
        return True
    for key, raw in row.items():
        if opens(raw) and (yield from may_hide_tools(*_place(row, key))):
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
