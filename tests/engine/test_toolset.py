"""The tools of a request: found wherever they are, judged, taken out or refused."""

from __future__ import annotations

from typing import Any

import pytest
from asking import AZURE, HEADER, ask, carried, policy, request, tool

from imagegate.engine.toolset import MOST

CAP = "settings: { quality: { max: medium, default: low, otherwise: lower } }\n"
LOW = tool(quality="low")
HIGH = tool(quality="high")
IMAGE = {"type": "image_generation"}
VERSIONS = "POST /api/projects/p/agents/a/versions"
FUNCTION = {"type": "function", "name": "f", "parameters": {"tools": {}}}


# -- carriers ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output"])
def test_tools_in_items_are_judged_like_any_other(kind: str) -> None:
    """Coding agents send all their tools this way."""
    answer = ask(CAP, carried(kind, FUNCTION, HIGH))

    assert answer.json["input"][0]["tools"][1]["quality"] == "medium"
    assert answer.pointers == ["/input/0/tools/1/quality"]
    assert answer.decision.tools[0].carrier == kind


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        (
            {"tools": [{"type": "namespace", "name": "n", "tools": [LOW]}]},
            "/tools/0/tools/0",
        ),
        ({"tools": [{"type": "mcp", "tools": [LOW]}]}, "/tools/0/tools/0"),
        ({"input": [{"type": "message", "tools": [LOW]}]}, "/input/0/tools/0"),
        ({"input": [{"type": "Additional_Tools", "tools": [LOW]}]}, "/input/0/tools/0"),
        (
            {"input": [{"type": "message", "content": [{"tools": [LOW]}]}]},
            "/input/0/content/0/tools/0",
        ),
        ({"extra": {"deep": [{"tools": [LOW]}]}}, "/extra/deep/0/tools/0"),
        ({"delegation": {"tools": [LOW]}}, "/delegation/tools/0"),
    ],
)
def test_an_image_tool_in_any_other_place_is_refused(
    members: dict[str, Any], pointer: str
) -> None:
    """Even one that would pass: nobody knows what the provider makes of it."""
    answer = ask(CAP, {"model": "gpt-5", "input": "x"} | members)

    assert (answer.rules, answer.pointers) == (["always.carrier"], [pointer])
    (told,) = answer.decision.tools
    assert (told.requested, told.sent) == ({"quality": "low"}, False)


def test_a_schema_that_has_a_property_tools_is_no_carrier() -> None:
    """Functions describe what they like."""
    parameters = {"type": "object", "properties": {"tools": {"type": "array"}}}
    asked = request({"type": "function", "name": "f", "parameters": parameters})

    assert ask(CAP, asked).word == "forward"


@pytest.mark.parametrize(
    "kind",
    [
        "Image_Generation",
        "IMAGE_GENERATION",
        "image_generation\n",
        " image_generation",
        "image-generation",
        "imageGeneration",
        "image_gen",
        "image_generation_preview",
        "image_generation_2025_04_16",
        "ｉｍａｇｅ_generation",
    ],
)
@pytest.mark.parametrize("word", ["allow", "strip", "block"])
def test_a_disguised_tool_is_refused(kind: str, word: str) -> None:
    """Whatever the policy does about tools: ours is spelled in one way."""
    answer = ask(f"tool: {word}", request({"type": kind}))

    assert answer.rules == ["always.tool_type"]
    assert "`image_generation`" in answer.violations[0].message
    assert answer.pointers == ["/tools/0/type"]


def test_conversation_items_are_judged_where_they_are_stored() -> None:
    """A later request would bring them in unseen."""
    stored = {
        "items": [{"type": "additional_tools", "role": "developer", "tools": [HIGH]}]
    }
    answer = ask(CAP, stored, at="POST /v1/conversations/conv_1/items")
    top = ask(CAP, {"tools": [LOW]}, at="POST /v1/conversations")

    assert answer.json["items"][0]["tools"][0]["quality"] == "medium"
    assert top.rules == ["always.carrier"]


def test_a_tool_in_a_strange_place_is_sent_where_nothing_acts() -> None:
    """And judged like any other, by what is observed."""
    head = "version: 1\nname: p\nowner: o\nmode: observe\n"
    asked = {"model": "gpt-5", "input": "x", "extra": {"tools": [LOW]}}
    answer = ask(policy(head=head), asked)

    assert answer.word == "forward"
    assert [judged.sent for judged in answer.decision.tools] == [True]


