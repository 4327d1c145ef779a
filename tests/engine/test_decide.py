"""Whole requests: forward, rewrite or block, and the ways around that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import (
    AZURE,
    CATALOGUE,
    DESIGN,
    HEADER,
    IMAGES,
    RESPONSES,
    TODAY,
    Answer,
    ask,
    body,
    door,
    policy,
    request,
    tool,
)

from imagegate.engine import decide as module
from imagegate.engine.decide import Decider, Request, all_reasons, decide
from imagegate.engine.decision import Block, Forward, Rewrite, Violation

CAP = "settings: { quality: { max: medium, default: low, otherwise: lower } }\n"
LOW = tool(quality="low")
HIGH = tool(quality="high")
IMAGE = {"type": "image_generation"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"tools": {}}}
SOCKET = "WEBSOCKET /v1/responses"


# -- the three decisions -----------------------------------------------------------


def test_a_request_without_an_image_tool_is_forwarded() -> None:
    """Byte for byte, whatever else is in it."""
    data = (
        b'{"model":"gpt-5","temperature":1.0e-0,"big":123456789012345678901234567890,'
        b'"input":"caf\\u00e9","metadata":{"tools":[{"type":"image_generation"}]},'
        b'"moderation":{"model":"m"},"background":true,"tools":[{"type":"function",'
        b'"name":"f"}],"max_tool_calls":99}'
    )
    answer = ask(CAP + "limits: { tools: 1, max_tool_calls: 2 }", data)

    assert isinstance(answer.decision, Forward)
    assert answer.data == data


def test_all_changes_are_made_together_and_nothing_else_moves() -> None:
    """Order, number spellings and unknown members survive."""
    data = (
        b'{"model":"gpt-5","n":1.50,"tools":[{"type":"function","name":"f","strict":'
        b'true},{"quality":"high","type":"image_generation","zz":1}],"input":"x"}'
    )
    answer = ask(CAP + "fields: { unknown: strip }", data)

    assert answer.data == data.replace(b"high", b"medium").replace(b',"zz":1', b"")
    assert isinstance(answer.decision, Rewrite)


def test_any_refusal_beats_all_changes() -> None:
    """One tool could be mended; the request is refused, and nothing is sent."""
    rules = CAP + "fields: { unknown: block }"
    answer = ask(rules, request(HIGH, tool(zz=1)))

    assert isinstance(answer.decision, Block)
    assert answer.data is None
    assert answer.rules == ["fields.unknown"]
    assert [judged.pointer for judged in answer.decision.tools] == [
        "/tools/0",
        "/tools/1",
    ]


def test_observed_lines_say_what_they_would_do() -> None:
    """And nothing of it is done."""
    rules = """
    settings: { quality: { max: low, default: low, otherwise: lower, mode: observe } }
    state: { conversation: { do: refuse, mode: observe } }
    """
    answer = ask(rules, request(HIGH) | {"conversation": "conv_1"})

    assert isinstance(answer.decision, Forward)
    assert [item.by.rule for item in answer.decision.observed] == [
        "state.conversation",
        "settings.quality.max",
    ]


def test_what_acts_is_not_observed() -> None:
    """Each line is heard once."""
    rules = """
    settings:
      quality: { max: low, default: low, otherwise: lower }
      size: { max: 1024x1024, default: 1024x1024, otherwise: lower, mode: observe }
    """
    answer = ask(rules, request(tool(quality="high", size="1024x1536")))

    assert answer.rules == ["settings.quality.max"]
    assert [item.by.rule for item in answer.decision.observed] == ["settings.size.max"]


def test_a_decision_can_be_asked_for_once() -> None:
    """Without laying the policy out for later."""
    asked = Request(match=door(), date=TODAY, body=body(request(HIGH)))
    rules = policy(CAP)
    found = decide(rules, asked, catalogue=CATALOGUE)

    assert found == Decider(rules, CATALOGUE).decide(asked)
    assert [reason.rule for reason in all_reasons(found)] == ["settings.quality.max"]
    assert list(all_reasons(Forward())) == []


def test_every_reason_of_a_block_is_given() -> None:
    """In order."""
    asked = request(LOW, LOW) | {"prompt": "p"}
    answer = ask("limits: { tools: 1 }", asked)
    reasons = all_reasons(answer.decision)

    assert [reason.rule for reason in reasons] == ["state.prompt", "limits.tools.max"]


def test_equal_strangers_can_be_found_by_a_keyed_hash() -> None:
    """Never by the value."""
    decider = Decider(policy(), CATALOGUE, hash_key=b"k")
    answer = ask(decider, request(tool(quality="sk-secret")))

    assert "(hmac " in str(answer.violations[0].before)
    assert "sk-secret" not in repr(answer.decision)


# -- verdicts are remembered -------------------------------------------------------


def test_a_verdict_is_remembered_and_means_the_same() -> None:
    """For the same tool in the same place; another place is another verdict."""
    decider = Decider(policy(CAP), CATALOGUE)
    first, again = ask(decider, request(HIGH)), ask(decider, request(HIGH))
    moved = ask(decider, request(FUNCTION, HIGH))

    assert first == again
    assert moved.pointers == ["/tools/1/quality"]


def test_no_more_verdicts_are_remembered_than_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that sends a new tool each time fills no memory."""
    monkeypatch.setattr(module, "MAX_VERDICTS", 2)
    decider = Decider(policy(CAP), CATALOGUE)
    for number in range(5):
        assert ask(decider, request(tool(partial_images=number % 4))).word == "rewrite"
    large = tool(input_image_mask={"image_url": "x" * 5_000})
    assert ask(decider, request(large)).word == "rewrite"
    (bench,) = decider._benches.values()

    assert len(bench._verdicts) <= 2


