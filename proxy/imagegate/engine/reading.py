"""The reading of a body: its top level, and what in that carries meaning.

Short bodies are decoded at once. A long one is gone through member by member, and
its conversation is read when it is met, so that megabytes are decoded once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from imagegate.engine.conversation import Conversation, keep_turns
from imagegate.engine.depth import has_few
from imagegate.engine.encoding import empty_body
from imagegate.engine.familiar import MEMORY, Familiar
from imagegate.engine.hidden import may_hide_tools, some_may_hide_tools
from imagegate.engine.items import Item, Items
from imagegate.engine.opening import Opener
from imagegate.engine.outline import Budget
from imagegate.engine.strict import (
    check_keys,
    not_an_object,
    read_whole,
    trailing_data,
    wrong_shape,
)
from imagegate.engine.tools import CarrierKind, Toolbox, check_nested
from imagegate.engine.value import Value, split
from imagegate.engine.walk import Reader, Walk

_ITEM_KINDS: Final[Mapping[str, CarrierKind]] = {
    "additional_tools": "additional_tools",
    "tool_search_output": "tool_search_output",
}
# What is no array of items, and no object that chooses a tool.
_PLAIN: Final = (None, "null", "string")
# A special item costs as much time as some opened values.
_ITEM: Final = 5
_ARRAY: Final = (None, "null", "array")
_NOTHING: Final = (None, "null")
_NO_OBJECT: Final = frozenset(b'["tfn-0123456789')
# Up to this size a body is decoded at once, which takes a millisecond or two at worst,
# and a second look at the items costs less than a first at each member.
_SHORT: Final = 1 << 17
# Values that together are longer are looked into one by one.
_GLANCE: Final = 1 << 13


class Way(NamedTuple):
    """The way to a place with tools.

    Attributes:
        path: The objects that lead to it.
        key: The member that holds them, or items that do.
        items: Whether it holds items.
    """

    path: tuple[str, ...]
    key: str
    items: bool

    @classmethod
    def to(cls, place: str) -> Way:
        """Read a place: `/tools`, `/input/*/tools`."""
        *path, last = split(place)
        if path and path[-1] == "*":
            return cls(tuple(path[:-2]), path[-2], items=True)
        return cls(tuple(path), last, items=False)


class Reading:
    """The reading of one body.

    Args:
        data: The body.
        known: The top-level keys that no other may merely resemble.
        innocent: The members that are not searched for tools.

    Attributes:
        top: The body.
        toolbox: The tools.
        familiar: What is remembered of those at the top, if they came before.
        unread: Whether they were left closed for that.
    """

    __slots__ = (
        "_holders",
        "_innocent",
        "_items",
        "_opener",
        "familiar",
        "toolbox",
        "top",
        "unread",
    )

    def __init__(
        self, data: bytes, *, known: AbstractSet[str], innocent: AbstractSet[str]
    ) -> None:
        self.top = Value(b"{", known=known)
        self._items: list[Items] = []
        self._opener = Opener(Budget(data))
        self.toolbox = Toolbox(self._opener)
        self._innocent = innocent
        self._holders = {"": self.top}
        self.familiar: Familiar | None = None
        self.unread = False

    @property
    def items(self) -> list[Item]:
        """The items that are more than plain messages."""
        return [item for items in self._items for item in items.notable]

    def begin(self, data: bytes, ways: Sequence[Way]) -> Iterator[None]:
        """Read the top level, and of a long body the conversation with it."""
        if len(data) <= _SHORT:
            self.top.adopt(read_whole(data, known=self.top.known))
            if len(data) > _GLANCE:
                yield
        else:
            yield from self._begin(data, ways)

    def _begin(self, data: bytes, ways: Sequence[Way]) -> Iterator[None]:
        yield
        walk = Walk(data, self._opener.budget)
        found: dict[str, Items] = {}
        readers: dict[str, Reader] = {}
        for way in ways:
            if way.items and not way.path:
                items = found[way.key] = Items(parent=self.top, key=way.key)
                readers[way.key] = Conversation(walk, items).read
        at = yield from walk.space(0)
        if at == len(data):
            raise empty_body()
        if data[at] in _NO_OBJECT:
            raise not_an_object()
        walk.expect(b"{", at)
        row, at = yield from walk.members(at, pointer="", readers=readers)
        at = yield from walk.space(at)
        if at < len(data):
            raise trailing_data(at)
        check_keys(row, pointer="", known=self.top.known)
        self.top.adopt(row)
        for key, items in found.items():
            if self.top.kind_at(key) == "array":
                items.raw = row[key]
                self.top.put(key, items)

    def read(self, ways: Sequence[Way]) -> Iterator[None]:
        """Read the tools and the choice of one, where they are known to stand."""
        for path, key, items in ways:
            holder = (yield from self._holder(path)) if path else self.top
            if holder is None:
                continue
            if items:
                if holder.kind_at(key) not in _PLAIN:
                    yield from self._read_items(holder, key)
                continue
            if holder.kind_at(key) not in _NOTHING:
                yield from self._read_tools(holder, key)
            if holder.kind_at("tool_choice") not in _PLAIN:
                yield from self._read_choice(holder)

    def _read_tools(self, holder: Value, key: str) -> Iterator[None]:
        """Read an array of tools, if it is not one that came before."""
        raw = holder.raw_at(key)
        first = not self.toolbox.carriers
        ordinary = first and holder is self.top and key == "tools"
        known = MEMORY.recall(raw) if ordinary else None
        if known is not None:
            self.familiar, self.unread = known, True
            self.toolbox.admit(known.count, "/tools")
            return
        tools = holder.member(key)
        yield from self.toolbox.read(tools, "tools")
        if ordinary:
            self.familiar = MEMORY.keep(raw, self.toolbox.carriers[tools.pointer])

    def search(self) -> Iterator[None]:
        """Look for tools where no place is known to have them."""
        for holder in self._holders.values():
            if holder.kind_at("tools") not in _ARRAY:
                raise wrong_shape("an array", holder.member("tools").pointer)
            for value in self._doubtful(holder):
                yield from check_nested(value)
                if value.key not in self._innocent:
                    yield from self._search(value)

    def _doubtful(self, holder: Value) -> list[Value]:
        """What nobody has opened; nothing when a look at the bytes is enough."""
        closed = holder.closed()
        if holder is self.top and self.unread:
            del closed["tools"]
        if "tools" not in closed and sum(map(len, closed.values())) <= _GLANCE:
            innocent = self._innocent
            strange = [raw for key, raw in closed.items() if key not in innocent]
            if has_few(b",".join(closed.values())) and not (
                strange and some_may_hide_tools(strange)
            ):
                return []
        return [holder.member(key) for key in closed]

    def _holder(self, path: Sequence[str]) -> Generator[None, None, Value | None]:
        """Go down named objects; None when the way ends before."""
        value = self.top
        for token in path:
            member = value.get(token)
            if member is None or member.is_null:
                return None
            if member.kind != "object":
                raise wrong_shape("an object", member.pointer)
            member.known = self.top.known
            yield from self._opener.level(member)
            value = self._holders.setdefault(member.pointer, member)
        return value

    def _search(self, value: Value) -> Iterator[None]:
        """Look for tools in a stranger."""
        if value.key == "tools":
            yield from self.toolbox.read_unknown(value)
            yield from self.toolbox.search(value)
        elif (yield from _may_hide_tools(value)):
            yield from self.toolbox.search(value)

    def _read_items(self, holder: Value, key: str) -> Iterator[None]:
        if holder.kind_at(key) != "array":
            place = holder.member(key).pointer
            raise wrong_shape("a string or an array of objects", place)
        items = holder.asked(key)
        if not isinstance(items, Items):
            raw, items = holder.raw_at(key), Items(parent=holder, key=key)
            text, at = holder.place_of(key)
            if len(raw) > _SHORT or not keep_turns(text[at : at + len(raw)], items):
                walk = Walk(text, self._opener.budget)
                yield from Conversation(walk, items).read(at)
            items.raw = raw
            holder.put(key, items)
        elif items in self._items:  # the same place once more
            return
        self._items.append(items)
        for item in items.special.values():
            yield from self._read_item(item)

    def _read_item(self, item: Value) -> Iterator[None]:
        carrier = _ITEM_KINDS.get(item.text_at("type") or "")
        tools = item.get("tools")
        if tools is not None and not tools.is_null:
            if carrier is None:
                yield from self.toolbox.read_unknown(tools)
                yield from self.toolbox.search(tools)
            else:
                yield from self.toolbox.read(tools, carrier)
        for value in item.containers():
            if value is not tools and (yield from _may_hide_tools(value)):
                yield from self.toolbox.search(value)
        item.freeze()
        yield from self._opener.pause(_ITEM)

    def _read_choice(self, holder: Value) -> Iterator[None]:
        choice = holder.member("tool_choice")
        if choice.kind != "object":
            raise wrong_shape("a string or an object", choice.pointer)
        yield from self.toolbox.read_choice(choice)


def _may_hide_tools(value: Value) -> Generator[None, None, bool]:
    text, at = value.where or (value.spelling, 0)
    return (yield from may_hide_tools(text, at, at + len(value.raw)))
