"""A request body, read strictly and written faithfully: what is judged is sent.

Only what carries meaning for policy is opened: the top level, every tool wherever
it stands, the choice of a tool, the names and types of the items. Everything else
stays as the bytes it came in. Where tools stand is said by the caller, as JSON
pointers with `*` for any index; an item or an unknown member that has a `tools`
key anywhere, in any case or escape, is opened all the way down.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Final, Literal

import msgspec

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.hidden import may_hide_tools
from imagegate.engine.items import Item, Items
from imagegate.engine.spans import HARMLESS, Budget, is_slow, shorten
from imagegate.engine.strict import (
    check_encoding,
    check_keys,
    fold,
    read_rows,
    read_whole,
    too_many,
    wrong_shape,
)
from imagegate.engine.value import Changes, Edit, Piece, Pieces, Plain, Value, split

CarrierKind = Literal[
    "tools", "additional_tools", "tool_search_output", "namespace", "unknown"
]

# The API takes 128 tools; gateways in front of it have been seen to send more.
MAX_TOOLS: Final = 1_000
# Keeping both of two equal keys costs 500 ns for each.
_MAX_TOOL_KEYS: Final = 10_000
# Opened values below the levels above: some 50 MB of memory, and a second.
MAX_NODES: Final = 100_000
# From here on, items are worth reading before the rest, and stand early enough.
_LARGE: Final = 1 << 18
_NEAR: Final = 1 << 16
_ARRAY: Final = rb'"%b"[ \t\r\n]*:[ \t\r\n]*\['
_HEAD: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
# About a millisecond of opening.
_STRIDE: Final = 1_000
# Taking this much apart costs as much as a value does.
_NODE: Final = 2_000

IMAGE_TOOL: Final = "image_generation"
# fmt: off
# The fields of the image tool, current and deprecated, and what they hold.
TOOL_KEYS: Final = frozenset({
    "type", "action", "background", "complexity", "frame_count", "frame_duration_ms",
    "input_fidelity", "input_image_mask", "image_url", "file_id", "model", "moderation",
    "output_compression", "output_format", "partial_images", "quality", "size", "style",
    "svg", "reasoning", "effort", "name", "description", "tool_configs", "tools", "n",
})
CHOICE_KEYS: Final = frozenset({"type", "tools", "mode", "name"})
# The members of a Responses request, over HTTP and as a message.
TOP_KEYS: Final = frozenset({
    "access_programs", "agent", "agent_reference", "background", "context_management",
    "conversation", "generate", "image", "include", "input", "instructions", "items",
    "max_output_tokens", "max_tool_calls", "metadata", "model", "moderation",
    "multi_agent", "parallel_tool_calls", "previous_response_id", "prompt",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
    "response_id", "safety_identifier", "service_tier", "store", "stream", "stream_id",
    "stream_options", "structured_inputs", "temperature", "text", "tool_choice",
    "tools", "top_logprobs", "top_p", "truncation", "type", "user",
})
# fmt: on
RESPONSES: Final = ("/tools", "/input/*/tools")
# Known members that may have a `tools` key which means something else: the schema
# of an answer, a caller's own notes. None of them leads to a tool.
_WITHOUT_TOOLS: Final = TOP_KEYS - {"tools", "input", "items"}
_ITEM_KINDS: Final[Mapping[str, CarrierKind]] = {
    "additional_tools": "additional_tools",
    "tool_search_output": "tool_search_output",
}


class Tool:
    """One tool definition.

    Attributes:
        value: The object, opened; an image tool all the way down.
        type: Its type, decoded.
    """

    __slots__ = ("type", "value")

    def __init__(self, value: Value, kind: str) -> None:
        self.value = value
        self.type = kind

    @property
    def pointer(self) -> str:
        """Where it stands, as a JSON pointer."""
        return self.value.pointer

    @property
    def members(self) -> Mapping[str, Value]:
        """Its members, in the order they came in."""
        return self.value.members()

    def get(self, key: str) -> Value | None:
        """One member; None when it is not there. `null` is a value."""
        return self.value.get(key)

    def plain(self, key: str) -> Plain:
        """What a member stands for; None when it is not there or null."""
        value = self.value.get(key)
        return None if value is None else value.plain()

    @property
    def is_image(self) -> bool:
        """Whether it is the image tool, spelled exactly."""
        return self.type == IMAGE_TOOL

    @property
    def suspicious_type(self) -> bool:
        """Whether somebody may take its type for the image tool's, and we do not."""
        return not self.is_image and _looks_like_images(self.type)