def test_the_same_tool_is_judged_anew_for_somebody_else() -> None:
    """Teams, providers and days have verdicts of their own."""
    rules = policy(
        CAP
        + """
teams:
  design:
    match: { team: design }
    settings: { quality: { max: high, loosens: true } }
"""
    )
    decider = Decider(rules, CATALOGUE)

    assert ask(decider, request(HIGH)).tool["quality"] == "medium"
    assert ask(decider, request(HIGH), principal=DESIGN).word == "forward"
    assert ask(decider, request(HIGH), at=AZURE).tool["quality"] == "medium"


# -- doors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("surface", "at", "expected"),
    [
        ("", "POST /v1/batches", "route_not_allowed"),
        ("surface: { batches: pass }", "POST /v1/batches", "uninspected"),
        ("surface: { images_api: refuse }", IMAGES, "route_not_allowed"),
        ("surface: { images_api: pass }", IMAGES, "uninspected"),
        ("surface: { images_api: enforce }", IMAGES, "inspected"),
        ("", "POST /v1/images/variations", "route_not_allowed"),
        (
            "surface: { agent_endpoints: enforce }",
            "POST /api/projects/p/agents/a/endpoint/protocols/invocations",
            "route_not_allowed",
        ),
        ("surface: { websocket: refuse }", SOCKET, "route_not_allowed"),
    ],
)
def test_a_door_is_open_closed_or_judged(surface: str, at: str, expected: str) -> None:
    """By the policy's word; what cannot be judged is closed where it is enforced."""
    answer = ask(surface, {"prompt": "x"}, at=at)
    decision = answer.decision
    if isinstance(decision, Block):
        assert decision.violations[0].code == expected
    else:
        assert isinstance(decision, Forward)
        assert decision.inspected == (expected == "inspected")


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("GET /v1/responses/resp_1", "forward"),
        ("DELETE /v1/responses/resp_1", "forward"),
        ("POST /v1/responses/resp_1/cancel", "forward"),
        (SOCKET, "forward"),
        (RESPONSES, "block"),
        (IMAGES, "block"),
        ("POST /v1/conversations", "block"),
        ("POST /api/projects/p/agents/a/versions", "block"),
    ],
)
def test_nothing_to_judge_passes_only_where_nothing_is_made(
    at: str, expected: str
) -> None:
    """A door that is judged by its body is closed without one."""
    answer = ask("", None, at=at)

    assert answer.word == expected
    if expected == "block":
        assert isinstance(answer.decision, Block)
        assert answer.decision.status == 400


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("response.create", "rewrite"),
        ("response.inject", "rewrite"),
        ("response.steer", "rewrite"),
        ("response.update", "block"),
        ("Response.create", "block"),
        (None, "block"),
        (7, "block"),
    ],
)
def test_a_message_of_an_unknown_type_is_refused(kind: object, expected: str) -> None:
    """A socket carries more than requests, and nobody knows what comes next."""
    message = {"type": kind} | request(HIGH)

    assert ask(CAP, message, at=SOCKET).word == expected


def test_a_message_without_a_type_is_refused() -> None:
    """Over HTTP there is none, and none is needed."""
    assert ask(CAP, request(LOW), at=SOCKET).rules == ["always.message_type"]
    assert ask(CAP, request(LOW)).word == "forward"


# -- carriers ----------------------------------------------------------------------


def carried(kind: str, *tools: Any) -> dict[str, Any]:
    return {"model": "gpt-5", "input": [{"type": kind, "tools": list(tools)}]}


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


# -- counts ------------------------------------------------------------------------


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


def test_a_message_that_begins_a_response_is_capped_like_a_request() -> None:
    """With the tools of the one before it."""
    message = {"type": "response.create", "previous_response_id": "resp_1"}
    answer = ask(OPEN, message, at=SOCKET, seen=["resp_1"])

    assert answer.json["max_tool_calls"] == 2


