"""The provider's echo against the rules: what contradicts, and what never does."""

from __future__ import annotations

import datetime
import json
from typing import Any

import msgspec
import pytest

from imagegate import shipped
from imagegate.engine import echo as module
from imagegate.engine.body import read_body_now
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Reason, Shown
from imagegate.engine.echo import Findings, Mismatch, Yardstick
from imagegate.engine.events import TOO_LONG, EchoedTool, FinishedItem, Payload
from imagegate.engine.gate import Context, Gate
from imagegate.engine.request import Request
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER, Match, find_door
from imagegate.policyfile import check_policy

TODAY = datetime.date(2026, 11, 20)
CATALOGUE = shipped.catalogue()
HEAD = "version: 1\nname: echo\nowner: o@example.com\nmode: enforce\n"
RULES = (
    HEAD
    + """
models:
  gpt-image-1-mini: {}
  gpt-image-2: { quality: { max: low } }
  chatgpt-image-latest: {}
  otherwise: { use: gpt-image-1-mini }
settings:
  quality: { max: medium, default: medium, otherwise: lower }
  moderation: { allow: [auto], otherwise: { use: auto } }
  size: { max: 1536x1024, default: 1024x1024, otherwise: lower }
  partial_images: { max: 1, default: 0, otherwise: lower }
  output_compression: { max: 80, default: 80, otherwise: lower }
"""
)
AZURE = RULES + "deployments: { img-mini: gpt-image-1-mini, img-2: gpt-image-2 }\n"
SENT = {"type": "image_generation", "model": "gpt-image-1-mini"}
ECHO = {
    "type": "image_generation",
    "background": "auto",
    "model": "gpt-image-1-mini",
    "moderation": "auto",
    "n": 1,
    "output_compression": 100,
    "output_format": "png",
    "partial_images": 0,
    "quality": "medium",
    "size": "1024x1024",
}
RULED = {"model", "moderation", "partial_images", "quality", "size"}
LEFT = {"n", "output_compression"}
"""The server's own, and what has no place in a PNG: never verified."""


def yardstick(
    text: str = RULES,
    *tools: dict[str, Any],
    path: str = "/v1/responses",
    headers: tuple[tuple[str, str], ...] = (),
) -> Yardstick:
    """Decide on a request with these tools, and prepare for its answer."""
    checked = check_policy(text.encode(), catalogue=CATALOGUE, today=TODAY)
    assert checked.policy is not None, checked.problems
    door = find_door("POST", path)
    assert isinstance(door, Match)
    body = {"model": "gpt-5", "input": "x", "tools": tools}
    decision = Decider(checked.policy, CATALOGUE).decide(
        Request(
            match=door,
            date=TODAY,
            body=read_body_now(json.dumps(body).encode()),
            headers=headers,
        )
    )
    context = Context(decision_id="d", door=door, date=TODAY)
    gate = Gate(checked.policy, CATALOGUE)
    return gate.yardsticks(context, door, decision.tools, by_header=bool(headers))[0]


def echoed(at: str = "tools[0]", **changes: Any) -> EchoedTool:
    """Echo the ordinary tool with some members changed; None takes one away."""
    return EchoedTool(at=at, settings={**ECHO, **changes})


def broken(findings: Findings) -> set[str]:
    """Name the fields that contradict the policy."""
    return {item.field for item in findings.contradictions}


def test_an_echo_of_what_was_sent_is_verified() -> None:
    """With the defaults that the provider fills in beside it."""
    found = yardstick(RULES, SENT).measure([echoed()])

    assert found == Findings(verified=frozenset(RULED), unverified=frozenset(LEFT))


