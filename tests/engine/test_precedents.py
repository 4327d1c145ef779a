"""What was decided about the same before: what the same is, and what is kept."""

from __future__ import annotations

from typing import Any

import pytest
from asking import (
    AZURE,
    DESIGN,
    HEADER,
    IMAGES,
    RESPONSES,
    TODAY,
    body,
    carried,
    door,
    policy,
    request,
    tool,
)

from imagegate.engine import precedents as module
from imagegate.engine.policy import ANONYMOUS
from imagegate.engine.precedents import Case, Precedents, case_of
from imagegate.engine.quota import Standing
from imagegate.engine.request import Request
from imagegate.engine.rulebook import Book

AGENT = "POST /api/projects/p/agents/a/endpoint/protocols/openai/responses"
BOOK = Book(policy("teams: { a: { match: { team: design }, tool: block } }"))
CALL = {"type": "function_call", "id": "fc_1", "arguments": "sk-CANARY"}
REFERENCE = {"type": "item_reference", "id": "msg_1"}
FUNCTION = {"type": "function", "name": "f", "description": "sk-CANARY"}


def case(value: object, at: str = RESPONSES, **more: Any) -> Case | None:
    """Return the case of a request."""
    match = door(at)
    read = None if value is None else body(value, match)
    asked = Request(match=match, date=TODAY, body=read, **more)
    return case_of(BOOK.page(asked.principal, TODAY), asked)


ORDINARY = request(tool(quality="high"))


@pytest.mark.parametrize(
    "other",
    [
        request(tool(quality="high"), input="sk-CANARY", instructions="draw a cat"),
        request(tool(quality="high"), input=[CALL, {"role": "user", "content": "x"}]),
        request(tool(quality="high"), user="u", metadata={"a": "b"}, temperature=1.0),
        b'{"tools": [ {"type":"image_generation","quality" :"high"}],"model":"gpt-5"}',
    ],
)
def test_what_no_decision_looks_at_makes_no_other_case(other: object) -> None:
    """What somebody says to the model, who says it, or how it is spaced."""
    assert case(other) == case(ORDINARY)
    assert case(ORDINARY) is not None


@pytest.mark.parametrize(
    "other",
    [
        request(),
        request(tool(quality="low")),
        request(tool(quality="high"), FUNCTION),
        request(tool(quality="high"), tool()),
        request(FUNCTION, tool(quality="high")),
        request(tool(quality="high"), model="gpt-6"),
        request(tool(quality="high"), stream=True),
        request(tool(quality="high"), background=True),
        request(tool(quality="high"), max_tool_calls=1),
        request(tool(quality="high"), max_tool_calls=1.0),
        request(tool(quality="high"), tool_choice="required"),
        request(tool(quality="high"), tool_choice={"type": "image_generation"}),
        request(tool(quality="high"), type="response.create"),
    ],
)
def test_what_a_decision_looks_at_makes_another(other: object) -> None:
    """Byte for byte: `1.0` is not `1`."""
    found = case(other)

    assert found not in (None, case(ORDINARY))
    assert found == case(other)


def test_the_door_the_rules_and_what_a_header_chooses_make_another() -> None:
    """Headers that choose nothing make none, and leave nothing behind."""
    key = ("authorization", "Bearer sk-CANARY")
    found = [
        case(ORDINARY),
        case(ORDINARY, AZURE),
        case(ORDINARY, "POST /v1/responses/compact"),
        case(ORDINARY, principal=DESIGN),
        case(ORDINARY, query="api-version=preview"),
        case(ORDINARY, headers=((HEADER, "img"),)),
        case(ORDINARY, headers=(("openai-beta", "a=v1"),)),
    ]

    assert len(set(found)) == len(found)
    assert case(ORDINARY, headers=(key,)) == case(ORDINARY, principal=ANONYMOUS)


def test_no_tools_are_not_the_same_as_an_empty_array() -> None:
    """Though nothing makes a difference of it now."""
    assert case({"input": "x"}) != case({"input": "x", "tools": []})


def test_nothing_of_another_tool_is_kept_but_its_type() -> None:
    """Some carry the token of a server."""
    found = case(request(tool(), {**FUNCTION, "authorization": "sk-CANARY"}))

    assert found == case(request(tool(), FUNCTION))
    assert "CANARY" not in repr(found)


@pytest.mark.parametrize(
    "value",
    [
        None,
        request(tool(), conversation="conv_1"),
        request(tool(), prompt=None),
        request(tool(), input=[CALL, REFERENCE]),
        request(tool(), input=[{"id": "msg_1"}]),
        request(tool(), input=[CALL, {"type": "compaction", "encrypted_content": "x"}]),
        request(tool(), input=[CALL] * 1_001),
        request({"type": "namespace", "name": "n", "tools": [{"type": "custom"}]}),
        carried("additional_tools", tool()),
        request(tool(), max_tool_calls={"a": 1}),
        request(tool(), model=["gpt-5"]),
        request(tool(input_image_mask={"image_url": "x" * 3_000})),
        request(tool(), model="x" * 3_000),
    ],
)
def test_what_is_not_ordinary_is_no_case(value: object) -> None:
    """It is decided anew each time."""
    assert case(value) is None


def test_what_is_counted_or_comes_another_way_is_no_case() -> None:
    """A credential in a query is never kept."""
    assert case(ORDINARY, standing=Standing(inherits=True)) is None
    assert case(ORDINARY, query="api-version=preview&key=sk-CANARY") is None
    assert case(ORDINARY, query="sk-CANARY") is None
    assert case({"prompt": "x"}, IMAGES) is None
    assert case({"type": "response.create"}, "WEBSOCKET /v1/responses") is None
    assert case({}, AGENT) is None


def test_no_more_is_remembered_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks anew each time fills no memory."""
    monkeypatch.setattr(module, "MAX_PRECEDENTS", 2)
    found: Precedents[int] = Precedents()
    for number in range(5):
        found.keep((number,), number)
        assert found.get((number,)) == number
    found.keep(None, 9)

    assert found.get(None) is None
    assert len(found._found) <= 2