def test_what_is_only_observed_takes_no_tool_out() -> None:
    """Nor repairs a choice."""
    head = "version: 1\nname: p\nowner: o\nmode: observe\n"
    asked = request(LOW, tool_choice=IMAGE)
    answer = ask(policy("tool: strip", head=head), asked)

    assert (answer.word, answer.json) == ("forward", asked)


# -- how many ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tools", "expected"), [([LOW], "forward"), ([FUNCTION, LOW], "forward")]
)
def test_as_many_tools_as_allowed_pass(tools: list[Any], expected: str) -> None:
    """Other tools are not counted."""
    assert ask("limits: { tools: 1 }", request(*tools)).word == expected


def test_tools_are_counted_wherever_they_are() -> None:
    """Finished items do not say which tool made them."""
    asked = request(LOW, input=[{"type": "additional_tools", "tools": [LOW]}])
    answer = ask("limits: { tools: 1 }", asked)

    assert answer.rules == ["limits.tools.max"]
    assert answer.violations[0].message == "2 image tools in one request: 1 allowed"


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("rules", ["", "limits: { tools: 1 }", "tool: strip"])
def test_more_tools_than_can_be_judged_are_refused(mode: str, rules: str) -> None:
    """Each takes as long as a small request, and the loop waits for all of them."""
    head = f"version: 1\nname: p\nowner: o\nmode: {mode}\n"
    tools = [{**LOW, "output_compression": number} for number in range(MOST + 1)]
    written = policy(rules, head=head)

    answer = ask(written, request(*tools))

    assert answer.word == "block"
    (found,) = (x for x in answer.violations if x.by.rule == "always.tools")
    assert found.message == "101 image tools in one request: 100 can be judged"
    assert len(answer.decision.tools) == MOST
    if not rules:
        assert ask(written, request(*tools[:MOST])).word != "block"


def test_a_tool_that_is_kept_elsewhere_is_not_counted_again() -> None:
    """Clients send their tool with every turn; it was counted with its own."""
    asked = request(LOW, previous_response_id="resp_1")
    rules = "limits: { tools: 1 }\nstate: { previous_response: seen }"

    assert ask(rules, asked, seen=["resp_1"]).word == "forward"


@pytest.mark.parametrize(
    ("at", "members", "headers"),
    [
        (AZURE, {"tools": [tool(model="img")]}, {HEADER: "img"}),
        (
            VERSIONS,
            {"definition": {"kind": "prompt", "tools": [tool(model="img")]}},
            {},
        ),
    ],
)
def test_on_azure_the_header_goes_with_the_tools(
    at: str, members: dict[str, Any], headers: dict[str, str]
) -> None:
    """A definition is only stored; what calls it later brings its own header."""
    answer = ask("deployments: { img: gpt-image-2 }", members, at=at)

    assert dict(answer.headers) == headers


# -- the tool taken out ------------------------------------------------------------

STRIP = "tool: { do: strip, reason: not yet }"


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ({"tools": [HIGH]}, {"tools": []}),
        ({"tools": [HIGH, FUNCTION, LOW]}, {"tools": [FUNCTION]}),
        (
            {"tools": [HIGH], "tool_choice": "required"},
            {"tools": []},
        ),
        (
            {"tools": [HIGH, FUNCTION], "tool_choice": "required"},
            {"tools": [FUNCTION], "tool_choice": "required"},
        ),
        (
            {"tools": [HIGH], "tool_choice": "auto"},
            {"tools": [], "tool_choice": "auto"},
        ),
        ({"tools": [HIGH], "tool_choice": IMAGE}, {"tools": []}),
        (
            {
                "tools": [HIGH, FUNCTION],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [IMAGE, {"type": "function", "name": "f"}],
                },
            },
            {
                "tools": [FUNCTION],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "f"}],
                },
            },
        ),
        ({"tool_choice": IMAGE}, {}),
        (
            {"tools": [tool(tools=[IMAGE])], "tool_choice": "required"},
            {"tools": []},
        ),
        (
            {
                "tools": [FUNCTION],
                "extra": {"tools": [IMAGE]},
                "tool_choice": "required",
            },
            {"tools": [FUNCTION], "extra": {"tools": []}, "tool_choice": "required"},
        ),
    ],
)
def test_a_tool_is_taken_out_with_what_asked_for_it(
    members: dict[str, Any], left: dict[str, Any]
) -> None:
    """What remains is a request that the API takes."""
    answer = ask(STRIP, {"model": "gpt-5", "input": "x"} | members)

    assert answer.json == {"model": "gpt-5", "input": "x"} | left
    assert set(answer.rules) == {"tool"}
    assert not any(judged.sent for judged in answer.decision.tools)


