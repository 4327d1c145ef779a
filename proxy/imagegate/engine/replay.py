"""A request decided again, from its record alone: what would another policy say?

A record holds all that a policy can ask about, so a request can be rebuilt from it
that is decided alike. It is not the request that was made: prompts, other tools
and names that nobody knows are stand-ins.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from imagegate.engine.body import IMAGE_TOOL, Body, read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Decision, Rewrite
from imagegate.engine.paths import put
from imagegate.engine.policy import Principal
from imagegate.engine.quota import QUOTAS, Count, Counter, Standing
from imagegate.engine.records import (
    DecisionRecord,
    ReferenceRecord,
    ToolRecord,
)
from imagegate.engine.request import Request
from imagegate.engine.scene import PATHS
from imagegate.engine.surface import (
    DOORS,
    FAMILIES,
    IMAGE_DEPLOYMENT_HEADER,
    Match,
)

Verdict: TypeAlias = Literal["forward", "rewrite", "block"]
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "prompt": ("prompt",),
    "agents": ("agent_reference", "agent"),
    "conversation": ("conversation",),
    "previous_response": ("previous_response_id", "response_id"),
    "structured_inputs": ("structured_inputs",),
    "multi_agent": ("multi_agent",),
}
_UNKNOWN_MESSAGE: Final = "always.message_type"
_NOT_REBUILT: Final = frozenset(
    {
        "always",
        "always.agent_kind",
        "always.choice_settings",
        "always.header",
        "always.image_model",
        _UNKNOWN_MESSAGE,
        "always.query",
        "always.tool_type",
        "always.tools",
    }
)
"""What was refused because of a spelling that the record does not repeat."""
_STAND_IN: Final = {"stand_in": 1}
"""An object that names nothing."""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A request rebuilt from its record.

    Attributes:
        request: What can be decided again.
        always: It broke what always holds: the rebuilt one does not.
        read: The body had been read, and is rebuilt; else nothing is known of it.
        judged: It could be judged at all.
    """

    request: Request | None
    always: bool
    read: bool
    judged: bool


_STAGED: Final = frozenset({"file", "batch"})
"""How bodies are read of which a record tells too little: the lines of a file."""


def decide_again(
    decider: Decider, record: DecisionRecord, date: datetime.date
) -> Decision | Verdict | None:
    """Decide again on a request, under whatever policy.

    Args:
        decider: The policy.
        record: Of the decision that was made.
        date: The day to decide for; the sink stamped the record with its own.

    Returns:
        The decision. Only its word where the record does not say why: what nobody
        can judge is refused by every policy. None where this policy would read a
        body of which the record knows nothing, because nobody read it then.
    """
    replay = rebuild(record, date)
    request = replay.request
    if request is None:
        return "block"
    door = request.match.door
    reads, enforced = door.reading != "none", decider.stance(door) == "enforce"
    if not replay.judged and (enforced or not reads):
        return "block"
    if enforced and reads:
        if door.reading in _STAGED or not (replay.read or request.is_message):
            return None
        page = decider.book.page(request.principal, request.date)
        if replay.always and page.acting.always:
            return "block"
    return decider.decide(request)


def word_of(decision: Decision | Verdict) -> Verdict:
    """Say which of the three it is."""
    if isinstance(decision, str):
        return decision
    if isinstance(decision, Block):
        return "block"
    return "rewrite" if isinstance(decision, Rewrite) else "forward"


def rebuild(record: DecisionRecord, date: datetime.date) -> Replay:
    """Rebuild a request from the record of its decision."""
    closed = any(each.rule.startswith("surface.") for each in record.violations)
    said = (*record.violations, *record.observed)
    always = any(finding.rule in _NOT_REBUILT for finding in said)
    judged = record.event != "imagegate.request_malformed" and record.whole
    match = _match(record)
    if match is None:
        return Replay(request=None, always=always, read=False, judged=False)
    read = judged and record.inspected and not closed and match.door.reading != "none"
    named = record.message_type or any(x.rule == _UNKNOWN_MESSAGE for x in said)
    opens = match.door.method == "WEBSOCKET" and not named
    request = Request(
        match=match,
        date=date,
        body=_body(record, match) if read and not opens else None,
        headers=_headers(record, match),
        query=_query(record),
        principal=Principal(
            id=record.principal_id,
            attributes=record.principal_matched,
            verified=record.principal_verified,
            source=record.principal_source,
        ),
        seen=frozenset(x.id for x in record.references if x.seen and x.id is not None),
        standing=_standing(record),
    )
    return Replay(request=request, always=always, read=read, judged=judged)


def _standing(record: DecisionRecord) -> Standing:
    """Put the counters where they stood."""
    counts: dict[Counter, Count] = {}
    price: int | None = 0
    currency = ""
    verified = record.principal_verified
    for told in record.quotas:
        quota = QUOTAS[told.quota]
        counter = Counter(quota, told.team or "", verified)
        if quota.by == "principal":
            who, source = record.principal_id, record.principal_source
            counter = Counter(quota, who, verified, source)
        elif quota.by == "everyone":
            counter = Counter(quota)
        counts[counter] = Count(used=told.used, held=told.held, since=told.since)
        if quota.what == "cost":
            price, currency = told.asks, told.currency or ""
    return Standing(
        counts=counts, inherits=record.inherits, price=price, currency=currency
    )