def test_a_tool_that_is_kept_elsewhere_is_not_counted_again() -> None:
    """Clients send their tool with every turn; it was counted with its own."""
    asked = request(LOW, previous_response_id="resp_1")
    rules = "limits: { tools: 1 }\nstate: { previous_response: seen }"

    assert ask(rules, asked, seen=["resp_1"]).word == "forward"


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


def test_tools_are_taken_out_of_every_carrier() -> None:
    """Undocumented ones too."""
    asked = request(LOW, input=[{"type": "additional_tools", "tools": [LOW, FUNCTION]}])
    asked["tools"].append({"type": "namespace", "name": "n", "tools": [LOW]})
    sent = ask(STRIP, asked).json

    assert sent["tools"] == [{"type": "namespace", "name": "n", "tools": []}]
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
    assert answer.violations[0].fix == "leave out the image_generation tool"


def test_a_choice_of_the_tool_is_no_definition_of_it() -> None:
    """Where the tool is allowed it may be demanded."""
    assert ask(CAP, request(LOW, tool_choice=IMAGE)).word == "forward"


def test_a_disguised_choice_is_refused() -> None:
    """Like a disguised tool."""
    answer = ask(CAP, request(LOW, tool_choice={"type": "Image_Generation"}))

    assert answer.rules == ["always.tool_type"]
    assert answer.pointers == ["/tool_choice/type"]


# -- the text model ----------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        "gpt-image-2",
        "gpt-image-2-2026-04-21",
        "gpt-image-9",
        "GPT-Image-2",
        "chatgpt-image-latest",
        "dall-e-3",
        "DALL·E 3",
    ],
)
@pytest.mark.parametrize("word", ["allow", "strip", "block"])
def test_an_image_model_does_not_answer(model: str, word: str) -> None:
    """Without a tool, no rule of the policy would be asked."""
    answer = ask(f"tool: {word}", {"model": model, "input": "x"})

    assert (answer.rules, answer.pointers) == (["always.image_model"], ["/model"])


@pytest.mark.parametrize("model", ["gpt-5", "my-image-lover", None, 7, ["gpt-image-2"]])
def test_another_model_answers(model: object) -> None:
    """What is no text is for the provider to refuse."""
    assert ask("", {"model": model, "input": "x"}).word == "forward"


# -- Azure -------------------------------------------------------------------------

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

    assert answer.rules == ["always.deployment"]
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


def test_elsewhere_the_header_means_nothing() -> None:
    """It is the forwarder's to leave out."""
    answer = ask(CAP, request(LOW), headers={HEADER: "big"})

    assert answer.word == "forward"


# -- the Images API ----------------------------------------------------------------


def drawn(rules: str, at: str = IMAGES, **members: object) -> Answer:
    return ask(rules, {"prompt": "a cat", **members}, at=at)


def test_the_body_of_the_images_api_is_judged_as_the_tool() -> None:
    """By its own names and words, and with its own count."""
    rules = CAP + "limits: { images_api_n: { max: 2, otherwise: lower } }"
    sent = drawn(rules, model="gpt-image-2", quality="high", n=10, stream=True)

    assert sent.json == {
        "prompt": "a cat",
        "model": "gpt-image-2",
        "quality": "medium",
        "n": 2,
        "stream": True,
    }
    assert sent.pointers == ["/quality", "/n"]
    assert sent.decision.tools[0].carrier == "images_api"


@pytest.mark.parametrize(
    ("n", "expected"), [(None, "rewrite"), (1, "forward"), (2, "block"), ("1", "block")]
)
def test_the_number_of_images_is_capped(n: object, expected: str) -> None:
    """None given is written out."""
    rules = "limits: { images_api_n: 1 }"

    assert drawn(rules, model="gpt-image-2", n=n).word == expected


@pytest.mark.parametrize("word", ["strip", "block"])
def test_no_images_means_no_images_api(word: str) -> None:
    """There is nothing to strip: the body is the tool."""
    answer = drawn(f"tool: {word}")

    assert (answer.rules, answer.pointers) == (["tool"], [""])