def namespace(*tools: Any) -> dict[str, Any]:
    return {"type": "namespace", "name": "n", "tools": list(tools)}


@pytest.mark.parametrize(
    ("tools", "left", "gone"),
    [
        ([namespace(LOW)], [], ["/tools/0/tools/0", "/tools/0"]),
        (
            [FUNCTION, namespace(namespace(LOW, HIGH))],
            [FUNCTION],
            [
                "/tools/1/tools/0/tools/0",
                "/tools/1/tools/0/tools/1",
                "/tools/1",
                "/tools/1/tools/0",
            ],
        ),
        ([namespace()], [namespace()], []),
    ],
)
def test_a_namespace_that_held_nothing_else_goes_too(
    tools: list[Any], left: list[Any], gone: list[str]
) -> None:
    """One that came empty stays: it is the client's own."""
    asked = {"model": "gpt-5", "input": "x", "tools": tools, "tool_choice": "required"}
    answer = ask(STRIP, asked)

    assert answer.json["tools"] == left
    assert [x for x in answer.pointers if x != "/tool_choice"] == gone
    assert ("tool_choice" in answer.json) == bool(left)


def test_an_item_that_held_nothing_else_stays() -> None:
    """An empty search result is one; nobody documents that items must hold tools."""
    asked = carried("tool_search_output", LOW)

    assert ask(STRIP, asked).json == carried("tool_search_output")


def test_tools_are_taken_out_of_every_carrier() -> None:
    """Undocumented ones too."""
    asked = request(LOW, input=[{"type": "additional_tools", "tools": [LOW, FUNCTION]}])
    asked["tools"].append({"type": "namespace", "name": "n", "tools": [LOW, FUNCTION]})
    sent = ask(STRIP, asked).json

    assert sent["tools"] == [{"type": "namespace", "name": "n", "tools": [FUNCTION]}]
    assert sent["input"] == [{"type": "additional_tools", "tools": [FUNCTION]}]


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"tools": [LOW]}, "/tools/0"),
        ({"tools": [LOW], "tool_choice": IMAGE}, "/tools/0"),
        ({"tool_choice": IMAGE}, "/tool_choice"),
    ],
)
def test_a_tool_that_is_not_allowed_blocks(
    members: dict[str, Any], pointer: str
) -> None:
    """Said once, at the tool, or at the choice of one that is not there."""
    answer = ask("tool: block", {"model": "gpt-5", "input": "x"} | members)

    assert (answer.rules, answer.pointers) == (["tool"], [pointer])
    assert [judged.requested for judged in answer.decision.tools] == [
        {"quality": "low"} for _ in members.get("tools", ())
    ]
    assert answer.violations[0].fix == "leave out the image_generation tool"


def test_a_choice_of_the_tool_is_no_definition_of_it() -> None:
    """Where the tool is allowed it may be demanded."""
    assert ask(CAP, request(LOW, tool_choice=IMAGE)).word == "forward"


def test_settings_in_a_choice_are_refused_unless_it_goes() -> None:
    """No policy looks there."""
    choice = {"type": "image_generation", "quality": "high"}

    kept = ask(CAP, {**request(LOW), "tool_choice": choice})
    gone = ask("tool: strip\n", {**request(LOW), "tool_choice": choice})

    assert kept.rules == ["always.choice_settings"]
    assert kept.pointers == ["/tool_choice/quality"]
    assert "tool_choice" not in gone.json


def test_a_disguised_choice_is_refused() -> None:
    """Like a disguised tool."""
    answer = ask(CAP, request(LOW, tool_choice={"type": "Image_Generation"}))

    assert answer.rules == ["always.tool_type"]
    assert answer.pointers == ["/tool_choice/type"]
