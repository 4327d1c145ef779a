"""Arrays of tools that came before: an application sends the same all day long.

What is found in one, and how it is written with some places changed, depends on its
bytes alone, and so both are remembered by them. It is remembered only of definitions
in documented members that hold no credential, no picture and no address; any other
is read each time like the first. What is remembered can be shared, as nobody can
change it; tools that somebody looks into are read again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Raw

from imagegate.engine.edits import Changes, Edit, Piece
from imagegate.engine.opening import Opener
from imagegate.engine.outline import Budget
from imagegate.engine.tools import IMAGE_TOOL, TOOL_KEYS, Carrier, Tool, Toolbox
from imagegate.engine.value import Value

MAX_ARRAYS: Final = 256
"""How many are remembered."""
MAX_LENGTH: Final = 1 << 14
"""Bytes of one; more than a thousand tokens of tools is rare."""
MAX_BYTES: Final = 1 << 21
"""Bytes of all, and of all that was written."""
MAX_CASE: Final = 2_048
"""Bytes of an image tool; a longer one has a mask in it, and does not come twice."""

_TOOL: Final = 256
_EDIT: Final = 512
"""Bytes that a tool and an edit take besides what they say, at most."""

_PICTURES: Final = {"input_image_mask", "image_url", "file_id"}
_PLAIN: Final[Mapping[str, frozenset[str]]] = {
    IMAGE_TOOL: TOOL_KEYS - _PICTURES - {"tools", "tool_configs"},
    "function": frozenset({"type", "name", "description", "parameters", "strict"}),
    "custom": frozenset({"type", "name", "description", "format"}),
    "web_search": frozenset({"type", "search_context_size"}),
}
"""Types of tools, and members in which no secret has a place."""


class Familiar:
    """What is remembered of one array.

    Attributes:
        count: How many tools it has.
        case: What a decision can depend on of it.
    """

    __slots__ = ("_written", "case", "count")

    def __init__(self, count: int, case: tuple[str | bytes, ...]) -> None:
        self.count = count
        self.case = case
        self._written: dict[tuple[Edit, ...], Changes] = {}

    def written(self, edits: tuple[Edit, ...]) -> Changes | None:
        """Return the same edits of a body, with the array as they leave it."""
        return self._written.get(edits)

    def keep(self, edits: tuple[Edit, ...], changes: Changes) -> None:
        """Remember how it is written."""
        self._written[edits] = changes


class Memory:
    """The arrays that are remembered; all are forgotten when they are too many."""

    def __init__(self) -> None:
        self._found: dict[bytes, Familiar] = {}
        self._room = MAX_BYTES

    def recall(self, raw: Raw) -> Familiar | None:
        """Return what was found in the same array, if it came before."""
        return self._found.get(bytes(raw)) if len(raw) <= MAX_LENGTH else None

    def keep(self, raw: Raw, carrier: Carrier) -> Familiar | None:
        """Remember an array that was read, if that may be."""
        if len(raw) > MAX_LENGTH or not all(map(_is_plain, carrier.tools)):
            return None
        case = case_of_tools(carrier)
        if case is None:
            return None
        self._take(2 * len(raw) + _TOOL * (1 + len(case)))
        found = self._found[bytes(raw)] = Familiar(len(carrier.tools), case)
        return found

    def write(self, known: Familiar, edits: tuple[Edit, ...], value: Value) -> Changes:
        """Write an array with some places of its body changed.

        It is remembered if that takes no more room than an array may have bytes.

        Raises:
            LookupError: For an edit of a tool that is not there.
        """
        changes = Changes.of(edits)
        below = changes.below.get("tools")
        size = _EDIT * (1 + len(edits))
        if below is None or below.here is None:
            pieces: list[Piece] = []
            value.write(pieces, below)
            whole = changes.below["tools"] = Changes()
            whole.here = b"".join(pieces)
            size += len(whole.here)
        if size <= MAX_LENGTH:
            self._take(size)
            known.keep(edits, changes)
        return changes

    def forget(self) -> None:
        """Begin anew."""
        self._found.clear()
        self._room = MAX_BYTES

    def _take(self, size: int) -> None:
        if size > self._room or len(self._found) >= MAX_ARRAYS:
            self.forget()
        self._room -= size


MEMORY: Final = Memory()


def read_again(value: Value) -> Carrier:
    """Read an array whose bytes were read before."""
    toolbox = Toolbox(Opener(Budget(b"")))
    list(toolbox.read(value, "tools"))  # to its end
    return toolbox.carriers[value.pointer]


def case_of_tools(carrier: Carrier) -> tuple[str | bytes, ...] | None:
    """Spell the image tools, and name the others, whose type is all that counts.

    It begins with where they stand; None where an image tool is not short.
    """
    spelled: list[str | bytes] = [carrier.pointer]
    for tool in carrier.tools:
        if not tool.is_image:
            spelled.append(tool.type)
            continue
        pieces: list[Piece] = []
        tool.value.write(pieces)
        if sum(map(len, pieces)) > MAX_CASE:
            return None  # before a mask of megabytes is copied
        spelled.append(b"".join(pieces))
    return tuple(spelled)


def _is_plain(tool: Tool) -> bool:
    known = _PLAIN.get(tool.type)
    flat = not (tool.is_image and tool.value.nests)
    return known is not None and flat and tool.value.names <= known