@pytest.mark.parametrize(
    ("rules", "members", "rule"),
    [
        (CAP, {"quality": "hd"}, "settings.quality.max"),
        (CAP, {"quality": "ultra"}, "fields.unknown_values"),
        (CAP, {"Quality": "high"}, "always"),
        (CAP, {"images": [{"image_url": "x"}]}, "fields.unknown"),
        (CAP, {"svg": {"Model": "x"}}, "always"),
    ],
)
def test_the_images_api_is_no_way_around(
    rules: str, members: dict[str, Any], rule: str
) -> None:
    """Its other words and shapes are judged too."""
    assert rule in drawn(rules, model="gpt-image-2", **members).rules


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
        ("Mini", {}, ["models"]),
        ("two", {"quality": "high"}, ["models.gpt-image-2.quality.max"]),
        ("mini", {"quality": "high"}, []),
    ],
)
def test_the_deployment_in_a_path_is_the_model(
    deployment: str, members: dict[str, Any], expected: list[str]
) -> None:
    """No rewriting of the body moves it, so it is allowed or refused."""
    answer = drawn(DEPLOYED, PATH.format(deployment), **members)

    assert answer.rules == expected
    if not expected:
        assert answer.word == "forward"


# -- agents ------------------------------------------------------------------------

VERSIONS = "POST /api/projects/p/agents/a/versions"


def test_the_tools_of_an_agent_are_judged_when_it_is_made() -> None:
    """Later requests only name it."""
    made = {"definition": {"kind": "prompt", "model": "gpt-5", "tools": [HIGH]}}
    answer = ask(CAP, made, at=VERSIONS)
    stripped = ask(STRIP, made | {"x": 1}, at=VERSIONS)

    assert answer.json["definition"]["tools"][0]["quality"] == "medium"
    assert stripped.json["definition"]["tools"] == []


@pytest.mark.parametrize(
    "made",
    [
        {"definition": {"kind": "hosted"}},
        {"definition": {"kind": "Prompt"}},
        {"definition": {}},
        {"definition": None},
        {"manifest_id": "m"},
    ],
)
def test_an_agent_that_cannot_be_seen_is_refused(made: dict[str, Any]) -> None:
    """Only prompt agents say what they are made of."""
    assert ask(CAP, made, at=VERSIONS).rules == ["always.agent_kind"]


def test_an_agents_choice_goes_with_its_tool() -> None:
    """In the definition, where both stand."""
    made = {
        "definition": {"kind": "prompt", "tools": [HIGH], "tool_choice": IMAGE},
    }

    assert ask(STRIP, made, at=VERSIONS).json == {
        "definition": {"kind": "prompt", "tools": []}
    }


# -- readers -----------------------------------------------------------------------


def test_same_names_mean_other_things_elsewhere() -> None:
    """A request's own `moderation`, `background` and `model` are not the tool's."""
    rules = """
    settings:
      moderation: { allow: [auto], otherwise: { use: auto } }
      background: { allow: [opaque], default: opaque, otherwise: block }
    """
    asked = request(
        tool(moderation="auto", background="opaque"),
        moderation={"model": "omni", "policy": {"input": {"mode": "low"}}},
        background=True,
        image={"context_compression": "auto"},
        reasoning={"effort": "high"},
    )

    assert ask(rules, asked).word == "forward"


@pytest.mark.parametrize("escaped", [r'"\u0074ools"', r'"tool\u0073"'])
def test_an_escaped_name_is_the_name(escaped: str) -> None:
    """Read first, then judged, then written plainly."""
    text = json.dumps(request(HIGH)).replace('"tools"', escaped)
    answer = ask(CAP, text.encode())

    assert answer.tool["quality"] == "medium"
    assert b'"tools":' in (answer.data or b"")


def test_an_escaped_type_is_the_type() -> None:
    """The value is decoded before it is compared."""
    text = json.dumps(request(HIGH)).replace(
        "image_generation", r"image\u005fgeneration"
    )

    assert ask(CAP, text.encode()).tool["quality"] == "medium"


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (RESPONSES, '{"max_tool_calls":{"a":1,"a":2},"tools":[%s]}'),
        (RESPONSES, '{"conversation":{"id":"a","id":"b"}}'),
        (RESPONSES, '{"prompt":{"id":"a","id":"b"}}'),
        (IMAGES, '{"prompt":"x","size":{"a":1,"a":2}}'),
        (IMAGES, '{"prompt":"x","n":{"a":1,"a":2}}'),
    ],
)
def test_what_is_opened_late_is_read_as_strictly(at: str, text: str) -> None:
    """A member that is malformed is refused like a body that is."""
    rules = "limits: { max_tool_calls: 2, images_api_n: 1 }"
    answer = ask(rules, text.replace("%s", json.dumps(LOW)).encode(), at=at)

    assert isinstance(answer.decision, Block)
    assert answer.rules == ["always.malformed"]
    assert answer.violations[0].code == "duplicate_key"
    assert answer.decision.status == 400


def test_a_refusal_says_that_it_is_one() -> None:
    """With the code and status that the SDKs turn into their exceptions."""
    (violation,) = ask("tool: block", request(LOW)).violations

    assert isinstance(violation, Violation)
    assert (violation.code, violation.status) == ("image_policy_violation", 403)
