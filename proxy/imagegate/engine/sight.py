"""What a request leaves at the provider, and whether that may be referred to later.

The word `seen` lets a request refer to a response or a conversation that was made by
judged requests. What such state holds is known from the decisions that made it. Under
the same policy it may be referred to as it is; under another one its image tools are
judged again, and must pass without a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from imagegate.engine.body import IMAGE_TOOL, read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Rewrite
from imagegate.engine.paths import put
from imagegate.engine.records import MAX_ENTRIES, DecisionRecord, Settings
from imagegate.engine.request import Request
from imagegate.engine.scene import PATHS
from imagegate.engine.state import is_allowed, references, staged_file
from imagegate.engine.surface import DOORS, Match

_CREATE: Final = next(door for door in DOORS if door.name == "responses.create")

UNSEEN: Final[Settings] = {"model": ""}
"""Stands for tools at which nobody looked: no policy that acts lets it pass."""
UNTOLD: Final[Settings] = {"model": "", "size": ""}
"""Stands for more tools than are known: they passed by some rules, and by no others."""

_TURNS: Final = frozenset({"conversation", "previous_response", "item_reference"})
"""What may have been judged here, and what may hold tools where it was not."""
_REVIEWED: Final = frozenset({"agents", "prompt"})
"""What may hold tools, and is allowed by its name for as long as a policy says so."""
_STATE: Final = "state."
_FIELDS: Final = ("fields.deprecated", "fields.unknown")
"""The rules by which members go that are no settings."""


def refers_to(decider: Decider, request: Request) -> tuple[str, ...]:
    """Return the ids that a request refers to, where the policy asks for seen ones.

    A batch refers to nothing else.
    """
    body, reading = request.body, request.match.door.reading
    if body is not None and reading == "batch":
        return tuple(filter(None, [staged_file(body)]))
    if body is None or reading != "responses":
        return ()
    return tuple(
        name
        for _, stance, name in references(request, body)
        if name and _asks(decider, request, stance)
    )


def knows_items(decider: Decider, request: Request) -> bool:
    """Tell whether the items of an answer may be referred to if they were seen."""
    return _asks(decider, request, "state.item_reference")


def _asks(decider: Decider, request: Request, stance: str) -> bool:
    """Tell whether the policy asks for seen state."""
    page = decider.book.page(request.principal, request.date)
    books = (page.acting, page.watched or page.acting)
    return any(book.rules.stance(stance)[0] == "seen" for book in books)


def left_by(
    record: DecisionRecord, inherited: Iterable[Sequence[Settings]] = ()
) -> tuple[Settings, ...] | None:
    """Return the image tools of the state that a request leaves.

    It is None for too many, and where nobody looked.

    Args:
        record: Of the decision.
        inherited: The tools of the state that it refers to.
    """
    told = record.whole and record.tools_count <= len(record.tools)
    if not (told and record.inspected):
        return None
    found: list[Settings] = [tool.enforced for tool in record.tools if tool.sent]
    found += _brought(record)
    for tools in inherited:
        found += [tool for tool in tools if tool not in found]
    return tuple(found) if len(found) <= MAX_ENTRIES else None


def _brought(record: DecisionRecord) -> Iterator[Settings]:
    """Yield what stands for tools of which not all is told."""
    untold = record.references_count > len(record.references)
    # What was allowed unseen was not judged by being used.
    unseen = any(x.kind in _TURNS and not x.seen for x in record.references)
    if untold or unseen or _keeps_strangers(record):
        yield UNTOLD
    for each in record.references:
        if each.kind in _REVIEWED:
            yield {_STATE + each.kind: each.id or ""}


def _keeps_strangers(record: DecisionRecord) -> bool:
    """Tell whether tools were sent with members that are only counted."""
    came = sum(x.unknown + len(x.deprecated) for x in record.tools if x.sent)
    gone = [x for x in record.changes if x.after is None and x.rule.endswith(_FIELDS)]
    return came > len(gone)


def passes(decider: Decider, request: Request, tools: Sequence[Settings]) -> bool:
    """Tell whether image tools would pass today as they are, whoever sends them now.

    Args:
        decider: The policy.
        request: Who asks, when, and through which family of doors.
        tools: Their settings as they were sent.
    """
    rules = decider.book.page(request.principal, request.date).acting.rules
    named = [item for x in tools for item in x.items() if item[0].startswith(_STATE)]
    if not all(is_allowed(rules.stance(key)[0], str(name)) for key, name in named):
        return False
    known = [x for x in tools if not any(key.startswith(_STATE) for key in x)]
    made = {"tools": [_tool(settings) for settings in known]}
    body = read_body_now(msgspec.json.encode(made), places=_CREATE.places)
    asked = Request(
        match=Match(door=_CREATE, family=request.match.family),
        date=request.date,
        body=body,
        principal=request.principal,
    )
    decision = decider.decide(asked)
    if isinstance(decision, Rewrite):
        return not any(c.pointer.startswith("/tools") for c in decision.changes)
    return not isinstance(decision, Block)


def _tool(settings: Settings) -> dict[str, Any]:
    made: dict[str, Any] = {"type": IMAGE_TOOL}
    for name, value in settings.items():
        put(made, PATHS.get(name, (name,)), value)
    return made