class Carrier(msgspec.Struct, frozen=True, kw_only=True):
    """A place that holds tool definitions.

    Attributes:
        pointer: Where the array stands.
        kind: By what it is one; `unknown` for a `tools` array nobody documented.
        tools: Its tools in order; of an unknown one, the elements with a type.
    """

    pointer: str
    kind: CarrierKind
    tools: tuple[Tool, ...]


class Body:
    """A body as it was judged, and how to send it.

    Attributes:
        members: The top level, in order.
        carriers: Every place with tool definitions, in no promised order.
        items: The items that are more than plain messages.
    """

    __slots__ = ("_top", "carriers", "items")

    def __init__(
        self, top: Value, carriers: Sequence[Carrier], items: Sequence[Item]
    ) -> None:
        self._top = top
        self.carriers = tuple(carriers)
        self.items = tuple(items)

    @property
    def members(self) -> Mapping[str, Value]:
        """The top level, in order."""
        return self._top.members()

    def get(self, key: str) -> Value | None:
        """One top-level member; None when it is not there. `null` is a value."""
        return self._top.get(key)

    def at(self, pointer: str) -> Value | None:
        """What stands at a pointer of names; None when nothing does."""
        value: Value | None = self._top
        for token in split(pointer):
            value = None if value is None else value.get(token)
        return value

    def rewritten(self, edits: Sequence[Edit] = ()) -> Pieces:
        """Write the body with some places changed and nothing else moved.

        Args:
            edits: Places by their pointers in the body as it came, each with the
                JSON to stand there or `DELETE`. A member that is not there is
                added at the end, with the objects that lead to it.

        Raises:
            LookupError: For an edit of an element that is not there or not open.
        """
        out: list[Piece] = []
        self._top.write(out, Changes.of(edits) if edits else None)
        return Pieces(out)


def read_body_now(
    data: bytes,
    *,
    places: Sequence[str] = RESPONSES,
    known: AbstractSet[str] = TOP_KEYS,
) -> Body:
    """Read a body in one go; see `read_body`."""
    reading = read_body(data, places=places, known=known)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            body: Body = end.value
            return body


def read_body(
    data: bytes,
    *,
    places: Sequence[str] = RESPONSES,
    known: AbstractSet[str] = TOP_KEYS,
) -> Generator[None, None, Body]:
    """Read a body, giving way between pieces of work.

    Args:
        data: What came in, decoded if it was compressed.
        places: Where arrays of tools may stand: `/tools`, `/input/*/tools`.
        known: The top-level keys that no other key may merely resemble.

    Returns:
        The body; each yield is a moment to let others run.

    Raises:
        MalformedRequest: When two readers could see two documents in it, or it is
            not shaped like a request.
    """
    try:
        yield from check_encoding(data)
        ways, keys = _plan(tuple(places), frozenset(known))
        reader = _Reader(keys, Budget(data))
        yield from reader.begin(data, ways)
        yield
        yield from reader.read(ways)
    except RecursionError:
        raise MalformedRequest("too_deep", "nested too deep") from None
    return Body(reader.top, tuple(reader.carriers.values()), reader.items)


@lru_cache(100)
def _plan(
    places: tuple[str, ...], known: frozenset[str]
) -> tuple[list[tuple[str, ...]], frozenset[str]]:
    """Take the places apart, and gather the keys that none may resemble."""
    ways = [tuple(split(place)) for place in places]
    return ways, known.union(*ways, {"tool_choice"})


