"""Whole requests: forward, rewrite or block, and the ways around that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import (
    AZURE,
    CATALOGUE,
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

from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Forward, Rewrite, Violation
from imagegate.engine.policy import ANONYMOUS
from imagegate.engine.request import Request

CAP = "settings: { quality: { max: medium, default: low, otherwise: lower } }\n"
LOW = tool(quality="low")
HIGH = tool(quality="high")
IMAGE = {"type": "image_generation"}
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


def test_every_reason_of_a_block_is_given() -> None:
    """In order."""
    asked = request(LOW, LOW) | {"prompt": "p"}
    answer = ask("limits: { tools: 1 }", asked)
    rules = [each.by.rule for each in answer.violations]

    assert rules == ["state.prompt", "limits.tools.max"]


def test_equal_strangers_can_be_found_by_a_keyed_hash() -> None:
    """Never by the value."""
    decider = Decider(policy(), CATALOGUE, hash_key=b"k")
    answer = ask(decider, request(tool(quality="sk-secret")))

    assert "(hmac " in str(answer.violations[0].before)
    assert "sk-secret" not in repr(answer.decision)


def test_rules_are_laid_out_once() -> None:
    """For each provider, kind of door and principal."""
    decider = Decider(policy(CAP + "deployments: { img: gpt-image-2 }"), CATALOGUE)

    assert ask(decider, request(HIGH)) == ask(decider, request(HIGH))
    assert ask(decider, request(HIGH), at=IMAGES).word == "block"
    assert len(decider._benches) == 2
    book = decider.book.page(ANONYMOUS, TODAY).acting
    assert decider.scene(book, door(AZURE)) is decider.scene(book, door(AZURE))
    assert decider.scene(book, door(AZURE)).deployments == {"img": "gpt-image-2"}
    assert decider.scene(book, door(AZURE), mapped=False).deployments == {}
    assert decider.scene(book, door()).deployments == {}


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


@pytest.mark.parametrize("word", ["allow", "strip", "block"])
def test_nobody_is_sent_to_a_tool_that_is_not_there_either(word: str) -> None:
    """Where the Images API is closed the tool is a way, unless that is closed too."""
    rules = f"tool: {word}\nsurface: {{ images_api: refuse }}"
    violation = ask(rules, {"prompt": "x"}, at=IMAGES).violations[0]
    judged = ask(f"tool: {word}", {"prompt": "x"}, at=IMAGES)

    assert not any(each.fix for each in judged.violations)
    assert ("image_generation tool" in violation.fix) == (word == "allow")
    assert ("image generation is not" in violation.message) == (word != "allow")


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


# -- a policy that only observes ----------------------------------------------------

OBSERVE = "version: 1\nname: p\nowner: o\nmode: observe\n"
ANY: dict[str, Any] = {"model": "gpt-5", "input": "x"}


@pytest.mark.parametrize(
    ("at", "asked", "headers", "rule"),
    [
        (RESPONSES, ANY | {"tools": [{"type": "Image_Gen"}]}, (), "always.tool_type"),
        (RESPONSES, ANY | {"extra": {"tools": [LOW]}}, (), "always.carrier"),
        (RESPONSES, {"model": "gpt-image-2", "input": "x"}, (), "always.image_model"),
        (RESPONSES, request(tool(model="GPT Image 2")), (), "always"),
        (AZURE, request(tool(model="a"), tool(model="b")), (), "always.deployment"),
        (AZURE, request(tool(model="a")), ((HEADER, "b"),), "always.deployment"),
        (IMAGES, {"prompt": "x", "Quality": "high"}, (), "always"),
        (RESPONSES, ANY | {"prompt": "pmpt_1"}, (), "state.prompt"),
    ],
)
def test_what_it_would_refuse_goes_on_unchanged(
    at: str, asked: dict[str, Any], headers: tuple[tuple[str, str], ...], rule: str
) -> None:
    """And is said; so is what no line of it says."""
    answer = ask(policy(head=OBSERVE), asked, at=at, headers=headers)

    assert isinstance(answer.decision, Forward)
    assert answer.headers == headers
    said = {(item.by.rule, item.by.mode) for item in answer.decision.observed}
    assert (rule, "observe") in said
    assert ask(policy(), asked, at=at, headers=headers).word != "forward"


@pytest.mark.parametrize(
    ("at", "asked", "headers", "rule"),
    [
        (SOCKET, {"type": "response.x"}, (), "always.message_type"),
        (
            "POST /api/projects/p/agents/a/versions",
            {"definition": {"kind": "hosted"}},
            (),
            "always.agent_kind",
        ),
        (AZURE, ANY, ((HEADER, "a"), (HEADER, "a")), "always.header"),
        (RESPONSES, None, (), "always.body"),
        (RESPONSES, b'{"conversation":{"id":"a","id":"b"}}', (), "always.malformed"),
        ("POST /v1/batches", {}, (), "always.batch"),
        ("POST /v1/uploads", None, (), "surface.uploads"),
        ("POST /v1/images/variations", None, (), "surface.images_api"),
        (
            "POST /api/projects/p/agents/a/endpoint/protocols/invocations",
            None,
            (),
            "surface.agent_endpoints",
        ),
    ],
)
def test_what_nobody_can_judge_is_refused_in_every_mode(
    at: str, asked: object, headers: tuple[tuple[str, str], ...], rule: str
) -> None:
    """Nothing goes on that was not judged, unless an operator opened the door."""
    answer = ask(policy(head=OBSERVE), asked, at=at, headers=headers)

    assert answer.rules == [rule]
    assert answer.violations[0].by.mode == "enforce"


@pytest.mark.parametrize(
    ("surface", "at", "asked"),
    [
        ("images_api", IMAGES, {"prompt": "x", "model": "gpt-image-2"}),
        ("responses", RESPONSES, ANY),
        ("responses", "GET /v1/responses/resp_1", None),
        ("websocket", SOCKET, None),
    ],
)
def test_a_door_that_would_be_closed_is_judged(
    surface: str, at: str, asked: object
) -> None:
    """That it would be closed is said first."""
    rules = policy(f"surface: {{ {surface}: refuse }}", head=OBSERVE)
    decision = ask(rules, asked, at=at).decision

    assert isinstance(decision, Forward)
    assert decision.inspected
    assert decision.observed[0].by.rule == f"surface.{surface}"
    assert decision.observed[0].by.mode == "observe"


def test_one_line_that_acts_makes_disguises_refusals_again() -> None:
    """They would be the way around it."""
    acting = "settings: { quality: { max: low, default: low, mode: enforce } }"
    asked = request({"type": "Image_Generation", "quality": "high"})

    assert ask(policy(acting, head=OBSERVE), asked).rules == ["always.tool_type"]


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


@pytest.mark.parametrize("word", ["strip", "block"])
def test_no_images_means_no_images_api(word: str) -> None:
    """There is nothing to strip: the body is the tool. What was asked is told."""
    answer = drawn(f"tool: {word}", model="gpt-image-2", quality="high")
    (told,) = answer.decision.tools

    assert (answer.rules, answer.pointers) == (["tool"], [""])
    assert told.requested == {"model": "gpt-image-2", "quality": "high"}
    assert (told.sent, told.enforced) == (False, {})


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


LISTED = "models: { gpt-image-2: {}, default: gpt-image-2, otherwise: block }\n"


@pytest.mark.parametrize(
    ("deployment", "expected"), [("img", "rewrite"), ("other", "block")]
)
def test_the_deployment_in_a_path_is_judged_before_the_body(
    deployment: str, expected: str
) -> None:
    """No rewriting of the body moves it."""
    rules = CAP + "deployments: { img: gpt-image-2 }\n" + LISTED
    at = f"POST /openai/deployments/{deployment}/images/generations"

    answer = drawn(rules, at, quality="high")

    assert answer.word == expected
    assert answer.decision.tools[0].requested["quality"] == "high"
    assert answer.decision.tools[0].sent == (expected == "rewrite")


# -- agents ------------------------------------------------------------------------

STRIP = "tool: { do: strip, reason: not yet }"
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


BOTH_ROUTES = """
settings:
  quality: { max: low, default: low, otherwise: lower }
  moderation: { allow: [auto], default: auto, otherwise: { use: auto } }
  input_fidelity: { allow: [low], default: low, otherwise: { use: low } }
  action: { allow: [generate], default: generate, otherwise: { use: generate } }
