"""What fits where a setting stands: what is written instead, and what is suggested."""

from __future__ import annotations

from typing import Any

import pytest
from asking import AZURE, DESIGN, Answer, ask, request, tool


def one(rules: str, **settings: object) -> Answer:
    return ask(rules, request(tool(**settings)))


# -- what is written ---------------------------------------------------------------


MINI = "models: { gpt-image-1-mini: {}, otherwise: { use: gpt-image-1-mini } }\n"


@pytest.mark.parametrize(
    ("line", "asked", "expected"),
    [
        ("size: { allow: [1024x1024], default: 1024x1024 }", "2048x1152", "1024x1024"),
        ("quality: { max: low, default: low, otherwise: lower }", "max", "low"),
    ],
)
def test_a_setting_that_follows_keeps_to_its_line(
    line: str, asked: str, expected: str
) -> None:
    """The nearest that the model takes may still be too much."""
    name = line.partition(":")[0]
    rules = f"{MINI}settings: {{ {line} }}"

    assert one(rules, model="gpt-image-1.5", **{name: asked}).tool[name] == expected


@pytest.mark.parametrize(
    ("rules", "asked", "left"),
    [
        (MINI, {"size": "2048x1152"}, {"size": "1536x1024"}),
        (
            "settings: { output_format: { allow: [jpeg], otherwise: { use: jpeg } } }",
            {"background": "transparent"},
            {},
        ),
    ],
)
def test_what_follows_without_a_line_is_brought_near_or_left_out(
    rules: str, asked: dict[str, Any], left: dict[str, Any]
) -> None:
    """A size has one next to it, and a background none."""
    sent = one(rules, model="gpt-image-1.5", output_format="webp", **asked).tool

    assert {name: sent[name] for name in asked if name in sent} == left


def test_what_the_provider_decides_is_never_left_open() -> None:
    """A transparent default has no place in a JPEG, and silence is no way out."""
    rules = "settings: { background: { allow: [transparent], default: transparent } }"
    answer = one(rules, output_format="jpeg")

    assert answer.rules == ["settings.background.default"]
    assert one(rules, output_format="jpeg", background="auto").word == "block"


def test_what_an_open_setting_means_comes_from_the_provider() -> None:
    """Where the policy names no default; else from the value to use instead."""
    rules = """
    settings:
      output_format: { allow: [png, webp], otherwise: block }
      action: { allow: [generate], otherwise: { use: generate } }
      background: { allow: [opaque], otherwise: { use: opaque } }
    """
    sent = one(rules).tool

    assert (sent["output_format"], sent["action"]) == ("png", "generate")
    assert sent["background"] == "opaque"


TEAM = """
settings:
  output_format: { allow: [png, webp], otherwise: strip }
teams:
  design:
    match: { team: design }
    settings: { output_format: { allow: [webp], otherwise: { use: webp } } }
"""


def test_what_one_line_strips_another_may_demand() -> None:
    """Left out it would be a PNG, which the team's line forbids."""
    asked = request(tool(output_format="gif"))

    assert ask(TEAM, asked, principal=DESIGN).tool["output_format"] == "webp"
    assert "output_format" not in ask(TEAM, asked).tool


def test_what_is_stripped_may_be_left_to_the_provider() -> None:
    """Where the policy allows that."""
    rules = """
    settings: { background: { allow: [opaque], allow_auto: true, otherwise: strip } }
    """

    assert one(rules, background="transparent").tool == tool()


def test_what_a_line_strips_may_as_well_be_missing() -> None:
    """Left out it means the strict word, and nothing has to be written."""
    rules = "settings: { moderation: { allow: [auto], otherwise: strip } }"

    assert one(rules, moderation="low").tool == tool()
    assert one(rules).word == "forward"


