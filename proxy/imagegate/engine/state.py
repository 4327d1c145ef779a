"""What brings in state that cannot be seen: stored prompts, agents, conversations.

Such a reference makes a request without tools run with tools that were defined
earlier, elsewhere, or under another policy.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagegate.engine.body import Body
from imagegate.engine.decision import Violation
from imagegate.engine.items import Item
from imagegate.engine.request import Request
from imagegate.engine.scene import Scene, reason_of
from imagegate.engine.value import Value


def judge_state(scene: Scene, request: Request, body: Body) -> Iterator[Violation]:
    """Yield what the policy refuses among the references of a request."""
    for pointer, stance, name in references(request, body):
        word, line = scene.book.rules.stance(stance)
        if line is None or (word == "seen" and name in request.seen):
            continue
        if is_allowed(word, name):
            continue
        kind = stance.partition(".")[2]
        said = {
            "seen": "was not made through this gateway by you, or holds a tool that "
            "would not pass as it is today",
            "refuse": "is not allowed: what it brings in cannot be seen",
        }.get(str(word), "is not among those allowed")
        field = pointer.rpartition("/")[2]
        yield Violation(
            pointer=pointer,
            field=kind if field.isdigit() else field,
            before=None,
            by=reason_of(line),
            message=f"this {kind.replace('_', ' ').removesuffix('s')} {said}",
            fix=f"send the request without `{field}`"
            if not field.isdigit()
            else ("send the item itself in the place of its id"),
        )


def is_allowed(word: str | tuple[str, ...], name: str) -> bool:
    """Tell whether what a policy says of references lets one pass by its name."""
    return _listed(name, word) if isinstance(word, tuple) else word == "allow"


def references(request: Request, body: Body) -> Iterator[tuple[str, str, str]]:
    """Yield each reference: where it stands, the stance that rules it, and its id."""
    agent = request.match.params.get("agent")
    if agent is not None:
        # No list names an agent with the sign that sets off a version.
        yield "", "state.agents", "" if _VERSIONED in agent else agent
    if request.match.door.reading == "batch":
        yield "/input_file_id", "state.batch_file", staged_file(body)
        return
    if request.match.door.reading in _PLAIN:
        return
    if not REFERRING.isdisjoint(body.names):
        yield from _members(body)
    for item in body.items:
        if item.id is not None:
            yield item.pointer, "state.item_reference", item.id
        elif refers(item):
            yield item.pointer, "state.compaction", ""


def staged_file(body: Body) -> str:
    """Name what a batch runs, as it is known here: a file, and what it is for."""
    said = [body.get(key) for key in ("input_file_id", "endpoint")]
    file, url = (None if value is None else value.text() for value in said)
    return staged_name(file, url) if file and url else ""


def staged_name(file: str, url: str) -> str:
    """Name a batch file that is for one route, with its version or without it."""
    return f"{file}{_VERSIONED}{url.removeprefix('/v1')}"


def refers(item: Item) -> bool:
    """Tell whether an item brings in what is not in it."""
    return item.id is not None or item.compacts


def _members(body: Body) -> Iterator[tuple[str, str, str]]:
    for key, stance in _MEMBERS.items():
        value = body.get(key)
        if value is not None and not value.is_null:
            yield f"/{key}", stance, _id_of(key, value)


_MEMBERS = {
    "prompt": "state.prompt",
    "agent_reference": "state.agents",
    "agent": "state.agents",
    "conversation": "state.conversation",
    "previous_response_id": "state.previous_response",
    "response_id": "state.previous_response",
    "structured_inputs": "state.structured_inputs",
    "multi_agent": "state.multi_agent",
}
REFERRING = frozenset(_MEMBERS)
"""The members of a request that refer to something."""

_PLAIN = frozenset({"file", "images"})
"""How bodies are read whose members mean nothing of the kind: a prompt is a text."""
_VERSIONED = "@"
_SHAPES = {
    "prompt": {"id", "version", "variables"},
    "agent_reference": {"type", "name", "version"},
    "agent": {"type", "name", "version"},
    "conversation": {"id"},
}
"""What a reference may say; another member may be another way to name it."""


def _id_of(key: str, value: Value) -> str:
    """Name what is referred to; a shape that names nothing is in no list."""
    text = value.text()
    if text is not None:
        return "" if _VERSIONED in text else text
    named = "name" if key.startswith("agent") else "id"
    name, version = value.get(named), value.get("version")
    if name is None or not value.members().keys() <= _SHAPES.get(key, set()):
        return ""
    stem = name.text() or ""
    if not stem or _VERSIONED in stem:
        return ""
    tail = "" if version is None or version.is_null else f"@{version.text() or '?'}"
    return f"{stem}{tail}"


def _listed(name: str, allowed: tuple[str, ...]) -> bool:
    """Look an id up, with its version or for every version of it."""
    return name in allowed or name.partition(_VERSIONED)[0] in allowed
