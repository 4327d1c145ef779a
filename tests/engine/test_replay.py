"""A request decided again, from its record alone."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asking import (
    AZURE,
    CATALOGUE,
    HEADER,
    IMAGES,
    RESPONSES,
    TODAY,
    encode,
    policy,
    tool,
)

from imagegate import shipped
from imagegate.engine.body import read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.errors import MalformedRequest, Unidentified
from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate
from imagegate.engine.policy import Policy, Principal
from imagegate.engine.records import DecisionRecord
from imagegate.engine.replay import decide_again, rebuild, word_of
from imagegate.engine.surface import Lost, Match, find_door
from imagegate.policycases import case_files
from imagegate.policycases.case import Case, read_case
from imagegate.policycases.compare import found_in
from imagegate.policycases.question import Question, _door_of
from imagegate.policyfile import load_policy

OBSERVE = "version: 1\nname: p\nowner: o\nmode: observe\n"
LOW = tool(quality="low", size="1024x1024", moderation="auto")
SHIPPED = [
    pytest.param(folder / "policy.yaml", path, id=f"{name}/{word}/{path.stem}")
    for name, folder in shipped.policies().items()
    for path, word in case_files(folder)
]


def recorded(rules: Policy, door: Match | Lost, question: Question) -> DecisionRecord:
    """Decide as the gateway does, and keep the record as a reader has it."""
    gate = Gate(rules, CATALOGUE, hash_key=b"k")
    context = Context(
        decision_id="d",
        door=door,
        date=question.date,
        principal=question.principal,
        query=question.path.partition("?")[2],
    )
    exchange = Exchange(gate, context)
    try:
        body = None
        judged = isinstance(door, Match) and gate.decider.stance(door.door) == "enforce"
        if isinstance(door, Match) and judged and door.door.reading != "none":
            body = read_body_now(question.data, places=door.door.places)
        ruling = exchange.request(body, question.headers, question.seen)
    except MalformedRequest as error:
        ruling = exchange.malformed(error)
    line = msgspec.json.encode(ruling.record)
    return msgspec.json.decode(line, type=DecisionRecord)


def asked(
    value: object,
    rules: Policy | None = None,
    at: str = RESPONSES,
    **more: Any,
) -> DecisionRecord:
    """Record a decision on a request of these tests."""
    method, _, path = at.partition(" ")
    question = Question(data=encode(value), date=TODAY, **more)
    return recorded(rules or policy(), find_door(method, path), question)


def again(record: DecisionRecord, rules: Policy | str) -> str | None:
    """Decide again under other rules; return the word."""
    said = policy(rules) if isinstance(rules, str) else rules
    found = decide_again(Decider(said, CATALOGUE), record, TODAY)
    return None if found is None else word_of(found)


@pytest.mark.parametrize(("file", "path"), SHIPPED)
def test_every_shipped_case_is_decided_alike_from_its_record(
    file: Path, path: Path
) -> None:
    """The same word, by the same rules: a record holds all that was asked about."""
    rules = load_policy(
        file.read_bytes(), file=str(file), catalogue=CATALOGUE, today=TODAY
    )
    case = read_case(path, "forward", today=TODAY)
    assert isinstance(case, Case)
    record = recorded(rules, _door_of(case.question), case.question)

    found = decide_again(Decider(rules, CATALOGUE), record, case.question.date)

    assert found is not None
    assert word_of(found) == record.decision
    if not isinstance(found, str):
        cited = {finding.rule for finding in (*record.changes, *record.violations)}
        assert found_in(found).rules == cited


@pytest.mark.parametrize(
    ("value", "at", "more", "rules", "expected"),
    [
        ({"tools": [LOW]}, RESPONSES, {}, "tool: block", "block"),
        ({"tools": [LOW]}, RESPONSES, {}, "tool: strip", "rewrite"),
        (
            {"tools": [tool(quality="high")]},
            RESPONSES,
            {},
            "settings: { quality: { max: low, default: low, otherwise: lower } }",
            "rewrite",
        ),
        (
            {"tools": [tool(svg={"model": "gpt-5"})]},
            RESPONSES,
            {},
            "settings: { svg.model: { allow: [gpt-6], default: gpt-6 } }",
            "block",
        ),
        (
            {"tools": [{"type": "mcp", "tools": [LOW]}]},
            RESPONSES,
            {},
            "tool: strip",
            "rewrite",
        ),
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [LOW]}]},
            RESPONSES,
            {},
            "tool: strip",
            "rewrite",
        ),
        (
            {"tools": [tool(input_image_mask={"file_id": "f"})]},
            RESPONSES,
            {},
            "settings: { input_image_mask: block }",
            "block",
        ),
        (
            {"tools": [tool(name="n")]},
            RESPONSES,
            {},
            "fields: { deprecated: block }",
            "block",
        ),
        ({"tool_choice": "required"}, RESPONSES, {}, "tool: strip", "rewrite"),
        (
            {"tools": [{"type": "web_search"}], "tool_choice": "required"},
            RESPONSES,
            {},
            "tool: strip",
            "forward",
        ),
        (
            {"tool_choice": {"type": "image_generation"}},
            RESPONSES,
            {},
            "tool: block",
            "block",
        ),
        (
            {"agent_reference": {"name": "a", "version": "3"}, "agent": {"x": 1}},
            RESPONSES,
            {},
            "state: { agents: allow }",
            "forward",
        ),
        (
            {"prompt": {"id": "pmpt_1"}, "multi_agent": {"x": 1}},
            RESPONSES,
            {},
            "state: { prompt: [pmpt_1], multi_agent: allow }",
            "forward",
        ),
        (
            {"input": [{"type": "item_reference", "id": "ig_1"},
                       {"type": "compaction"}, {"id": "sk-1"}]},
            RESPONSES,
            {},
            "state: { item_reference: allow, compaction: allow }",
            "forward",
        ),
        (
            {"previous_response_id": "r", "response_id": "r", "conversation": "c"},
            RESPONSES,
            {"seen": frozenset({"r", "c"})},
            "state: { previous_response: seen, conversation: seen }",
            "forward",
        ),
        (
            {"tools": [LOW], "max_tool_calls": 9},
            RESPONSES,
            {},
            "limits: { max_tool_calls: { max: 2, otherwise: block } }",
            "block",
        ),
        ({"input": "x"}, AZURE, {"headers": ((HEADER, "gpt-image-2"),)},
         "tool: strip", "rewrite"),
        ({"prompt": "x", "n": 3}, IMAGES, {}, "limits: { images_api_n: 1 }", "block"),
        (
            {"prompt": "x", "model": "gpt-image-2"},
            "POST /openai/deployments/gpt-image-2/images/generations",
            {},
            "tool: block",
            "block",
        ),
        (
            {"items": [{"type": "additional_tools", "tools": [LOW]}]},
            "POST /v1/conversations",
            {},
            "tool: strip",
            "rewrite",
        ),
        (
            {"definition": {"kind": "prompt", "tools": [LOW]}},
            "POST /api/projects/p/agents/a/versions",
            {},
            "tool: strip",
            "rewrite",
        ),
        (
            {"type": "response.steer", "previous_response_id": "resp_1"},
            "WEBSOCKET /v1/responses",
            {},
            "state: { previous_response: allow }",
            "forward",
        ),
        (
            {"input": "x"},
            "POST /api/projects/p/agents/a/endpoint/protocols/openai/responses",
            {},
            "surface: { agent_endpoints: enforce }\nstate: { agents: allow }",
            "forward",
        ),
        ({"tools": [{"type": "Image_Gen"}]}, RESPONSES, {}, "tool: allow", "block"),
        (b'{"a":1,"a":2}', RESPONSES, {}, "surface: { batches: pass }", "block"),
        (
            b'{"conversation":{"id":"a","id":"b"}}',
            RESPONSES,
            {},
            "state: { conversation: allow }",
            "block",
        ),
        ({}, "GET /v1/responses/resp_1", {}, "tool: block", "forward"),
        ({}, "POST /v1/batches", {}, "surface: { batches: refuse }", "block"),
        ({}, "POST /v1/nothing", {}, "tool: allow", "block"),
    ],
)  # fmt: skip
def test_another_policy_says_what_it_would_have_said(
    value: object, at: str, more: dict[str, Any], rules: str, expected: str
) -> None:
    """Whatever the first one did: it only observed."""
    watching = policy(
        "surface: { batches: pass, agent_endpoints: enforce }", head=OBSERVE
    )
    record = asked(value, watching, at, **more)
    first = asked(value, policy(rules), at, **more)

    assert again(record, rules) == expected == first.decision


def test_what_nobody_read_cannot_be_decided_anew() -> None:
    """A door was closed, and is open now: nobody knows what was asked."""
    closed = policy("surface: { images_api: refuse }")
    passed = policy("surface: { images_api: pass }")

    assert again(asked({"prompt": "x"}, closed, IMAGES), "") is None
    assert again(asked({"prompt": "x"}, passed, IMAGES), "") is None
    assert again(asked({"prompt": "x"}, passed, IMAGES), closed) == "block"


def opened(rules: Policy) -> DecisionRecord:
    """Record that a WebSocket is opened, before any message."""
    context = Context(
        decision_id="d", door=find_door("WEBSOCKET", "/v1/responses"), date=TODAY
    )
    return Exchange(Gate(rules, CATALOGUE), context).request(None).record


def test_a_websocket_is_opened_again_and_its_messages_are_judged_alone() -> None:
    """What opens it brings no message, and so none of an unknown type."""
    closed = policy("surface: { websocket: refuse }")
    at = "WEBSOCKET /v1/responses"
    strange = asked({"type": "response.strange"}, policy(), at)

    assert again(opened(policy()), "tool: allow") == "forward"
    assert again(opened(policy()), closed) == "block"
    assert again(opened(closed), "tool: allow") == "forward"
    assert again(strange, "tool: allow") == "block"


def test_who_was_not_known_is_refused_by_every_policy() -> None:
    """Also where a body is never read, so that there is nothing else to refuse."""
    context = Context(
        decision_id="d", door=find_door("GET", "/v1/responses/resp_1"), date=TODAY
    )
    exchange = Exchange(Gate(policy(), CATALOGUE), context)
    record = exchange.malformed(Unidentified("expired_api_key", "expired")).record

    assert again(record, "tool: allow") == "block"


def test_a_disguise_is_refused_by_every_policy_that_acts() -> None:
    """One that only observes lets it go on."""
    record = asked({"tools": [{"type": "Image_Gen"}]})

    assert again(record, "tool: allow") == "block"
    assert again(record, policy(head=OBSERVE)) == "forward"


def test_who_asked_is_who_asks_again() -> None:
    """With what the layers of the policy match on, and on the day that is said."""
    text = """
    settings: { quality: { max: low, default: low } }
    teams:
      design:
        match: { team: design }
        settings: { quality: { max: high, loosens: true } }
    """
    who = Principal(
        id="anna",
        attributes={"team": ("design",), "mail": ("a@example.com",)},
        verified=True,
        source="key",
    )
    record = asked({"tools": [tool(quality="high")]}, policy(text), principal=who)
    later = TODAY + datetime.timedelta(days=9)
    request = rebuild(record, later).request

    assert request is not None
    assert request.date == later
    assert request.principal == msgspec.structs.replace(
        who, attributes={"team": ("design",)}
    )
    assert again(record, policy(text)) == "forward"
    assert again(record, "settings: { quality: { max: low, default: low } }") == "block"


def test_nothing_of_a_prompt_is_rebuilt() -> None:
    """It is not in the record."""
    record = asked({"input": "CANARY", "tools": [tool(quality="CANARY")]})
    request = rebuild(record, TODAY).request

    assert request is not None
    assert request.body is not None
    assert b"CANARY" not in bytes(request.body.rewritten())