def test_a_value_to_use_must_keep_to_every_line() -> None:
    """Else the request is refused, with what would pass."""
    rules = """
    settings:
      quality: { max: medium, default: low, otherwise: { use: medium } }
    teams:
      design:
        match: { team: design }
        settings: { quality: { max: low, otherwise: block } }
    """
    asked = request(tool(quality="high"))
    answer = ask(rules, asked, principal=DESIGN)
    violation = answer.violations[0]

    assert violation.by.rule == "teams.design.settings.quality.max"
    assert violation.fix == "set `quality` to low"
    assert violation.allowed == ("low",)
    assert violation.message.startswith("`quality` is high, which is not allowed")


# -- doubt -------------------------------------------------------------------------


COMPLEXITY = "settings: { complexity: { max: low, default: low, otherwise: lower } }"
FIDELITY = "settings: {{ input_fidelity: {{ allow: [{0}], default: {0} }} }}"


@pytest.mark.parametrize(
    ("rules", "model", "asked", "expected"),
    [
        (COMPLEXITY, "gpt-image-2.6-sunburst", None, "low"),
        (COMPLEXITY, "gpt-image-2.6-flare", None, None),
        (COMPLEXITY, "gpt-image-1-mini", None, None),
        (COMPLEXITY, "gpt-image-1-mini", "high", "low"),
        (COMPLEXITY, None, None, "low"),
        (FIDELITY.format("low"), "gpt-image-2.5-flare", None, None),
        (FIDELITY.format("high"), "gpt-image-2.5-flare", None, "high"),
        (FIDELITY.format("low"), "gpt-image-1.5", None, "low"),
    ],
)
def test_a_default_is_written_where_the_model_has_the_field(
    rules: str, model: str | None, asked: str | None, expected: str | None
) -> None:
    """Where nobody says whether it does, writing it might fail every request."""
    name = "complexity" if rules is COMPLEXITY else "input_fidelity"
    settings = {"model": model, name: asked}
    answer = one(rules, **{key: x for key, x in settings.items() if x is not None})
    told = answer.decision.tools[0]

    assert answer.tool.get(name) == expected
    assert told.unverified == (() if expected is not None else (name,))


def test_a_model_that_nobody_knows_may_not_have_the_field() -> None:
    """The operator lets it pass; the echo says what came of it."""
    rules = COMPLEXITY + "\nfields: { unknown_values: pass }"
    answer = one(rules, model="my-own-model")

    assert answer.word == "forward"
    assert answer.decision.tools[0].unverified == ("complexity",)


# -- what is suggested -------------------------------------------------------------

STRICT = """
models: { gpt-image-1-mini: {}, default: gpt-image-1-mini, otherwise: block }
settings:
  quality: { max: high, min: medium, default: high, otherwise: block }
  moderation: { allow: [auto], otherwise: block }
  background: { allow: [opaque], default: opaque, otherwise: block }
  output_format: { allow: [webp, png, gif, svg], otherwise: block }
  partial_images: { max: 1, default: 0, otherwise: block }
  output_compression: { min: 60, default: 80, otherwise: block }
  frame_count: { max: 4, default: 4, otherwise: block }
"""


@pytest.mark.parametrize(
    ("settings", "fix", "allowed"),
    [
        ({"quality": "hd"}, "medium", ("medium", "high", "auto")),
        ({"moderation": "none"}, "auto", ("auto",)),
        ({"background": "red"}, "opaque", ("opaque", "auto")),
        ({"output_format": "bmp"}, "png", ("png", "webp", "gif", "svg")),
        ({"partial_images": 9}, 1, ()),
        ({"partial_images": "2"}, 0, ()),
        ({"partial_images": True}, 0, ()),
        ({"output_format": "webp", "output_compression": -1}, 60, ()),
        ({"output_format": "webp", "output_compression": 99.5}, 80, ()),
        ({"output_format": "gif", "frame_count": 1}, 2, ()),
        ({"model": 7}, "gpt-image-1-mini", ("gpt-image-1-mini",)),
    ],
)
def test_what_is_suggested_for_an_unknown_value_keeps_to_the_rules(
    settings: dict[str, object], fix: object, allowed: tuple[object, ...]
) -> None:
    """Whoever does what the refusal says is not refused for another line."""
    name = list(settings)[-1]

    [said] = one(STRICT, **settings).violations

    assert (said.fix, said.allowed) == (f"set `{name}` to {fix}", allowed)
    assert one(STRICT, **(settings | {name: fix})).word == "rewrite"