class _Reader:
    __slots__ = (
        "_budget",
        "_holders",
        "_next",
        "_nodes",
        "_scouted",
        "_tools",
        "carriers",
        "items",
        "top",
    )

    def __init__(self, known: AbstractSet[str], budget: Budget) -> None:
        self.top = Value(b"{", known=known)
        self.carriers: dict[str, Carrier] = {}
        self.items: list[Item] = []
        self._budget = budget
        self._holders = {"": self.top}
        self._nodes = self._tools = 0
        self._next = _STRIDE
        self._scouted: Items | None = None

    def begin(self, data: bytes, ways: Sequence[Sequence[str]]) -> Iterator[None]:
        """Read the top level, and of a large body the conversation before it.

        An array of which whole items have been read can be read without them, so
        that megabytes are decoded once.
        """
        rest, gap = data, (0, 0)
        if len(data) > _LARGE:
            key, cut = _find_items(data, ways)
            items = Items(Value(b"["), parent=self.top, key=key, budget=self._budget)
            stop = (yield from items.scout(data, cut)) if cut else 0
            if stop > cut:
                # One number stands for the items, so what follows is no beginning.
                rest, gap = data[:cut] + b"0" + data[stop:], (cut, stop - cut - 1)
                self._scouted = items
        if len(data) > HARMLESS:
            yield from self._budget.weigh(rest)
            self._budget.proved = True
        gaps = [gap]
        if len(rest) > HARMLESS and (yield from is_slow(rest, 0, len(rest))):
            short = yield from shorten(rest, first=gap[1])
            gaps += short.gaps
            yield
            row = read_whole(short.text, known=self.top.known, gaps=gaps)
            self.top.adopt(short.restore(row))
        else:
            self.top.adopt(read_whole(rest, known=self.top.known, gaps=gaps))

    def read(self, ways: Sequence[Sequence[str]]) -> Iterator[None]:
        for *path, last in ways:
            if path and path[-1] == "*":
                yield from self._read_items(path[:-2], path[-2])
            else:
                yield from self._read_holder(path, last)
        for holder in self._holders.values():
            yield from self._search(holder)

    def _holder(self, path: Sequence[str]) -> Value | None:
        """Go down named objects; None when the way ends before."""
        value = self.top
        for token in path:
            member = value.get(token)
            if member is None or member.is_null:
                return None
            if member.kind != "object":
                raise wrong_shape("an object", member.pointer)
            member.known = self.top.known
            value = self._holders.setdefault(member.pointer, member)
        return value

    def _search(self, holder: Value) -> Iterator[None]:
        """Look for tools where no place is known to have them."""
        for key, value in tuple(holder.members().items()):
            if value.opened or key in _WITHOUT_TOOLS:
                continue
            if key == "tools" and not value.is_null:
                yield from self._carry_unknown(value)
                yield from self._walk(value)
            elif (yield from may_hide_tools(value.raw)):
                yield from self._walk(value)

    def _read_items(self, path: Sequence[str], key: str) -> Iterator[None]:
        holder = self._holder(path)
        value = None if holder is None else holder.get(key)
        if holder is None or value is None or value.kind in ("null", "string"):
            return
        if isinstance(value, Items):  # the same place once more
            return
        if value.kind != "array":
            raise wrong_shape("a string or an array of objects", value.pointer)
        items = self._scouted
        if items is not None and items.path == value.path:
            yield from items.read_on(value)
        else:
            items = Items(value, parent=holder, key=key, budget=self._budget)
            yield from items.read()
        holder.put(key, items)
        self.items += items.notable
        for item in items.special.values():
            yield from self._read_item(item)

    def _read_item(self, item: Value) -> Iterator[None]:
        kind = item.get("type")
        carrier = _ITEM_KINDS.get((kind and kind.text()) or "")
        for key, value in item.members().items():
            if key == "tools" and not value.is_null:
                if carrier is None:
                    yield from self._carry_unknown(value)
                    yield from self._walk(value)
                else:
                    yield from self._read_tools(value, carrier)
            elif (yield from may_hide_tools(value.raw)):
                yield from self._walk(value)

    def _read_holder(self, path: Sequence[str], last: str) -> Iterator[None]:
        holder = self._holder(path)
        if holder is None:
            return
        tools = holder.get(last)
        if tools is not None and not tools.is_null:
            yield from self._read_tools(tools, "tools")
        choice = holder.get("tool_choice")
        if choice is not None:
            yield from self._read_choice(choice)

    def _read_choice(self, choice: Value) -> Iterator[None]:
        if choice.kind not in ("object", "string", "null"):
            raise wrong_shape("a string or an object", choice.pointer)
        yield from self._settle(choice, CHOICE_KEYS)
        if choice.kind != "object":
            return
        _type_of(choice)
        allowed = choice.get("tools")
        if allowed is not None and allowed.kind != "array":
            raise wrong_shape("an array of objects", allowed.pointer)
        for entry in () if allowed is None else allowed.elements():
            _type_of(entry)

    def _read_tools(self, value: Value, kind: CarrierKind) -> Iterator[None]:
        if value.kind != "array":
            raise wrong_shape("an array of objects", value.pointer)
        pointer = value.reach()
        if not (yield from _is_slow(value)):
            rows, _ = read_rows(value.raw, pointer=pointer, limit=_MAX_TOOL_KEYS)
        else:
            short = yield from shorten(value.spelling)
            rows, _ = read_rows(short.text, pointer=pointer, limit=_MAX_TOOL_KEYS)
            rows = list(map(short.restore, rows))
        for index, row in enumerate(rows):
            check_keys(row, pointer=f"{pointer}/{index}", known=TOOL_KEYS)
        value.adopt_rows(rows, known=TOOL_KEYS)
        yield
        elements = value.elements()
        tools = [Tool(element, _type_of(element)) for element in elements]
        yield from self._carry(value, kind, tools)

    def _carry(
        self, value: Value, kind: CarrierKind, tools: Sequence[Tool]
    ) -> Iterator[None]:
        self._tools += len(tools)
        if self._tools > MAX_TOOLS:
            raise too_many(value.pointer)
        pointer = value.pointer
        self.carriers[pointer] = Carrier(pointer=pointer, kind=kind, tools=tuple(tools))
        for tool in tools:
            if _looks_like_images(tool.type):
                yield from self._settle(tool.value, TOOL_KEYS)
            inner = tool.get("tools")
            if inner is None or inner.is_null:
                continue
            if tool.type == "namespace":
                yield from self._read_tools(inner, "namespace")
            else:
                yield from self._carry_unknown(inner)

    def _carry_unknown(self, value: Value) -> Iterator[None]:
        """Judge what has a type in an array that nobody documented.

        Such arrays are also lists of names, or of tools of another protocol.
        """
        if value.kind != "array":
            raise wrong_shape("an array", value.pointer)
        if value.pointer in self.carriers:
            return
        self._children(value)
        tools = []
        for element in value.elements():
            element.known = TOOL_KEYS
            kind = element.get("type")
            text = None if kind is None else kind.text()
            if text is not None:
                tools.append(Tool(element, text))
        yield from self._carry(value, "unknown", tools)

    def _walk(self, value: Value) -> Iterator[None]:
        """Open a value all the way down, and carry what may be read as tools."""
        stack = [value]
        while stack:
            node = stack.pop()
            stack += self._children(node)
            if self._due():
                yield
            for key, child in tuple(node.members().items()):
                # A schema may describe a property of that name: no array.
                if child.kind != "array" or fold(key) != "tools":
                    continue
                if key != "tools":
                    check_keys((key,), pointer=node.pointer, known={"tools"})
                yield from self._carry_unknown(child)

    def _settle(self, value: Value, known: AbstractSet[str]) -> Iterator[None]:
        """Open a value all the way down, as strictly as its first level."""
        stack = [value]
        while stack:
            node = stack.pop()
            node.known = known
            stack += self._children(node)
            if self._due():
                yield

    def _children(self, node: Value) -> list[Value]:
        """Open a value within the budget; give what in it can be opened."""
        children = tuple(node.children())
        self._nodes += 1 + len(children)
        if self._nodes > MAX_NODES:
            raise too_many(node.pointer)
        self._next -= len(node.raw) // _NODE
        return [child for child in children if child.kind in ("object", "array")]

    def _due(self) -> bool:
        """Whether enough has been opened to let others run."""
        due = self._nodes >= self._next
        self._next += _STRIDE if due else 0
        return due


