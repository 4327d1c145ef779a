"""A request body, read strictly and written faithfully: what is judged is sent.

Only what carries meaning for policy is opened: the top level, every tool wherever
it stands, the choice of a tool, the names and types of the items. Everything else
stays as the bytes it came in. Where tools stand is said by the caller, as JSON
pointers with `*` for any index; an item or an unknown member that has a `tools`
key anywhere, in any case or escape, is opened all the way down.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, KeysView, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Final, TypeVar

from imagegate.engine.encoding import check_encoding
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.familiar import MEMORY, Familiar, case_of_tools, read_again
from imagegate.engine.items import Item
from imagegate.engine.reading import Reading, Way
from imagegate.engine.tools import CHOICE_KEYS, IMAGE_TOOL, TOOL_KEYS, Carrier, Tool
from imagegate.engine.value import Changes, Edit, Piece, Pieces, Value, split

__all__ = [
    "CHOICE_KEYS",
    "IMAGE_TOOL",
    "RESPONSES",
    "TOOL_KEYS",
    "TOP_KEYS",
    "Body",
    "Carrier",
    "Tool",
    "read_body",
    "read_body_now",
]

_T = TypeVar("_T")

# fmt: off
# The members of a Responses request, over HTTP and as a message.
TOP_KEYS: Final = frozenset({
    "access_programs", "agent", "agent_reference", "background", "background_options",
    "context_management", "conversation", "generate", "image", "include", "input",
    "instructions", "items", "max_output_tokens", "max_tool_calls", "metadata", "model",
    "moderation", "multi_agent", "parallel_tool_calls", "personality",
    "previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "reasoning", "response_id", "safety_identifier",
    "service_tier", "store", "stream", "stream_id", "stream_options",
    "structured_inputs", "temperature", "text", "tool_choice", "tools", "top_logprobs",
    "top_p", "truncation", "type", "user",
})
# fmt: on
# Known members that may have a `tools` key which means something else: the schema
# of an answer, a caller's own notes. None of them leads to a tool.
_INNOCENT: Final = frozenset({"metadata", "prompt", "structured_inputs", "text"})
RESPONSES: Final = ("/tools", "/input/*/tools")


class Body:
    """A body as it was judged, and how to send it.

    Attributes:
        items: The items that are more than plain messages.
        familiar: What is remembered of the tools at the top, if they came before.
    """

    __slots__ = ("_carriers", "_top", "_unread", "familiar", "items")

    def __init__(
        self,
        top: Value,
        carriers: Sequence[Carrier],
        items: Sequence[Item],
        familiar: Familiar | None = None,
        *,
        unread: bool = False,
    ) -> None:
        """Gather what was read.

        Args:
            top: The top level.
            carriers: The places with tools that were read.
            items: The items that are more than plain messages.
            familiar: What is remembered of the tools at the top.
            unread: Whether those are still to be read.
        """
        self._top = top
        self._carriers = tuple(carriers)
        self._unread = unread
        self.items = tuple(items)
        self.familiar = familiar

    @property
    def carriers(self) -> tuple[Carrier, ...]:
        """Every place with tool definitions, in no promised order."""
        self._open_tools()
        return self._carriers

    def _open_tools(self) -> None:
        """Read the tools that came before, as somebody looks into them."""
        if self._unread:
            self._unread = False
            found = read_again(self._top.member("tools"))
            self._carriers = (found, *self._carriers)

    @property
    def case(self) -> tuple[str | bytes, ...] | None:
        """What a decision can depend on of its tools; None when they are no case.

        It begins with where they stand, if there are any.
        """
        if self._unread and not self._carriers and self.familiar is not None:
            return self.familiar.case
        if len(self.carriers) != 1:
            return None if self.carriers else ()
        carrier = self.carriers[0]
        return case_of_tools(carrier) if carrier.pointer == "/tools" else None

    @property
    def members(self) -> Mapping[str, Value]:
        """The top level, in order."""
        return self._top.members()

    @property
    def names(self) -> KeysView[str]:
        """The names of the top-level members, in order."""
        return self._top.names

    def get(self, key: str) -> Value | None:
        """One top-level member; None when it is not there. `null` is a value."""
        return self._top.get(key)

    @property
    def inner(self) -> Sequence[str]:
        """The names of the top-level objects and arrays."""
        return self._top.inner

    def spelled(self, keys: Iterable[str]) -> tuple[bytes, ...]:
        """The bytes in which top-level members came; none for what is not there."""
        return self._top.spelled(keys)

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
        self._top.write(out, self._changes(tuple(edits)))
        return Pieces(out)

    def _changes(self, edits: tuple[Edit, ...]) -> Changes | None:
        """Gather edits; tools that came before are written as they were then."""
        known = self.familiar
        if known is None:
            return Changes.of(edits) if edits else None
        changes = known.written(edits)
        if changes is None:
            self._open_tools()
            changes = MEMORY.write(known, edits, self._top.member("tools"))
        return changes


def read_body_now(
    data: bytes,
    *,
    places: Sequence[str] = RESPONSES,
    known: AbstractSet[str] = TOP_KEYS,
) -> Body:
    """Read a body in one go; see `read_body`."""
    return finished(read_body(data, places=places, known=known))


def finished(steps: Generator[None, None, _T]) -> _T:
    """Run what gives way between its steps to its end, in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: _T = end.value
            return value


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
        if data[:2] != b'{"' or not data.isascii():
            yield from check_encoding(data)
        ways, keys = _plan(tuple(places), frozenset(known))
        reading = Reading(data, known=keys, innocent=_INNOCENT)
        yield from reading.begin(data, ways)
        yield from reading.read(ways)
        yield from reading.search()
    except RecursionError:
        raise MalformedRequest("too_deep", "nested too deep") from None
    carriers = tuple(reading.toolbox.carriers.values())
    familiar, unread = reading.familiar, reading.unread
    return Body(reading.top, carriers, reading.items, familiar, unread=unread)


@lru_cache(100)
def _plan(
    places: tuple[str, ...], known: frozenset[str]
) -> tuple[list[Way], frozenset[str]]:
    """Take the places apart, and gather the keys that none may resemble."""
    tokens = [split(place) for place in places]
    return [Way.to(place) for place in places], known.union(*tokens, {"tool_choice"})