@pytest.mark.parametrize("value", [9, 2, "x"])
def test_the_default_is_suggested_where_the_nearest_number_has_no_place(
    value: object,
) -> None:
    """A drawing has no partial images, and none of them is a number."""
    settings = {"output_format": "svg", "partial_images": value}

    [said] = one(STRICT, **settings).violations

    assert said.fix == "set `partial_images` to 0"
    assert one(STRICT, **(settings | {"partial_images": 0})).word == "rewrite"


@pytest.mark.parametrize("value", [99, 16, "x"])
def test_a_number_without_a_place_is_to_be_left_out(value: object) -> None:
    """A format that takes no such setting takes no other value of it either."""
    settings = {"output_format": "svg", "frame_count": value}

    [said] = one(STRICT, **settings).violations

    assert said.fix == "leave out `frame_count`"
    assert one(STRICT, output_format="svg").word == "rewrite"


@pytest.mark.parametrize("model", ["gpt-image-1-mini", "gpt-image-2"])
def test_a_size_is_suggested_that_the_suggested_model_makes(model: str) -> None:
    """Requests for older models come with sizes that no other one makes."""
    rules = f"""
    models: {{ {model}: {{}}, default: {model}, otherwise: block }}
    settings:
      size: {{ max: 1536x1024, default: 1024x1024, otherwise: block }}
    """

    first, second = one(rules, model="dall-e-3", size="1792x1024").violations

    assert first.fix == f"set `model` to {model}"
    size = second.fix.removeprefix("set `size` to ")
    assert one(rules, model=model, size=size).word == "forward"


def test_no_size_is_suggested_where_none_of_the_suggested_model_is_allowed() -> None:
    """Its smallest one may be over the cap."""
    rules = """
    models:
      gpt-image-1-mini: {}
      gpt-image-2: {}
      default: gpt-image-2
      otherwise: block
    settings:
      size: { max: 1008x1008, default: 1008x1008, otherwise: block }
    """

    _, second = one(rules, model="dall-e-3", size="1792x1024").violations

    assert second.fix == ""


def test_a_word_that_the_model_has_no_field_for_is_to_be_left_out() -> None:
    """No other word would do."""
    [said] = ask("", request(tool(input_fidelity="x")), at=AZURE).violations
    [mini] = ask(
        "",
        request(tool(model="gpt-image-1-mini", input_fidelity="x")),
        at=AZURE,
    ).violations

    assert said.fix == "set `input_fidelity` to low"
    assert (mini.fix, mini.allowed) == ("leave out `input_fidelity`", ())


def test_a_number_that_no_line_speaks_of_gets_the_provider_s_own() -> None:
    """Where a value has nothing near it."""
    [said] = one("", output_format="gif", frame_duration_ms="slow").violations

    assert said.fix == "set `frame_duration_ms` to 200"


@pytest.mark.parametrize(
    ("name", "baseline", "exempt", "fix"),
    [
        ("output_format", "[png, webp]", "[webp]", "set `output_format` to webp"),
        ("partial_images", "[0, 2]", "[2]", "set `partial_images` to 2"),
    ],
)
def test_what_cannot_be_left_open_must_be_chosen(
    name: str, baseline: str, exempt: str, fix: str
) -> None:
    """Where the provider's own choice is not allowed, and no other is named."""
    rules = f"""
    settings: {{ {name}: {{ allow: {baseline}, otherwise: block }} }}
    exceptions:
      - id: E-1
        for: {{ team: design }}
        set: {{ settings.{name}.allow: {exempt} }}
        until: 2026-12-31
        approved_by: boss
    """
    (violation,) = ask(rules, request(tool()), principal=DESIGN).violations

    assert violation.message.startswith(f"`{name}` must be chosen: one of ")
    assert violation.fix == fix