"""


@pytest.mark.parametrize(
    ("route", "written"),
    [("generations", {"moderation": "auto"}), ("edits", {"input_fidelity": "low"})],
)
def test_nothing_is_written_that_the_route_does_not_take(
    route: str, written: dict[str, str]
) -> None:
    """An unknown parameter fails every request; nobody can set it there either."""
    asked = {"model": "gpt-image-1.5", "prompt": "x", "quality": "high"}
    answer = ask(BOTH_ROUTES, asked, at=f"POST /v1/images/{route}")

    assert answer.json == {**asked, "quality": "low", **written}
    assert answer.word == "rewrite"


@pytest.mark.parametrize("route", ["generations", "edits"])
def test_what_is_said_all_the_same_is_held_to_the_rules(route: str) -> None:
    """The provider may take it tomorrow."""
    asked = {"prompt": "x", "moderation": "low", "input_fidelity": "high"}
    answer = ask(BOTH_ROUTES, asked, at=f"POST /v1/images/{route}")

    assert answer.json["moderation"] == "auto"
    assert answer.json["input_fidelity"] == "low"


def test_files_and_batches_are_judged_by_rules_of_their_own() -> None:
    rules = "surface: { files: enforce, batches: enforce }"
    purpose = {"purpose": "vision"}

    assert ask(rules, purpose, at="POST /v1/files").word == "forward"
    assert ask(rules, {"input_file_id": "f"}, at="POST /v1/batches").word == "block"


def test_what_was_decided_on_lines_is_a_part_of_the_decision() -> None:
    line = ask("tool: block", request(tool())).decision
    decider = Decider(policy("surface: { files: enforce }"), CATALOGUE)
    match = door("POST /v1/files")
    value = body({"purpose": "batch"}, match)
    upload = Request(match=match, date=TODAY, body=value, staged=line)

    assert decider.decide(upload) == line
