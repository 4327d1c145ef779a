"""Items as they are stored and listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from imagegate.simulator.call import Call
from imagegate.simulator.refusal import refusal
from imagegate.simulator.run import Run
from imagegate.simulator.wire import Answer, json_answer

Item = dict[str, Any]
_PAGE = 20


def items_of(run: Run) -> list[Item]:
    """Return what a response was made from, oldest first."""
    given = run.body.get("input", "")
    if isinstance(given, str):
        content = [{"type": "input_text", "text": given}]
        given = [{"type": "message", "role": "user", "content": content}]
    return [
        {"id": run.ident("msg", -1 - place)} | whole(item)
        for place, item in enumerate(given)
    ]


def whole(item: Item) -> Item:
    """Return an item as it is stored: messages have a type, and a list of parts."""
    if isinstance(item.get("content"), str):
        part = {"type": "input_text", "text": item["content"]}
        return {"type": "message"} | item | {"content": [part]}
    return item


def page_of(call: Call, items: Iterable[Item], *, usual: int = _PAGE) -> Answer:
    """Answer a page of items that come oldest first: the newest, unless told else."""
    listed = list(items)
    if call.query("order") != "asc":
        listed.reverse()
    idents = [item["id"] for item in listed]
    after = call.query("after")
    start = idents.index(after) + 1 if after in idents else 0
    page = listed[start : start + whole_number(call, "limit", default=usual)]
    return json_answer(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(listed) > start + len(page),
        }
    )


def whole_number(call: Call, name: str, *, default: int) -> int:
    """Return a parameter of the query that is a number."""
    text = call.query(name)
    if text is None:
        return default
    if not text.isdecimal():
        message = f"Invalid '{name}': expected an integer."
        raise refusal(message, param=name, code="invalid_type")
    return int(text)