def test_an_echo_that_was_measured_before_means_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What only Python takes for equal is another echo; few are remembered."""
    monkeypatch.setattr(module, "MAX_MEASURED", 2)
    measure = yardstick(RULES, SENT)
    numbers = [measure.measure([echoed(partial_images=n)]) for n in (0, False, 0.0)]
    other = [echoed(quality="low")]
    long = [echoed(name="x" * 200, at=f"tools[{n}]") for n in range(20)]

    assert numbers[0] is not numbers[1]
    assert ["partial_images" in each.verified for each in numbers] == [True, 0, 0]
    assert measure.measure([echoed()]) is measure.measure([echoed()])
    assert measure.measure(other, added=True) != measure.measure(other)
    assert measure.measure(long) is not measure.measure(long)
    assert len(measure._measured) <= 2


@pytest.mark.parametrize(
    ("changes", "field", "observed", "sent", "rule"),
    [
        ({"quality": "high"}, "quality", "high", "medium", "settings.quality.max"),
        ({"quality": "max"}, "quality", "max", "medium", "settings.quality.max"),
        ({"quality": "auto"}, "quality", "auto", "medium", "settings.quality.max"),
        (
            {"moderation": "low"},
            "moderation",
            "low",
            "auto",
            "settings.moderation.allow",
        ),
        (
            {"size": "2048x2048"},
            "size",
            "2048x2048",
            "1024x1024",
            "settings.size.max",
        ),
        (
            {"partial_images": 3},
            "partial_images",
            3,
            0,
            "settings.partial_images.max",
        ),
        (
            {"partial_images": 99},
            "partial_images",
            99,
            0,
            "settings.partial_images.max",
        ),
        (
            {"model": "gpt-image-1.5"},
            "model",
            "gpt-image-1.5",
            "gpt-image-1-mini",
            "models",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_known_value_that_breaks_a_rule_contradicts(
    changes: dict[str, Any], field: str, observed: Shown, sent: Shown, rule: str
) -> None:
    """It is told with what was sent, and by which rule."""
    found = yardstick(RULES, SENT).measure([echoed(**changes)])

    assert found.contradictions == (
        Mismatch(
            at="tools[0]",
            field=field,
            observed=observed,
            sent=sent,
            by=Reason(rule=rule, layer="baseline", reason=""),
        ),
    )
    assert found.verified == RULED - {field}


def test_the_rules_of_the_echoed_model_hold() -> None:
    """A listed model with rules of its own, though another was sent."""
    found = yardstick(RULES, SENT).measure([echoed(model="gpt-image-2")])

    assert [item.by for item in found.contradictions] == [
        Reason(rule="models.gpt-image-2.quality.max", layer="baseline")
    ]
    assert found.differs == {"model"}


def test_the_rules_of_the_sent_model_hold_where_none_is_echoed() -> None:
    """The echo of OpenAI often names no model."""
    measure = yardstick(RULES, {**SENT, "model": "gpt-image-2"})

    found = measure.measure([echoed(model=None)])

    assert broken(found) == {"quality"}
    assert "model" in found.unverified


@pytest.mark.parametrize(
    ("changes", "unverified"),
    [
        ({"quality": None}, {"quality"}),
        ({"quality": "ultra"}, {"quality"}),
        ({"quality": TOO_LONG}, {"quality"}),
        ({"quality": ["high"]}, {"quality"}),
        ({"size": "huge"}, {"size"}),
        ({"partial_images": True}, {"partial_images"}),
        ({"partial_images": "3"}, {"partial_images"}),
        ({"model": "gpt-image-9-2027-01-01"}, {"model"}),
        ({"model": "GPT-Image-2"}, {"model"}),
        ({"model": ["gpt-image-2"]}, {"model"}),
        ({"n": 4}, set()),
        ({"dreams": "high"}, {"?"}),
        ({"sk-1234567890": "high"}, {"?"}),
        ({"skabcdef": "high"}, {"?"}),
    ],
    ids=str,
)
def test_what_is_absent_or_unknown_is_unverified(
    changes: dict[str, Any], unverified: set[str]
) -> None:
    """A provider may learn a word before the catalogue does."""
    found = yardstick(RULES, SENT).measure([echoed(**changes)])

    assert found.contradictions == ()
    assert found.unverified == LEFT | unverified
    assert found.verified == RULED - unverified


def test_a_value_within_the_rules_that_was_not_sent_differs() -> None:
    """It breaks nothing, so it cuts nothing."""
    found = yardstick(RULES, SENT).measure([echoed(quality="low")])

    assert (found.contradictions, {*found.differs}) == ((), {"quality"})


def test_a_snapshot_of_the_model_that_was_sent_is_that_model() -> None:
    """Providers answer an alias with what it stands for."""
    measure = yardstick(RULES, {**SENT, "model": "gpt-image-2"})

    found = measure.measure([echoed(model="gpt-image-2-2026-04-21", quality="low")])

    assert (found.contradictions, found.differs) == ((), frozenset())
    assert "model" in found.verified


def test_a_moving_alias_may_become_any_model() -> None:
    """What it means changes without notice."""
    measure = yardstick(RULES, {**SENT, "model": "chatgpt-image-latest"})

    found = measure.measure([echoed(model="gpt-image-2.6-sunburst")])

    assert (found.contradictions, "model" in found.unverified) == ((), True)


def test_auto_contradicts_only_a_value_that_was_sent() -> None:
    """A tool out of an earlier turn may say auto; nobody told it otherwise."""
    strangers = yardstick(RULES).measure([echoed(quality="auto", size="auto")])
    allowed = RULES.replace("max: medium,", "max: medium, allow_auto: true,")
    welcome = yardstick(allowed, SENT).measure([echoed(quality="auto")])

    assert strangers.contradictions == welcome.contradictions == ()
    assert strangers.unverified == LEFT | {"quality", "size"}
    assert "quality" in welcome.verified


def test_a_tool_that_nobody_sent_is_held_against_the_rules() -> None:
    """It came in through state: a prompt, an agent, an earlier response."""
    assert broken(yardstick(RULES).measure([echoed(quality="high")])) == {"quality"}
    assert broken(yardstick(RULES).measure([echoed(model="dall-e-3")])) == {"model"}


def test_among_more_tools_than_were_sent_none_is_known_to_be_ours() -> None:
    """More tools are no contradiction themselves: turns were judged one by one."""
    measure = yardstick(RULES, SENT)

    found = measure.measure([echoed(), echoed("tools[1]", size="auto")])
    added = measure.measure([echoed("output[0].tools[0]", size="auto")], added=True)

    assert (found.contradictions, added.contradictions) == ((), ())
    assert "size" in found.unverified
    assert "size" not in found.verified
    assert "size" in added.unverified


def test_a_field_with_no_place_in_the_tool_is_the_providers_to_fill() -> None:
    """The default compression of a PNG is 100 whatever a policy says of JPEGs."""
    measure = yardstick(RULES)

    png = measure.measure([echoed()])
    jpeg = measure.measure([echoed(output_format="jpeg")])

    assert (broken(png), broken(jpeg)) == (set(), {"output_compression"})


def test_a_field_that_was_left_out_is_the_providers_to_fill() -> None:
    """The policy looked at the request and left it open."""
    rule = "{ allow: [opaque], allow_auto: true, otherwise: strip }"
    text = f"{HEAD}settings: {{ background: {rule} }}\n"
    left = yardstick(text, {**SENT, "background": "transparent"})
    open_ = yardstick(text)
    echo = [echoed(background="transparent")]

    assert left.sent[0].enforced.get("background") is None
    assert broken(left.measure(echo)) == set()
    assert broken(open_.measure(echo)) == {"background"}


def test_without_a_list_any_model_will_do() -> None:
    """Nothing is said about models, so nothing is noted about a known one."""
    measure = yardstick(HEAD + "settings: { quality: { max: low, default: low } }\n")

    found = measure.measure([echoed(quality="low", model=None)])
    other = measure.measure([echoed(quality="low", model="gpt-image-1.5")])

    assert (
        found
        == other
        == Findings(verified=frozenset({"quality"}), unverified=frozenset({"n"}))
    )


def test_a_tool_that_the_policy_takes_away_must_not_be_there() -> None:
    """Whatever its settings; a type that only looks like it is not known."""
    measure = yardstick(HEAD + "tool: strip\n", SENT)

    found = measure.measure([echoed()])
    other = measure.measure([EchoedTool(at="tools[0]", settings=ECHO, exact=False)])

    assert broken(found) == {"tool"}
    assert other == Findings(unverified=frozenset({"type"}))


def test_a_mask_that_the_policy_takes_away_must_not_be_there() -> None:
    """It is told by its shape, for it may be an image."""
    text = HEAD + "settings: { input_image_mask: strip }\n"

    found = yardstick(text, SENT).measure([echoed(input_image_mask={"file_id": "f"})])

    assert [(item.field, item.observed) for item in found.contradictions] == [
        ("input_image_mask", "an object of 1 members")
    ]


@pytest.mark.parametrize(
    ("echoed", "expected"), [("low", set()), ("high", {"complexity"}), (None, set())]
)
def test_a_setting_that_was_left_out_in_doubt_is_held_against_the_echo(
    echoed: str | None, expected: set[str]
) -> None:
    """If the model has the field after all, the rule is broken before an image is."""
    rules = HEAD + (
        "settings: { complexity: { max: low, default: low, otherwise: lower } }\n"
    )
    sent = {"type": "image_generation", "model": "gpt-image-2.6-flare"}
    echo = sent if echoed is None else {**sent, "complexity": echoed}

    found = yardstick(rules, sent).measure([EchoedTool(at="tools[0]", settings=echo)])

    assert broken(found) == expected


def test_a_tool_of_which_not_all_is_known_is_unverified() -> None:
    """Members were left out of the copy."""
    tool = EchoedTool(at="tools[0]", settings=ECHO, whole=False)

    assert "?" in yardstick(RULES, SENT).measure([tool]).unverified


@pytest.mark.parametrize("model", ["img-mini", "gpt-image-1-mini"])
def test_on_azure_a_model_is_echoed_by_either_name(model: str) -> None:
    """By its deployment or by its own."""
    measure = yardstick(
        AZURE, {**SENT, "model": "img-mini"}, path="/openai/v1/responses"
    )

    found = measure.measure([echoed(model=model)])

    assert (broken(found), "model" in found.verified) == (set(), True)


def test_on_azure_another_model_behind_the_deployment_contradicts() -> None:
    """The operator's own table of deployments says otherwise."""
    measure = yardstick(
        AZURE, {**SENT, "model": "img-mini"}, path="/openai/v1/responses"
    )

    assert broken(measure.measure([echoed(model="gpt-image-1.5")])) == {"model"}


