"""The reading of a body: its top level, and what in that carries meaning.

Short bodies are decoded at once. A long one is gone through member by member, and
its conversation is read when it is met, so that megabytes are decoded once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from imagegate.engine.conversation import Conversation
from imagegate.engine.encoding import empty_body
from imagegate.engine.hidden import may_hide_tools
from imagegate.engine.items import Item, Items
from imagegate.engine.opening import Opener
from imagegate.engine.outline import Budget
from imagegate.engine.strict import (
    check_keys,
    join,
    not_an_object,
    read_whole,
    trailing_data,
    wrong_shape,
)
from imagegate.engine.tools import CarrierKind, Toolbox
from imagegate.engine.value import Value
from imagegate.engine.walk import Reader, Walk

_ITEM_KINDS: Final[Mapping[str, CarrierKind]] = {
    "additional_tools": "additional_tools",
    "tool_search_output": "tool_search_output",
}
_NO_ITEMS: Final = (None, "null", "string")
_NO_OBJECT: Final = frozenset(b'["tfn-0123456789')
# Up to this size a second look at the items costs less than a first at each member.
_SHORT: Final = 1 << 13


class Reading:
    """The reading of one body.

    Args:
        data: The body.
        known: The top-level keys that no other may merely resemble.
        innocent: The members that are not searched for tools.

    Attributes:
        top: The body.
        toolbox: The tools.
    """

    __slots__ = (
        "_holders",
        "_innocent",
        "_items",
        "_opener",
        "toolbox",
        "top",
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

    @property
    def items(self) -> list[Item]:
        """The items that are more than plain messages."""
        return [item for items in self._items for item in items.notable]

    def begin(self, data: bytes, ways: Sequence[Sequence[str]]) -> Iterator[None]:
        """Read the top level, and of a long body the conversation with it."""
        if len(data) <= _SHORT:
            self.top.adopt(read_whole(data, known=self.top.known))
        else:
            yield from self._begin(data, ways)

    def _begin(self, data: bytes, ways: Sequence[Sequence[str]]) -> Iterator[None]:
        walk = Walk(data, self._opener.budget)
        found: dict[str, Items] = {}
        readers: dict[str, Reader] = {}
        for way in ways:
            if len(way) == 3 and way[1] == "*":  # noqa: PLR2004 - a key, `*`, `tools`
                items = found[way[0]] = Items(parent=self.top, key=way[0])
                readers[way[0]] = Conversation(walk, items).read
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

    def read(self, ways: Sequence[Sequence[str]]) -> Iterator[None]:
        """Read the tools, the choice of one, and whatever may hide more."""
        for *path, last in ways:
            if path and path[-1] == "*":
                yield from self._read_items(path[:-2], path[-2])
                continue
            holder = (yield from self._holder(path)) if path else self.top
            if holder is not None:
                yield from self._read_holder(holder, last)
        for holder in self._holders.values():
            yield from self._search(holder)

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

    def _search(self, holder: Value) -> Iterator[None]:
        """Look for tools where no place is known to have them."""
        tools = holder.get("tools")
        if tools is not None and not tools.opened and not tools.is_null:
            yield from self.toolbox.read_unknown(tools)
            yield from self.toolbox.search(tools)
        for value in holder.containers():
            if value.opened or value.key in self._innocent:
                continue
            if (yield from may_hide_tools(value.raw)):
                yield from self.toolbox.search(value)

    def _read_items(self, path: Sequence[str], key: str) -> Iterator[None]:
        holder = (yield from self._holder(path)) if path else self.top
        if holder is None or holder.kind_at(key) in _NO_ITEMS:
            return
        value = holder.members()[key]
        if value.kind != "array":
            raise wrong_shape("a string or an array of objects", value.pointer)
        if not isinstance(value, Items):
            text, at = value.where or (value.spelling, 0)
            items = Items(parent=holder, key=key)
            walk = Walk(text, self._opener.budget)
            yield from Conversation(walk, items).read(at)
            items.raw = value.raw
            holder.put(key, items)
        elif value in self._items:  # the same place once more
            return
        else:
            items = value
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
            if value is not tools and (yield from may_hide_tools(value.raw)):
                yield from self.toolbox.search(value)
        yield from self._opener.pause()

    def _read_holder(self, holder: Value, last: str) -> Iterator[None]:
        tools = holder.get(last)
        if tools is not None and not tools.is_null:
            yield from self.toolbox.read(tools, "tools")
        kind = holder.kind_at("tool_choice")
        if kind == "object":
            yield from self.toolbox.read_choice(holder.members()["tool_choice"])
        elif kind not in (None, "string", "null"):
            place = join(holder.pointer, "tool_choice")
            raise wrong_shape("a string or an object", place)
