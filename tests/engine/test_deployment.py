"""On Azure a header, or the path, names the image model."""

from __future__ import annotations

from typing import Any

import pytest
from asking import AZURE, HEADER, Answer, ask, request, tool

from imagegate.engine.decision import Block, Rewrite

CAP = "settings: { quality: { max: medium, default: low, otherwise: lower } }\n"
LOW = tool(quality="low")


DEPLOYED = """
models:
  gpt-image-1-mini: {}
  gpt-image-2: { quality: { max: low, default: low } }
  default: gpt-image-1-mini
  otherwise: { use: gpt-image-1-mini }
deployments: { mini: gpt-image-1-mini, two: gpt-image-2, big: gpt-image-1.5 }
limits: { tools: 2 }
"""


def azure(rules: str, *tools: Any, headers: Any = (), at: str = AZURE) -> Answer:
    return ask(rules, request(*tools), at=at, headers=headers)


@pytest.mark.parametrize(
    ("model", "header", "expected"),
    [
        (None, None, ("mini", "mini")),
        ("mini", None, ("mini", "mini")),
        ("mini", "mini", ("mini", "mini")),
        ("mini", "big", ("mini", "mini")),
        ("mini", "", ("mini", "mini")),
        ("big", "mini", ("mini", "mini")),
        ("two", "mini", ("two", "two")),
        (None, "two", (None, "two")),
        (None, "mini", (None, "mini")),
        (None, "big", ("mini", "mini")),
        (None, "gpt-image-2", ("mini", "mini")),
    ],
)
def test_body_and_header_name_one_deployment(
    model: str | None, header: str | None, expected: tuple[str | None, str]
) -> None:
    """Nobody documents which of them counts, so they are made to agree."""
    named = tool(quality="low") | ({"model": model} if model else {})
    answer = azure(
        DEPLOYED, named, headers={HEADER: header} if header is not None else {}
    )

    assert answer.tool.get("model") == expected[0]
    assert dict(answer.headers)[HEADER] == expected[1]


@pytest.mark.parametrize("header", ["Two", "two ", '"two"', "tｗo", ""])
def test_a_header_that_only_looks_like_a_deployment_is_refused(header: str) -> None:
    """Where the tool leaves the choice to it."""
    answer = azure(DEPLOYED, tool(), headers={HEADER: header})

    assert answer.word == "block"
    assert answer.violations[0].field == "model"


def test_a_second_header_is_refused() -> None:
    """One server reads the first, another the last."""
    answer = azure(DEPLOYED, tool(model="mini"), headers=[(HEADER, "mini")] * 2)

    assert answer.rules == ["always.header"]
    assert isinstance(answer.decision, Block)
    assert answer.decision.status == 400


@pytest.mark.parametrize(
    ("models", "header"),
    [
        (("mini", "two"), None),
        (("mini", "two"), "mini"),
        (("two", None), "mini"),
        ((None, "two"), "mini"),
    ],
)
def test_tools_with_different_models_cannot_share_a_header(
    models: tuple[str | None, ...], header: str | None
) -> None:
    """One of them would be drawn by a model it was not judged for."""
    tools = [LOW | ({"model": name} if name else {}) for name in models]
    answer = azure(DEPLOYED, *tools, headers={HEADER: header} if header else {})

    assert "always.deployment" in answer.rules
    assert answer.violations[0].field == HEADER