def test_on_azure_a_header_chooses_and_the_echo_need_not_follow() -> None:
    """What the provider echoes beside a header is not known; its rules still hold."""
    measure = yardstick(
        AZURE,
        {"type": "image_generation"},
        path="/openai/v1/responses",
        headers=((IMAGE_DEPLOYMENT_HEADER, "img-2"),),
    )

    found = measure.measure([echoed(model="gpt-image-1.5", quality="low")])
    higher = measure.measure([echoed(model="gpt-image-1.5", quality="medium")])

    assert (broken(found), "model" in found.unverified) == (set(), True)
    assert [item.by for item in higher.contradictions] == [
        Reason(rule="models.gpt-image-2.quality.max", layer="baseline")
    ]


def test_a_tool_that_was_sent_without_a_model_may_come_back_with_any() -> None:
    """No rule of this kind is enforced without one being written."""
    measure = yardstick(RULES, SENT)
    measure.sent = [
        msgspec.structs.replace(tool, enforced={"quality": "medium"})
        for tool in measure.sent
    ]

    found = measure.measure([echoed(model="gpt-image-1.5")])

    assert ("model" in broken(found), "model" in found.unverified) == (False, True)


def test_several_tools_are_one_echo() -> None:
    """A field is verified when it is in all of them."""
    text = RULES + "limits: { tools: 2 }\n"
    tools = [{**SENT, "quality": "low"}, {**SENT, "quality": "medium"}]
    measure = yardstick(text, *tools)

    found = measure.measure([echoed(quality="low"), echoed("tools[1]", size=None)])
    worse = measure.measure([echoed(quality="low"), echoed("tools[1]", quality="high")])

    assert found == Findings(
        verified=frozenset(RULED - {"size"}), unverified=frozenset(LEFT | {"size"})
    )
    assert worse.contradictions[0].sent is None


