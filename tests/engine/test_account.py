"""What a record tells of a request besides its tools, and what it never tells."""

from __future__ import annotations

from typing import Any

import pytest
from asking import (
    AZURE,
    CATALOGUE,
    HEADER,
    IMAGES,
    RESPONSES,
    TODAY,
    body,
    door,
    policy,
    tool,
)

from imagegate.engine.account import account_of, response_in
from imagegate.engine.body import read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.policy import ANONYMOUS
from imagegate.engine.records import ReferenceRecord
from imagegate.engine.request import Request

SOCKET = "WEBSOCKET /v1/responses"
LISTED = "state: { agents: [writer, draughtsman@3], prompt: [mine] }"


def account(
    value: object,
    at: str = RESPONSES,
    headers: tuple[tuple[str, str], ...] = (),
    seen: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Tell of a request under a policy that lists some ids."""
    decider = Decider(policy(LISTED), CATALOGUE, hash_key=b"k")
    match = door(at)
    asked = Request(
        match=match,
        date=TODAY,
        body=None if value is None else body(value, match),
        headers=headers,
        seen=frozenset(seen),
    )
    book = decider.book.page(ANONYMOUS, TODAY)
    return account_of(asked, decider.scene(book.acting, match))


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/responses/resp_0a1b", "resp_0a1b"),
        (f"/v1/responses/resp_{'A' * 546}==", f"resp_{'A' * 546}=="),
        ("/v1/responses/sk-proj-0a1b2c", None),
        ("/v1/models", None),
    ],
)
def test_a_path_names_a_response_or_nothing(path: str, named: str | None) -> None:
    """What has not the shape of an identifier may be a key."""
    assert response_in(door(f"GET {path}")) == named


def test_flags_counts_and_choices_are_told() -> None:
    """As they were written; what is not there is not known."""
    asked = {
        "stream": True,
        "background": False,
        "tools": [tool(), {"type": "web_search"}, {"type": "function", "name": "f"}],
        "tool_choice": "required",
        "max_tool_calls": 9,
        "n": 3,
    }

    assert account(asked) == {
        "image_deployment": None,
        "previews": (),
        "stream": True,
        "background": False,
        "tool_choice": "required",
        "other_tools": 2,
        "max_tool_calls": 9,
        "n": None,
        "references": (),
        "references_count": 0,
    }


@pytest.mark.parametrize("value", ["yes", 1, None, {"a": True}])
def test_a_flag_that_is_none_is_unknown(value: object) -> None:
    """And no word of the client's is repeated."""
    told = account({"stream": value, "background": value, "max_tool_calls": "sk-1"})

    assert (told["stream"], told["background"]) == (None, None)
    assert str(told["max_tool_calls"]).startswith("a string of 4 characters (hmac ")


def test_the_body_of_the_images_api_has_other_members() -> None:
    """Its `background` is a word."""
    told = account({"prompt": "x", "n": 4, "background": "opaque"}, IMAGES)

    assert (told["n"], told["background"], told["max_tool_calls"]) == (4, None, None)


@pytest.mark.parametrize(
    ("at", "asked", "expected"),
    [
        (RESPONSES, {"tool_choice": {"type": "image_generation"}}, "image_generation"),
        (RESPONSES, {"tool_choice": "auto"}, None),
        (RESPONSES, {"tool_choice": {"type": "function", "name": "sk"}}, None),
        (RESPONSES, {}, None),
        (
            "POST /api/projects/p/agents/a/versions",
            {"definition": {"kind": "prompt", "tools": [], "tool_choice": "required"}},
            "required",
        ),
    ],
)
def test_a_choice_that_forces_a_tool_is_told(
    at: str, asked: dict[str, Any], expected: str | None
) -> None:
    """The image tool, or any; which other one is nobody's business here."""
    assert account(asked, at)["tool_choice"] == expected


@pytest.mark.parametrize(
    ("kind", "expected"), [("response.create", "response.create"), ("sk-1", None)]
)
def test_a_message_is_told_by_its_type(kind: str, expected: str | None) -> None:
    """Where it is a known one; over HTTP there is none."""
    assert account({"type": kind}, SOCKET).get("message_type") == expected
    assert "message_type" not in account({"type": kind})


@pytest.mark.parametrize(
    ("at", "headers", "expected"),
    [
        (AZURE, ((HEADER, "gpt-image-2"),), "gpt-image-2"),
        (AZURE, (), None),
        (RESPONSES, ((HEADER, "gpt-image-2"),), None),
        ("POST /openai/deployments/gpt-image-2/images/generations", (), "gpt-image-2"),
    ],
)
def test_what_names_the_model_besides_the_body_is_told(
    at: str, headers: tuple[tuple[str, str], ...], expected: str | None
) -> None:
    """On Azure: a header, or the path. A stranger's name is only described."""
    assert account({"prompt": "x"}, at, headers)["image_deployment"] == expected
    strange = account({"prompt": "x"}, AZURE, ((HEADER, "sk-1"),))
    assert "sk-1" not in str(strange["image_deployment"])


@pytest.mark.parametrize(
    ("asked", "seen", "expected"),
    [
        (
            {"previous_response_id": "resp_0a"},
            (),
            ReferenceRecord(kind="previous_response", id="resp_0a"),
        ),
        (
            {"conversation": {"id": "mine"}},
            ("mine",),
            ReferenceRecord(kind="conversation", id="mine", seen=True),
        ),
        (
            {"agent_reference": {"type": "agent_reference", "name": "writer"}},
            (),
            ReferenceRecord(kind="agents", id="writer"),
        ),
        (
            {"agent_reference": {"name": "draughtsman", "version": "3"}},
            (),
            ReferenceRecord(kind="agents", id="draughtsman@3"),
        ),
        ({"prompt": {"id": "mine"}}, (), ReferenceRecord(kind="prompt", id="mine")),
        ({"multi_agent": {"x": 1}}, (), ReferenceRecord(kind="multi_agent")),
        (
            {"input": [{"type": "item_reference", "id": "ig_1"}]},
            (),
            ReferenceRecord(kind="item_reference", id="ig_1"),
        ),
    ],
)
def test_what_a_request_refers_to_is_told(
    asked: dict[str, Any], seen: tuple[str, ...], expected: ReferenceRecord
) -> None:
    """By its id where that is surely one."""
    told = account(asked, seen=seen)

    assert (told["references"], told["references_count"]) == ((expected,), 1)


@pytest.mark.parametrize("name", ["sk-abcdef", "skabcdef", "sk_live_12", "writers"])
def test_a_secret_in_the_place_of_an_id_is_only_described(name: str) -> None:
    """Equal ones can still be found, with the operator's key."""
    (found,) = account({"conversation": name})["references"]

    assert name not in str(found.id)
    assert "characters (hmac " in str(found.id)


def test_no_more_references_are_told_than_fit() -> None:
    """How many there were is told as well."""
    items = [{"type": "item_reference", "id": f"msg_{n}"} for n in range(100)]
    told = account({"input": items})

    assert (len(told["references"]), told["references_count"]) == (32, 100)


def test_what_turns_out_malformed_is_left_untold() -> None:
    """The request was refused for it."""
    data = b'{"conversation":{"id":"a","id":"b"}}'
    asked = Request(match=door(), date=TODAY, body=read_body_now(data))
    decider = Decider(policy(), CATALOGUE)
    scene = decider.scene(decider.book.page(ANONYMOUS, TODAY).acting, door())

    told = account_of(asked, scene)

    assert told == {"image_deployment": None, "previews": (), "whole": False}


def test_without_a_body_there_is_little_to_tell() -> None:
    """A door was opened unseen, or takes none."""
    assert account(None) == {"image_deployment": None, "previews": ()}


def test_previews_are_told_by_the_names_that_are_known() -> None:
    """Of any other it is told that there was one."""
    headers = (("openai-beta", "agents=v1, sk-secret"), ("x-ms-oai-new", "1"))

    told = account({"input": "x"}, headers=headers)

    assert told["previews"][0] == "agents=v1"
    assert "sk-secret" not in repr(told)
    assert len(told["previews"]) == 3