def test_what_the_policy_says_of_a_model_goes_with_its_deployment() -> None:
    """Whether the body names it or the header."""
    named = azure(DEPLOYED, tool(model="two", quality="high"))
    headed = azure(DEPLOYED, tool(quality="high"), headers={HEADER: "two"})

    assert named.rules == ["models.gpt-image-2.quality.max"]
    assert headed.rules == ["models.gpt-image-2.quality.max"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [("mini", "mini"), ("two", "two"), ("big", "mini"), ("x", "mini"), ("Two", None)],
)
def test_a_header_without_a_tool_is_judged_all_the_same(
    header: str, expected: str | None
) -> None:
    """The provider may keep a tool from an earlier turn."""
    answer = azure(DEPLOYED, headers={HEADER: header})

    assert dict(answer.headers)[HEADER] == (expected or header)
    assert (answer.word == "block") == (expected is None)


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (AZURE, {"input": "x"}),
        (AZURE, {"input": "x", "tools": [tool(model="sk-1")]}),
        (AZURE, {"input": "x", "tool_choice": {"type": "image_generation"}}),
        ("POST /openai/v1/conversations", {"items": []}),
    ],
)
def test_where_tools_are_taken_out_the_header_goes_too(
    at: str, asked: dict[str, Any]
) -> None:
    """It would serve a tool that the provider keeps."""
    answer = ask("tool: strip", asked, at=at, headers={HEADER: "sk-mini"})

    assert answer.headers == ()
    assert answer.rules[-1] == "tool"
    assert (answer.changes[-1].field, answer.changes[-1].after) == (HEADER, None)
    assert "sk-mini" not in repr(answer.decision)


@pytest.mark.parametrize("word", ["strip", "block"])
def test_where_there_is_no_header_none_is_missed(word: str) -> None:
    """Requests for text go on."""
    assert ask(f"tool: {word}", {"input": "x"}, at=AZURE).word == "forward"


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({}, HEADER),
        ({"tools": [tool(model="x")]}, "type"),
        ({"tool_choice": {"type": "image_generation"}}, "type"),
    ],
)
def test_where_tools_are_refused_the_header_is_too(
    members: dict[str, Any], field: str
) -> None:
    """Said once, at what names the tool most plainly."""
    asked = {"input": "x"} | members
    (violation,) = ask("tool: block", asked, at=AZURE, headers={HEADER: "m"}).violations

    assert (violation.by.rule, violation.field) == ("tool", field)
    assert violation.fix.startswith("leave out the ")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", ["fields.unknown_values"]),
        ("fields: { unknown_values: pass }", []),
    ],
)
def test_a_header_that_nobody_knows_is_an_unknown_value(
    rules: str, expected: list[str]
) -> None:
    """As it would be in a tool."""
    answer = ask(rules, {"input": "x"}, at=AZURE, headers={HEADER: "m"})

    assert answer.rules == expected


@pytest.mark.parametrize(
    ("header", "expected"), [("mini", "mini"), ("big", "mini"), ("Mini", None)]
)
def test_at_the_images_api_the_header_is_judged_by_itself(
    header: str, expected: str | None
) -> None:
    """Nobody documents that it means anything there."""
    asked = {"prompt": "x", "model": "two", "quality": "low"}
    at = "POST /openai/v1/images/generations"
    answer = ask(DEPLOYED, asked, at=at, headers={HEADER: header})

    assert answer.word == ("block" if expected is None else answer.word)
    assert dict(answer.headers)[HEADER] == (expected or header)


def test_where_an_agent_is_defined_the_header_means_nothing() -> None:
    """It is left out: the agent's callers bring their own."""
    made = {"definition": {"kind": "prompt", "tools": [LOW]}}
    at = "POST /api/projects/p/agents/a/versions"
    answer = ask(DEPLOYED, made, at=at, headers={HEADER: "two"})

    assert answer.json["definition"]["tools"][0]["model"] == "mini"
    assert answer.headers == ()
    assert (answer.changes[0].field, answer.changes[0].after) == (HEADER, None)
    assert answer.rules[0] == "always.deployment"