def test_what_only_the_server_says_leaves_nothing_in_doubt() -> None:
    """The number of images of one call is not ours to send."""
    assert yardstick().server_only == {"n"}


# -- finished images ------------------------------------------------------------


def item(**changes: Any) -> FinishedItem:
    """Finish the image that was ordered, but for some changes."""
    settings = {"size": "1024x1024", "quality": "medium", "output_format": "png"}
    return FinishedItem(
        type="response.output_item.done", item_id="ig_1", **{**settings, **changes}
    )


def mismatches(measure: Yardstick, **changes: Any) -> list[tuple[str, str | None]]:
    """Name the fields that are not as they should be, and the rules they break."""
    found = measure.measure_image(item(**changes), [echoed()]).mismatches
    return [(each.field, each.by.rule if each.by else None) for each in found]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"quality": None, "size": None}, []),
        ({"quality": "auto"}, []),
        ({"quality": "sublime"}, []),
        ({"background": "opaque"}, []),
        ({"quality": "high"}, [("quality", "settings.quality.max")]),
        ({"quality": "low"}, [("quality", None)]),
        ({"size": "1536x1024"}, [("size", None)]),
        ({"size": "2048x2048"}, [("size", "settings.size.max")]),
        (
            {"image": Payload(length=4, dimensions="2048x1024")},
            [("dimensions", "settings.size.max")],
        ),
        ({"image": Payload(length=4, dimensions="1024x1024")}, []),
        ({"image": Payload(length=4)}, []),
    ],
    ids=str,
)
def test_a_finished_image_is_held_against_what_was_sent(
    changes: dict[str, Any], expected: list[tuple[str, str | None]]
) -> None:
    """Against the rules first; its own header counts as much as its label."""
    assert mismatches(yardstick(RULES, SENT), **changes) == expected


