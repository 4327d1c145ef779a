"""What brings in state that cannot be seen: allowed, seen here, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from asking import AZURE, TODAY, Answer, ask, body, door, request

from imagegate.engine.request import Request
from imagegate.engine.state import references

AGENT_DOOR = "POST /api/projects/p/agents/{}/endpoint/protocols/openai/responses"
OPEN = "surface: { agent_endpoints: enforce }\n"


REFERENCES: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": {"id": "pmpt_1"}}, "/prompt", "state.prompt"),
    ({"prompt": "pmpt_1"}, "/prompt", "state.prompt"),
    ({"prompt": {"prompt_id": "pmpt_1"}}, "/prompt", "state.prompt"),
    ({"agent_reference": {"name": "a"}}, "/agent_reference", "state.agents"),
    ({"agent": {"name": "a"}}, "/agent", "state.agents"),
    ({"conversation": "conv_1"}, "/conversation", "state.conversation"),
    ({"conversation": {"id": "conv_1"}}, "/conversation", "state.conversation"),
    (
        {"previous_response_id": "resp_1"},
        "/previous_response_id",
        "state.previous_response",
    ),
    ({"response_id": "resp_1"}, "/response_id", "state.previous_response"),
    (
        {"structured_inputs": {"q": "max"}},
        "/structured_inputs",
        "state.structured_inputs",
    ),
    ({"multi_agent": {"enabled": True}}, "/multi_agent", "state.multi_agent"),
    ({"multi_agent": False}, "/multi_agent", "state.multi_agent"),
    ({"input": [{"id": "msg_1"}]}, "/input/0", "state.item_reference"),
    ({"input": [{"id": "msg_1", "type": None}]}, "/input/0", "state.item_reference"),
    (
        {
            "input": [
                {"role": "user", "content": "x"},
                {"type": "item_reference", "id": "m"},
            ]
        },
        "/input/1",
        "state.item_reference",
    ),
    (
        {"input": [{"type": "compaction", "encrypted_content": "x"}]},
        "/input/0",
        "state.compaction",
    ),
    *(
        ({"input": [{"type": kind, "id": "m"}]}, "/input/0", "state.item_reference")
        for kind in ("Item_Reference", "item_reference\n", "item-reference")
    ),
    *(
        ({"input": [{"id": "m", **turn}]}, "/input/0", "state.item_reference")
        for turn in (
            {"role": None, "content": "x"},
            {"role": "narrator", "content": "x"},
            {"role": "user", "content": None},
        )
    ),
    *(
        (
            {"input": [{"id": "m", "type": kind, **tools}]},
            "/input/0",
            "state.item_reference",
        )
        for kind in ("additional_tools", "tool_search_output", "Additional_Tools")
        for tools in ({}, {"tools": None})
    ),
    *(
        ({"input": [{"type": kind}]}, "/input/0", "state.compaction")
        for kind in ("compaction_summary", "context_compaction", "Compaction")
    ),
]


@pytest.mark.parametrize(("members", "pointer", "rule"), REFERENCES)
def test_a_reference_is_refused_where_the_policy_is_silent(
    members: dict[str, Any], pointer: str, rule: str
) -> None:
    """Requests fail closed, and the refusal says which line and where."""
    answer = ask("", {"model": "gpt-5", "input": "x"} | members)

    assert answer.word == "block"
    assert (answer.pointers, answer.rules) == ([pointer], [rule])
    assert answer.violations[0].before is None


@pytest.mark.parametrize(("members", "pointer", "rule"), REFERENCES)
def test_a_reference_may_be_allowed(
    members: dict[str, Any], pointer: str, rule: str
) -> None:
    """Knowingly, one by one."""
    name = rule.partition(".")[2]
    answer = ask(
        f"state: {{ {name}: allow }}", {"model": "gpt-5", "input": "x"} | members
    )

    assert answer.word == "forward", pointer


@pytest.mark.parametrize(
    "members",
    [
        {"prompt": None},
        {"conversation": None, "previous_response_id": None, "agent": None},
        {"input": [{"type": "message", "id": "msg_1", "role": "user", "content": "x"}]},
        {"input": [{"id": "msg_1", "role": "user", "content": "x"}]},
        {"input": [{"type": "image_generation_call", "id": "ig_1", "result": "aGk="}]},
        {"input": [{"type": "item_reference", "id": None}]},
        {"input": [{"id": "at_1", "type": "additional_tools", "tools": []}]},
        {"input": [{"type": "additional_tools"}, {"type": "unheard_of", "id": "x"}]},
    ],
)
def test_what_refers_to_nothing_is_no_reference(members: dict[str, Any]) -> None:
    """Null, whole items with their ids, and a reference to nothing."""
    assert ask("", {"model": "gpt-5", "input": "x"} | members).word == "forward"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"conversation": "conv_1"}, "forward"),
        ({"conversation": {"id": "conv_1"}}, "forward"),
        ({"conversation": "conv_2"}, "block"),
        ({"conversation": {"id": "conv_1", "ID2": "conv_2"}}, "block"),
        ({"conversation": {"id": ["conv_1"]}}, "block"),
        ({"conversation": ["conv_1"]}, "block"),
        ({"conversation": {}}, "block"),
        ({"conversation": ""}, "block"),
        ({"previous_response_id": "conv_1"}, "forward"),
        ({"previous_response_id": " conv_1"}, "block"),
        ({"previous_response_id": {"id": "conv_1"}}, "block"),
        ({"input": [{"id": "conv_1"}]}, "forward"),
        ({"input": [{"id": "conv_2"}]}, "block"),
    ],
)
def test_what_was_judged_here_may_be_referred_to(
    members: dict[str, Any], expected: str
) -> None:
    """By its exact id in its plain shape; anything else names nothing."""
    rules = (
        "state: { conversation: seen, previous_response: seen, item_reference: seen }"
    )
    asked = {"model": "gpt-5", "input": "x"} | members

    assert ask(rules, asked, seen=["conv_1"]).word == expected


LIST = "state: { prompt: [pmpt_1, pmpt_2@3], agents: [writer, painter@7] }\n"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("prompt", {"id": "pmpt_1"}, "forward"),
        ("prompt", "pmpt_1", "forward"),
        ("prompt", {"id": "pmpt_1", "version": "9"}, "forward"),
        (
            "prompt",
            {"id": "pmpt_1", "version": None, "variables": {"a": "b"}},
            "forward",
        ),
        ("prompt", {"id": "pmpt_2", "version": "3"}, "forward"),
        ("prompt", {"id": "pmpt_2", "version": "4"}, "block"),
        ("prompt", {"id": "pmpt_2", "version": 3}, "block"),
        ("prompt", {"id": "pmpt_2"}, "block"),
        ("prompt", {"id": "pmpt_2@3"}, "block"),
        ("prompt", {"id": "pmpt_1@evil"}, "block"),
        ("prompt", "pmpt_1@evil", "block"),
        ("prompt", {"id": "pmpt_1", "prompt_id": "pmpt_9"}, "block"),
        ("prompt", {"prompt_id": "pmpt_1"}, "block"),
        ("prompt", {"id": None}, "block"),
        ("prompt", {"id": ["pmpt_1"]}, "block"),
        ("agent_reference", {"type": "agent_reference", "name": "writer"}, "forward"),
        ("agent_reference", {"name": "writer", "version": "2"}, "forward"),
        ("agent_reference", {"name": "writer@2"}, "block"),
        ("agent_reference", {"name": "painter", "version": "7"}, "forward"),
        ("agent_reference", {"name": "painter", "version": "8"}, "block"),
        ("agent_reference", {"name": "painter"}, "block"),
        ("agent_reference", {"name": "Writer"}, "block"),
        ("agent_reference", {"name": "writer", "id": "asst_9"}, "block"),
        ("agent_reference", {"name": "", "version": "x"}, "block"),
        ("agent", {"name": "writer"}, "forward"),
    ],
)
def test_listed_prompts_and_agents_are_allowed(
    key: str, value: object, expected: str
) -> None:
    """In every version, or in the one that was reviewed."""
    asked = {"model": "gpt-5", "input": "x", key: value}

    assert ask(LIST, asked, at=AZURE).word == expected


@pytest.mark.parametrize(
    ("agent", "expected"),
    [("writer", "forward"), ("painter", "block"), ("writer@evil", "block")],
)
def test_an_agent_in_the_path_is_one_too(agent: str, expected: str) -> None:
    """Where its body names none; the path cannot say which version it means."""
    asked = {"input": "x"}
    answer = ask(LIST + OPEN, asked, at=AGENT_DOOR.format(agent))

    assert answer.word == expected
    assert answer.pointers == ([""] if expected == "block" else [])


def refusal(rules: str, members: dict[str, Any]) -> Answer:
    return ask(rules, request() | members)


@pytest.mark.parametrize(
    ("rules", "members", "field", "said", "fix"),
    [
        ("", {"prompt": {"id": "p"}}, "prompt", "not allowed", "without `prompt`"),
        (
            "",
            {"agent_reference": {"name": "a"}},
            "agent_reference",
            "this agent is not allowed",
            "without `agent_reference`",
        ),
        (LIST, {"prompt": "p"}, "prompt", "not among those", "without `prompt`"),
        (
            "state: { conversation: seen }",
            {"conversation": "c"},
            "conversation",
            "through this gateway",
            "without `conversation`",
        ),
        (
            "",
            {"input": [{"id": "m"}]},
            "item_reference",
            "not allowed",
            "in the place of its id",
        ),
    ],
)
def test_a_refusal_says_why_and_what_would_pass(
    rules: str, members: dict[str, Any], field: str, said: str, fix: str
) -> None:
    """In a sentence, without the id."""
    violation = refusal(rules, members).violations[0]

    assert violation.field == field
    assert said in violation.message
    assert fix in violation.fix


BATCH = "POST /v1/batches"
ASKED = {"input_file_id": "file-1", "endpoint": "/v1/responses"}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (ASKED, "file-1@/responses"),
        (ASKED | {"endpoint": "/responses"}, "file-1@/responses"),
        ({"input_file_id": "file-1"}, ""),
        (ASKED | {"input_file_id": 7}, ""),
        (ASKED | {"conversation": "conv_1"}, "file-1@/responses"),
    ],
)
def test_a_batch_refers_to_a_file_and_what_it_is_for(value: Any, name: str) -> None:
    match = door(BATCH)
    asked = Request(match=match, date=TODAY, body=body(value, match))

    found = list(references(asked, body(value, match)))
    assert found == [("/input_file_id", "state.batch_file", name)]


@pytest.mark.parametrize("at", ["POST /v1/files", "POST /v1/images/generations"])
def test_a_form_refers_to_nothing(at: str) -> None:
    match, value = door(at), {"prompt": "a cat", "conversation": "conv_1"}
    asked = Request(match=match, date=TODAY, body=body(value, match))

    assert list(references(asked, body(value, match))) == []