def _is_slow(value: Value) -> Generator[None, None, bool]:
    if len(value.raw) <= HARMLESS:
        return False
    return (yield from is_slow(value.spelling, 0, len(value.raw)))


def _find_items(data: bytes, ways: Sequence[Sequence[str]]) -> tuple[str, int]:
    """Find a top-level array of items near the beginning; 0 when there is none."""
    for way in ways:
        match way:
            case [key, "*", _] if cut := _beginning(data, key):
                return key, cut
    return "", 0


def _beginning(data: bytes, key: str) -> int:
    """What follows the bracket of a top-level array near the beginning; 0 if none.

    What comes before is read as an object of its own, so nothing is guessed.
    """
    found = re.compile(_ARRAY % re.escape(key.encode())).search(data, 0, _NEAR)
    if found is None:
        return 0
    try:
        row = _HEAD.decode(data[: found.end() - 1] + b"0}")
    except msgspec.DecodeError:
        return 0
    return found.end() if row and list(row)[-1] == key and len(row[key]) == 1 else 0


def _looks_like_images(kind: str) -> bool:
    return kind == IMAGE_TOOL or "".join(filter(str.isalnum, fold(kind))).startswith(
        "imagegen"
    )


def _type_of(value: Value) -> str:
    kind = value.get("type")
    text = None if kind is None else kind.text()
    if text is None:
        raise wrong_shape("an object with a type", value.pointer)
    return text
