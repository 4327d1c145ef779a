"""Counts: capped, and written where they are not given."""

from __future__ import annotations

from typing import Any

import pytest
from asking import IMAGES, RESPONSES, ask, carried, request, tool

LOW = tool(quality="low")
IMAGE = {"type": "image_generation"}
SOCKET = "WEBSOCKET /v1/responses"


@pytest.mark.parametrize(
    ("word", "given", "expected"),
    [
        ("lower", 1, "forward"),
        ("lower", 2, "forward"),
        ("lower", 3, 2),
        ("lower", None, 2),
        ("lower", "3", "block"),
        ("lower", 3.0, "block"),
        ("lower", [9], "block"),
        ("block", 3, "block"),
        ("block", None, 2),
        ("block", 2**70, "block"),
        ("block", True, "block"),
    ],
)
def test_calls_are_capped_where_images_may_be_made(
    word: str, given: object, expected: object
) -> None:
    """Each call can make an image; none given would mean any number."""
    rules = f"limits: {{ max_tool_calls: {{ max: 2, otherwise: {word} }} }}"
    answer = ask(rules, request(LOW, max_tool_calls=given))

    if isinstance(expected, int):
        assert answer.json["max_tool_calls"] == expected
        assert answer.pointers == ["/max_tool_calls"]
    else:
        assert answer.word == expected


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        ("POST /v1/responses/compact", carried("additional_tools", LOW)),
        ("POST /v1/responses/input_tokens", request(LOW)),
        (
            "POST /v1/conversations",
            {"items": [{"type": "additional_tools", "tools": [LOW]}]},
        ),
        (
            "POST /api/projects/p/agents/a/versions",
            {"definition": {"kind": "prompt", "tools": [LOW]}},
        ),
    ],
)
def test_no_count_of_calls_is_written_where_none_are_made(
    at: str, asked: dict[str, Any]
) -> None:
    """The API would refuse the member."""
    assert ask("limits: { max_tool_calls: 2 }", asked, at=at).word == "forward"


REACHED: list[dict[str, Any]] = [
    {"previous_response_id": "resp_1"},
    {"conversation": "conv_1"},
    {"conversation": {"id": "conv_1"}},
    {"prompt": {"id": "pmpt_1"}},
    {"input": [{"id": "msg_1"}]},
    {"input": [{"type": "compaction", "encrypted_content": "x"}]},
    {"tool_choice": IMAGE},
]
OPEN = """
limits: { max_tool_calls: { max: 2, otherwise: lower } }
state:
  prompt: allow
  agents: allow
  conversation: allow
  previous_response: seen
  item_reference: allow
  compaction: allow
"""


@pytest.mark.parametrize("members", REACHED)
def test_calls_are_capped_where_a_tool_may_be_inherited(
    members: dict[str, Any],
) -> None:
    """What a request refers to can hold a tool that it does not name."""
    asked = {"model": "gpt-5", "input": "again"} | members
    silent = ask(OPEN, asked, seen=["resp_1"])
    much = ask(OPEN, asked | {"max_tool_calls": 9}, seen=["resp_1"])

    assert silent.json["max_tool_calls"] == 2
    assert silent.rules == ["limits.max_tool_calls.max"]
    assert much.json["max_tool_calls"] == 2


@pytest.mark.parametrize("word", ["strip", "block"])
def test_calls_are_capped_where_only_what_is_inherited_can_have_a_tool(
    word: str,
) -> None:
    """A policy may refuse the tool, and allow what it has not looked into."""
    rules, asked = f"tool: {word}\n{OPEN}", {"model": "gpt-5", "input": "again"}

    assert ask(rules, asked | REACHED[1]).json["max_tool_calls"] == 2
    assert ask(rules, asked).word == "forward"
    if word == "strip":
        assert "max_tool_calls" not in ask(rules, asked | {"tools": [IMAGE]}).json


@pytest.mark.parametrize(
    ("at", "members"),
    [
        (RESPONSES, {"agent_reference": {"type": "agent_reference", "name": "a"}}),
        (SOCKET, {"type": "response.steer", "previous_response_id": "resp_1"}),
        (SOCKET, {"type": "response.inject", "response_id": "resp_1"}),
    ],
)
def test_a_count_is_not_written_where_the_api_takes_none(
    at: str, members: dict[str, Any]
) -> None:
    """One that is given all the same is capped."""
    asked = {"input": "again"} | members

    assert ask(OPEN, asked, at=at, seen=["resp_1"]).word == "forward"
    assert ask(OPEN, asked | {"max_tool_calls": None}, at=at, seen=["resp_1"]).word == (
        "forward"
    )
    assert (
        ask(OPEN, asked | {"max_tool_calls": 9}, at=at, seen=["resp_1"]).json[
            "max_tool_calls"
        ]
        == 2
    )


def test_a_tool_beside_an_agent_is_capped_like_any_other() -> None:
    """Whether the API takes both is its own affair: a tool may not be unlimited."""
    agent = {"type": "agent_reference", "name": "a"}
    answer = ask(OPEN, request(LOW, agent_reference=agent))

    assert answer.json["max_tool_calls"] == 2


def test_a_message_that_begins_a_response_is_capped_like_a_request() -> None:
    """With the tools of the one before it."""
    message = {"type": "response.create", "previous_response_id": "resp_1"}
    answer = ask(OPEN, message, at=SOCKET, seen=["resp_1"])

    assert answer.json["max_tool_calls"] == 2


@pytest.mark.parametrize(
    ("n", "expected"), [(None, "rewrite"), (1, "forward"), (2, "block"), ("1", "block")]
)
def test_the_number_of_images_is_capped(n: object, expected: str) -> None:
    """None given is written out."""
    rules = "limits: { images_api_n: 1 }"
    drawing = {"prompt": "a cat", "model": "gpt-image-2", "n": n}

    assert ask(rules, drawing, at=IMAGES).word == expected


def test_where_no_image_can_be_made_nothing_is_capped() -> None:
    """No tool is named, and nothing is referred to."""
    asked = {"model": "gpt-5", "input": "x", "max_tool_calls": 9}

    assert ask("limits: { max_tool_calls: 2 }", asked).word == "forward"