def test_an_image_that_was_measured_before_means_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Few are remembered, each by all that it is measured by."""
    monkeypatch.setattr(module, "MAX_MEASURED", 3)
    measure = yardstick(RULES, SENT)
    wide = Payload(length=4, dimensions="2048x1024")
    said: list[dict[str, Any]] = [
        {"size": "2048x2048"},
        {"quality": "high"},
        {"background": "opaque"},
        {"output_format": "webp"},
        {"image": wide},
        {"quality": "sk-secret"},
    ]
    images = [item(**each) for each in (*said, *said)]

    again = [measure.measure_image(each) for each in images]

    fresh = [yardstick(RULES, SENT).measure_image(each) for each in images]
    assert again == fresh
    assert len(measure._images) <= 3
    assert measure.measure_image(item()) is measure.measure_image(item())
    assert again[1].shown["quality"] == "high"
    assert again[5].shown["quality"] == "a string of 9 characters"


def test_an_image_need_only_suit_one_of_the_tools() -> None:
    """It does not say which one made it."""
    text = RULES + "limits: { tools: 2 }\n"
    two = yardstick(text, {**SENT, "model": "gpt-image-2"}, SENT)

    assert mismatches(two, quality="medium") == []
    assert mismatches(two, quality="low") == []
    assert mismatches(two, quality="high") == [
        ("quality", "models.gpt-image-2.quality.max")
    ]


def test_an_image_of_a_tool_that_nobody_sent_is_held_against_the_rules() -> None:
    """By the model that was echoed, if any was."""
    measure = yardstick(RULES)
    second = [echoed(model="gpt-image-2")]
    nameless = [echoed(model=None)]

    assert mismatches(measure, quality="medium") == []
    by_second = measure.measure_image(item(quality="medium"), second)
    assert len(by_second.mismatches) == 1
    assert measure.measure_image(item(quality="medium"), nameless).mismatches == ()
    assert measure.measure_image(item(quality="medium")).mismatches == ()
    assert len(measure.measure_image(item(quality="high")).mismatches) == 1


def test_an_image_may_be_what_auto_became() -> None:
    """The policy lets the provider choose, and the provider chose."""
    text = RULES.replace("max: medium,", "max: medium, allow_auto: true,")
    measure = yardstick(text, {**SENT, "quality": "auto"})

    assert mismatches(measure, quality="high") == []


@pytest.mark.parametrize(
    ("tools", "drawing"),
    [
        ((), None),
        ((SENT,), "gpt-image-1-mini"),
        ((SENT, SENT | {"quality": "low"}), "gpt-image-1-mini"),
        ((SENT, SENT | {"model": "gpt-image-2"}), None),
    ],
)
def test_the_model_that_was_sent_is_known_where_one_alone_was(
    tools: tuple[dict[str, Any], ...], drawing: str | None
) -> None:
    """By the catalogue, or it may be anything."""
    measure = yardstick(RULES + "limits: { tools: 2 }\n", *tools)

    assert measure.drawing == drawing
    assert measure.only({"gpt-image-99"}) is None
    assert measure.only({None}) is None