def test_without_a_map_a_header_is_kept_in_step() -> None:
    """And none is invented; what is in it is no word for a record."""
    rules = "fields: { unknown_values: pass }"
    kept = azure(rules, tool(model="sk-one"), headers={HEADER: "sk-two"})
    bare = azure(rules, tool(model="sk-one"))
    two = azure(rules, tool(model="sk-one"), tool(model="sk-two"))

    assert dict(kept.headers) == {HEADER: "sk-one"}
    assert "sk-one" not in repr(kept.said)
    assert bare.headers == ()
    assert two.rules == ["always.deployment"]


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        ("POST /v1/responses", request(LOW)),
        ("POST /v1/images/generations", {"prompt": "x", "quality": "low"}),
        ("WEBSOCKET /v1/responses", None),
        ("GET /v1/responses/resp_1", None),
    ],
)
def test_by_the_paths_of_another_provider_the_header_does_not_go_on(
    at: str, asked: Any
) -> None:
    """A gateway may send them to Azure, where it would choose the model."""
    answer = ask(CAP, asked, at=at, headers={HEADER: "big"})

    assert answer.word == "rewrite"
    assert isinstance(answer.decision, Rewrite)
    assert answer.decision.headers == {HEADER: None}
    assert answer.rules == ["always.deployment"]


def test_an_agent_without_a_model_gets_the_one_that_its_rules_were_judged_for() -> None:
    """A later header could choose another, which has rules of its own."""
    made = {"definition": {"kind": "prompt", "tools": [tool(quality="high")]}}
    at = "POST /api/projects/p/agents/a/versions"

    pinned = ask(DEPLOYED, made, at=at)
    nameless = DEPLOYED.replace("mini: gpt-image-1-mini, ", "")
    refused = ask(nameless, made, at=at)

    assert pinned.json["definition"]["tools"][0]["model"] == "mini"
    assert refused.rules == ["models.default"]
    assert refused.violations[0].field == "model"


PATH = "POST /openai/deployments/{}/images/generations"


@pytest.mark.parametrize(
    ("deployment", "members", "expected"),
    [
        ("mini", {}, []),
        ("mini", {"model": "mini"}, []),
        ("mini", {"model": None}, []),
        ("mini", {"model": "two"}, ["always.deployment"]),
        ("mini", {"model": ["mini"]}, ["always.deployment"]),
        ("big", {}, ["models"]),
        ("big", {"model": "mini"}, ["always.deployment"]),
        ("gpt-image-2", {}, ["models"]),
        ("Mini", {}, ["always"]),
        ("two", {"quality": "high"}, ["models.gpt-image-2.quality.max"]),
        ("mini", {"quality": "high"}, []),
    ],
)
def test_the_deployment_in_a_path_is_the_model(
    deployment: str, members: dict[str, Any], expected: list[str]
) -> None:
    """No rewriting of the body moves it, so it is allowed or refused."""
    answer = ask(DEPLOYED, {"prompt": "a cat", **members}, at=PATH.format(deployment))

    assert answer.rules == expected
    if not expected:
        assert answer.word == "forward"


TWO = "models: { gpt-image-2: {}, default: gpt-image-2, otherwise: block }\n"


@pytest.mark.parametrize(
    ("rules", "fix"),
    [
        (f"{TWO}deployments: {{ two: gpt-image-2 }}", "two"),
        (TWO, "gpt-image-2"),
        (f"{TWO}deployments: {{ m: gpt-image-1-mini }}", None),
    ],
)
@pytest.mark.parametrize("by", ["path", "header"])
def test_a_refusal_says_which_deployment_would_pass(
    by: str, rules: str, fix: str | None
) -> None:
    """If there is one."""
    if by == "path":
        answer = ask(rules, {"prompt": "a cat"}, at=PATH.format("big"))
    else:
        answer = azure(rules, headers={HEADER: "big"})

    expected = "" if fix is None else f"use the deployment {fix}"
    assert answer.violations[0].fix == expected


@pytest.mark.parametrize("model", [{"id": "gpt-image-2"}, ["mini"], 7, True])
@pytest.mark.parametrize("header", [None, "mini"])
def test_a_model_that_is_no_text_is_refused(model: object, header: str | None) -> None:
    headers = {} if header is None else {HEADER: header}

    answer = azure(DEPLOYED, LOW | {"model": model}, headers=headers)

    assert isinstance(answer.decision, Block)
    assert answer.violations[0].pointer.startswith("/tools/0/model")
