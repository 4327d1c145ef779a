"""Open what may be long: a value, all of it, within bounds of memory and time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from imagegate.engine.outline import Budget
from imagegate.engine.strict import SMALL, check_keys, read_elements, too_many
from imagegate.engine.value import Value
from imagegate.engine.walk import Walk

# Values opened all the way down: half a second. The lists of a hundred tools of an
# MCP server have some ten thousand.
MAX_NODES: Final = 50_000
# How often a body may be gone through for long values in long values. A picture
# that is a member of a member of a tool takes four times.
MAX_PASSES: Final = 16
# Half a millisecond of opening.
_STRIDE: Final = 500
# Taking this much apart costs as much as a value does.
_NODE: Final = 2_000


class Opener:
    """Opens values of one body, and counts them.

    Attributes:
        budget: How much structure the body may have.
    """

    __slots__ = ("_bytes", "_nodes", "_work", "budget")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._bytes = self._nodes = self._work = 0

    def level(self, value: Value) -> Iterator[None]:
        """Open one level of a value; a long one in pieces.

        Raises:
            MalformedRequest: For too much of it, and what opening it finds.
        """
        if value.opened or value.kind not in ("object", "array"):
            return
        if len(value.raw) > SMALL:
            yield from self._long(value)
        elif value.kind == "array":
            raws = read_elements(value.raw, pointer=value.reach())
            for start in range(0, len(raws) or 1, _STRIDE):
                value.adopt_elements(raws[start : start + _STRIDE])
                yield from self.pause(min(len(raws), _STRIDE))

    def _long(self, value: Value) -> Iterator[None]:
        pointer = value.reach()
        self._bytes += len(value.raw)
        if self._bytes > MAX_PASSES * self.budget.size:
            raise too_many(pointer)
        text, at = value.where or (value.spelling, 0)
        walk = Walk(text, self.budget)
        yield
        if value.kind == "object":
            row, _ = yield from walk.members(at, pointer=pointer)
            check_keys(row, pointer=pointer, known=value.known)
            value.adopt(row)
            return
        spans = yield from walk.elements(at, pointer=pointer)
        for start in range(0, len(spans) or 1, _STRIDE):
            value.adopt_spans(text, spans[start : start + _STRIDE])
            yield

    def all(
        self,
        value: Value,
        *,
        known: AbstractSet[str] | None = None,
        look: Callable[[Value], Iterator[None]] | None = None,
    ) -> Iterator[None]:
        """Open a value all the way down.

        Args:
            value: What to open.
            known: The keys that no member may merely resemble, if not the value's.
            look: What to do with each level once it is open.

        Raises:
            MalformedRequest: For too many values, and what opening one finds.
        """
        stack = [(value, False)]
        while stack:
            node, done = stack.pop()
            if done:
                node.freeze()
                continue
            if known is not None:
                node.known = known
            if not node.opened:
                yield from self.level(node)
            stack.append((node, True))
            stack += [(child, False) for child in self.containers(node)]
            if self._work >= _STRIDE:
                yield from self.pause()
            if look is not None:
                yield from look(node)

    def containers(self, node: Value) -> list[Value]:
        """Open one level within the bounds; give what in it can be opened."""
        found = node.containers()
        self._nodes += 1 + node.size
        if self._nodes > MAX_NODES:
            raise too_many(node.pointer)
        self._work += 1 + node.size + len(node.raw) // _NODE
        return found

    def pause(self, work: int = 1) -> Iterator[None]:
        """Let others run when enough has been done."""
        self._work += work
        if self._work >= _STRIDE:
            self._work = 0
            yield
