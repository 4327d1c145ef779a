"""Tools: where definitions stand in a body, and the reading of them.

Documented carriers are arrays of typed objects; other arrays of that name are taken
for tools as far as their elements have a type. What may be the image tool is open
all the way down, and so read strictly; of the others the first level is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, Literal

import msgspec

from imagegate.engine.depth import check_depth
from imagegate.engine.opening import Opener
from imagegate.engine.strict import (
    SMALL,
    check_keys,
    fold,
    letters_of,
    read_rows,
    too_many,
    wrong_shape,
)
from imagegate.engine.value import Plain, Value

CarrierKind = Literal[
    "tools", "additional_tools", "tool_search_output", "namespace", "unknown"
]

# The API takes 128 tools; gateways in front of it have been seen to send more.
MAX_TOOLS: Final = 1_000
# Keeping both of two equal keys costs 500 ns for each.
_MAX_KEYS: Final = 4_000

# No type has a name of more than forty bytes; looking at a long one takes long.
_MAX_TYPE: Final = 1_024

# An element of an unknown array costs as much time as some opened values.
_ELEMENT: Final = 5

IMAGE_TOOL: Final = "image_generation"
# fmt: off
# The fields of the image tool, current and deprecated, and what they hold.
TOOL_KEYS: Final = frozenset({
    "type", "action", "background", "complexity", "frame_count", "frame_duration_ms",
    "input_fidelity", "input_image_mask", "image_url", "file_id", "model", "moderation",
    "output_compression", "output_format", "partial_images", "quality", "size", "style",
    "svg", "reasoning", "effort", "name", "description", "tool_configs", "tools", "n",
})
# fmt: on
CHOICE_KEYS: Final = frozenset({"type", "tools", "mode", "name"})


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


class Toolbox:
    """Reads tools, wherever they stand.

    Attributes:
        carriers: Every place that was read, by its pointer.
    """

    __slots__ = ("_count", "_opener", "carriers")

    def __init__(self, opener: Opener) -> None:
        self.carriers: dict[str, Carrier] = {}
        self._opener = opener
        self._count = 0

    def read(self, value: Value, kind: CarrierKind) -> Iterator[None]:
        """Read an array of tools.

        Raises:
            MalformedRequest: When it is not shaped like one, or has too many.
        """
        if value.kind != "array":
            raise wrong_shape("an array of objects", value.pointer)
        pointer = value.reach()
        elements: Sequence[Value]
        if len(value.raw) <= SMALL:
            elements = _read_short(value, pointer)
        else:
            elements = yield from self._read_long(value)
        tools = [Tool(element, type_of(element)) for element in elements]
        self._carry(pointer, kind, tools)
        for tool in tools:
            # Most tools are flat.
            if tool.value.nests or tool.value.kind_at("tools") is not None:
                yield from self._read_in(tool)

    def _read_long(self, value: Value) -> Generator[None, None, Sequence[Value]]:
        yield from self._opener.level(value)
        elements = value.elements()
        if len(elements) > MAX_TOOLS:
            raise too_many(value.pointer)
        for element in elements:
            element.known = TOOL_KEYS
            if element.kind != "object":
                raise wrong_shape("an object with members", element.pointer)
            yield from self._opener.level(element)
            yield
        return elements

    def admit(self, count: int, pointer: str) -> None:
        """Count tools.

        Raises:
            MalformedRequest: When there are too many.
        """
        self._count += count
        if self._count > MAX_TOOLS:
            raise too_many(pointer)

    def _carry(self, pointer: str, kind: CarrierKind, tools: Sequence[Tool]) -> None:
        self.admit(len(tools), pointer)
        self.carriers[pointer] = Carrier(pointer=pointer, kind=kind, tools=tuple(tools))

    def _read_in(self, tool: Tool) -> Iterator[None]:
        """Read what is in a tool: fields of the image tool, and more tools."""
        if _looks_like_images(tool.type):
            yield from self._opener.all(tool.value, known=TOOL_KEYS)
        else:
            for value in tool.value.containers():
                yield from check_nested(value)
        inner = tool.get("tools")
        if inner is None or inner.is_null:
            return
        if tool.type == "namespace":
            yield from self.read(inner, "namespace")
        else:
            yield from self.read_unknown(inner)

    def read_unknown(self, value: Value) -> Iterator[None]:
        """Judge what has a type in an array that nobody documented.

        Such arrays are also lists of names, or of tools of another protocol.
        """
        if value.kind != "array":
            raise wrong_shape("an array", value.pointer)
        pointer = value.pointer
        if pointer in self.carriers:
            return
        yield from self._opener.level(value)
        tools = []
        for element in self._opener.containers(value):
            yield from self._opener.pause(_ELEMENT)
            if element.kind == "array":
                yield from self.read_unknown(element)
                continue
            element.known = TOOL_KEYS
            yield from self._opener.level(element)
            kind = _type(element)
            if kind is not None:
                tools.append(Tool(element, kind))
        self._carry(pointer, "unknown", tools)
        for tool in tools:
            yield from self._read_in(tool)

    def search(self, value: Value) -> Iterator[None]:
        """Open a value all the way down, and read what may be taken for tools."""
        yield from self._opener.all(value, look=self._look)

    def _look(self, node: Value) -> Iterator[None]:
        for child in node.containers():
            # A schema may describe a property of that name: no array.
            if child.kind != "array" or fold(child.key) != "tools":
                continue
            if child.key != "tools":
                check_keys((child.key,), pointer=node.pointer, known={"tools"})
            yield from self.read_unknown(child)

    def read_choice(self, choice: Value) -> Iterator[None]:
        """Read the choice of a tool that is an object.

        Raises:
            MalformedRequest: When it is not shaped like one.
        """
        choice.known = CHOICE_KEYS
        yield from self._opener.level(choice)
        type_of(choice)
        allowed = choice.get("tools")
        if allowed is not None and allowed.kind != "array":
            raise wrong_shape("an array of objects", allowed.pointer)
        if allowed is not None:
            yield from self._opener.level(allowed)
            if allowed.size > MAX_TOOLS:
                raise too_many(choice.pointer)
            for entry in allowed.elements():
                entry.known = CHOICE_KEYS
                yield from self._opener.level(entry)
                type_of(entry)
                yield from self._opener.pause(_ELEMENT)
        yield from self._opener.all(choice, known=CHOICE_KEYS)


def check_nested(value: Value) -> Iterator[None]:
    """Refuse a value that stays closed if it is nested too deep."""
    text, at = value.where or (value.spelling, 0)
    yield from check_depth(text, at, at + len(value.raw), pointer=value.pointer)


def _read_short(value: Value, pointer: str) -> Sequence[Value]:
    rows, _ = read_rows(value.raw, pointer=pointer, limit=_MAX_KEYS)
    if len(rows) > MAX_TOOLS:
        raise too_many(pointer)
    for index, row in enumerate(rows):
        if not row.keys() <= TOOL_KEYS:
            check_keys(row, pointer=f"{pointer}/{index}", known=TOOL_KEYS)
    return value.adopt_rows(rows, known=TOOL_KEYS)


def looks_like_images(kind: str) -> bool:
    """Whether a type is that of the image tool, or may be taken for it."""
    return kind == IMAGE_TOOL or letters_of(kind).startswith("imagegen")


_looks_like_images = lru_cache(1_000)(looks_like_images)


def type_of(value: Value) -> str:
    """The type of a tool, which has one."""
    kind = _type(value)
    if kind is None:
        raise wrong_shape("an object with a type", value.pointer)
    return kind


def _type(value: Value) -> str | None:
    kind = value.text_at("type")
    if kind is not None and len(kind) > _MAX_TYPE:
        raise wrong_shape("the name of a type", value.pointer)
    return kind