def _match(record: DecisionRecord) -> Match | None:
    door = next((door for door in DOORS if door.name == record.door), None)
    if door is None or record.family is None:
        return None
    family = FAMILIES[record.family]
    path = family.base + door.route
    params: dict[str, str] = {}
    if "{agent}" in path and door.reading != "agent":
        named = (x.id for x in record.references if x.kind == "agents")
        params["agent"] = next(named, None) or ""
    if "{deployment}" in path:
        params["deployment"] = str(record.image_deployment)
    return Match(door=door, family=family, params=params)


def _headers(record: DecisionRecord, match: Match) -> tuple[tuple[str, str], ...]:
    chosen = tuple(map(_preview, record.previews))
    named = record.image_deployment
    if named is None or "deployment" in match.params:
        return chosen
    return (*chosen, (IMAGE_DEPLOYMENT_HEADER, str(named)))


def _preview(named: str) -> tuple[str, str]:
    """Opt into a preview again: by a list of them, or by a header of its own."""
    return (named, "1") if named.startswith("x-ms-") else ("openai-beta", named)


def _query(record: DecisionRecord) -> str:
    return f"api-version={record.api_version}" if record.api_version else ""


# -- the body ---------------------------------------------------------------------


def _body(record: DecisionRecord, match: Match) -> Body:
    door = match.door
    match door.reading:
        case "images":
            made = _image_call(record, match)
        case "agent":
            definition = {"kind": "prompt", **_tools(record), **_choice(record)}
            made = {"definition": definition}
        case "items":
            made = {"items": _items(record)}
        case _:
            made = _response(record, match)
    return read_body_now(msgspec.json.encode(made), places=door.places)


def _image_call(record: DecisionRecord, match: Match) -> dict[str, Any]:
    made: dict[str, Any] = {"prompt": "stand-in", "n": record.n}
    for tool in record.tools:
        made |= _settings(tool)
    if "deployment" in match.params and made.get("model") == record.image_deployment:
        del made["model"]
    return made


def _response(record: DecisionRecord, match: Match) -> dict[str, Any]:
    made: dict[str, Any] = {
        "input": _items(record),
        **_tools(record),
        **_choice(record),
    }
    if record.message_type is not None:
        made["type"] = record.message_type
    if record.max_tool_calls is not None:
        made["max_tool_calls"] = record.max_tool_calls
    left = {kind: [*keys] for kind, keys in _KEYS.items()}
    if "agent" in match.params:
        left["agents"].insert(0, "")  # it stands in the path
    for reference in record.references:
        keys = left.get(reference.kind, [])
        key = keys.pop(0) if keys else ""
        if key:
            made[key] = _reference(reference)
    strange = [_image_tool(t) for t in record.tools if t.carrier == "unknown"]
    if strange:
        made["stand_in"] = {"tools": strange}
    return made


def _tools(record: DecisionRecord) -> dict[str, Any]:
    tools = [_image_tool(tool) for tool in record.tools if tool.carrier == "tools"]
    inner = [_image_tool(tool) for tool in record.tools if tool.carrier == "namespace"]
    if inner:
        tools.append({"type": "namespace", "name": "stand_in", "tools": inner})
    if record.other_tools > bool(inner):
        tools.append({"type": "function", "name": "stand_in"})
    return {"tools": tools}


def _choice(record: DecisionRecord) -> dict[str, Any]:
    if record.tool_choice is None:
        return {}
    named = record.tool_choice == "image_generation"
    return {"tool_choice": {"type": IMAGE_TOOL} if named else record.tool_choice}


def _items(record: DecisionRecord) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {"type": tool.carrier, "tools": [_image_tool(tool)]}
        for tool in record.tools
        if tool.carrier in {"additional_tools", "tool_search_output"}
    ]
    for reference in record.references:
        if reference.kind == "item_reference":
            items.append({"type": "item_reference", "id": reference.id or ""})
        elif reference.kind == "compaction":
            items.append({"type": "compaction"})
    return items


def _reference(reference: ReferenceRecord) -> Any:  # noqa: ANN401 - JSON
    if reference.id is None:
        return _STAND_IN
    if reference.kind == "agents":
        name, _, version = reference.id.partition("@")
        return {"name": name, **({"version": version} if version else {})}
    return {"id": reference.id} if reference.kind == "prompt" else reference.id


def _image_tool(tool: ToolRecord) -> dict[str, Any]:
    made = {"type": IMAGE_TOOL, **_settings(tool)}
    if tool.mask:
        made["input_image_mask"] = {"file_id": "stand-in"}
    return made


def _settings(tool: ToolRecord) -> dict[str, Any]:
    made: dict[str, Any] = dict.fromkeys(tool.deprecated, "stand-in")
    made |= {f"stand_in_{number}": 1 for number in range(tool.unknown)}
    for name, value in tool.requested.items():
        put(made, PATHS[name], value)
    return made
