"""The routes under `/conversations`: items that stay, and responses that add some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from imagegate.simulator.call import Call
from imagegate.simulator.counter import Counter, derived, time_of
from imagegate.simulator.fields import Items, Kind, Strings
from imagegate.simulator.image_tool import Tool
from imagegate.simulator.items import Item, items_of, page_of, whole
from imagegate.simulator.refusal import (
    Refusal,
    invalid_type,
    missing_parameter,
    refusal,
    unknown_parameter,
)
from imagegate.simulator.response_object import output_of
from imagegate.simulator.run import Run
from imagegate.simulator.wire import Answer, json_answer

_KINDS: dict[str, Kind] = {"items": Items(), "metadata": Strings()}


class _Kept(msgspec.Struct, kw_only=True):
    """One conversation: what came into it, oldest first."""

    ident: str
    created_at: int
    metadata: Any
    entries: list[Item | Run] = []

    def items(self) -> Iterator[Item]:
        """Yield what there is to be listed."""
        for entry in self.entries:
            if isinstance(entry, Run):
                yield from items_of(entry)
                yield from output_of(entry) if entry.status == "completed" else ()
            else:
                yield entry


class Conversations:
    """What is kept of them, and what can be done with it."""

    def __init__(self, counter: Counter, *, keep: int) -> None:
        self._counter = counter
        self._keep = keep
        self._kept: dict[str, _Kept] = {}

    def tools(self, ident: str) -> list[Tool] | None:
        """Return the tools that were put into a conversation; None if there is none."""
        kept = self._kept.get(ident)
        if kept is None:
            return None
        return [tool for item in kept.items() for tool in item.get("tools") or ()]

    def add_run(self, ident: str, run: Run) -> None:
        """Take note of a response that is made in a conversation."""
        kept = self._kept.get(ident)
        if kept is not None:
            kept.entries.append(run)

    def create(self, call: Call) -> Answer:
        """Begin one."""
        body = _checked(call, "items", "metadata")
        number = self._counter.next()
        ident = self._counter.ident("conv", number)
        metadata = body.get("metadata") or {}
        kept = _Kept(ident=ident, created_at=time_of(number), metadata=metadata)
        self._kept[ident] = kept
        self._add(kept, body.get("items") or [])
        if len(self._kept) > self._keep:
            del self._kept[next(iter(self._kept))]
        return _told(kept)

    def retrieve(self, call: Call) -> Answer:
        """Show one."""
        return _told(self._found(call))

    def update(self, call: Call) -> Answer:
        """Put other metadata in the place of the old."""
        kept, body = self._found(call), _checked(call, "metadata")
        kept.metadata = body.get("metadata") or {}
        return _told(kept)

    def delete(self, call: Call) -> Answer:
        """Forget one; its items stay with the responses that they are of."""
        kept = self._found(call)
        del self._kept[kept.ident]
        gone = {"object": "conversation.deleted", "deleted": True}
        return json_answer({"id": kept.ident, **gone})

    def add(self, call: Call) -> Answer:
        """Put items into one."""
        kept, body = self._found(call), _checked(call, "items")
        if not body.get("items"):
            raise missing_parameter("items")
        added = self._add(kept, body["items"])
        ends = {"first_id": added[0]["id"], "last_id": added[-1]["id"]}
        return json_answer({"object": "list", "data": added, **ends, "has_more": False})

    def items(self, call: Call) -> Answer:
        """List what is in one."""
        return page_of(call, self._found(call).items())

    def item(self, call: Call) -> Answer:
        """Show one item."""
        return json_answer(_item(self._found(call), call.item))

    def remove(self, call: Call) -> Answer:
        """Take an item out that was put in."""
        kept = self._found(call)
        item = _item(kept, call.item)
        kept.entries = [entry for entry in kept.entries if entry is not item]
        return _told(kept)

    def _add(self, kept: _Kept, items: list[Item]) -> list[Item]:
        added = []
        for item in map(whole, items):
            ident = f"msg_{derived(self._counter.ident('item', self._counter.next()))}"
            added.append({"id": ident, "status": "completed"} | item)
        kept.entries += added
        return added

    def _found(self, call: Call) -> _Kept:
        kept = self._kept.get(call.ident)
        if kept is None:
            raise _not_found("Conversation", call.ident)
        return kept


def _checked(call: Call, *names: str) -> dict[str, Any]:
    for key, value in call.body.items():
        if key not in names:
            raise unknown_parameter(key)
        if value is not None:
            _KINDS[key].check(value, key)
    if isinstance(items := call.body.get("items"), str):
        raise invalid_type("items", items, expected="an array of objects")
    return call.body


def _item(kept: _Kept, ident: str) -> Item:
    for item in kept.items():
        if item["id"] == ident:
            return item
    raise _not_found("Item", ident)


def _told(kept: _Kept) -> Answer:
    made = {"id": kept.ident, "object": "conversation"}
    return json_answer(
        {**made, "created_at": kept.created_at, "metadata": kept.metadata}
    )


def _not_found(what: str, ident: str) -> Refusal:
    return refusal(f"{what} with id '{ident}' not found.", status=404)
