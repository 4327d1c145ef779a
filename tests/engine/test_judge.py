"""One image tool against the rules: what is kept, written, followed and refused."""

from __future__ import annotations

from typing import Any

import pytest
from asking import AZURE, DESIGN, IMAGES, Answer, ask, policy, request, tool

CAPS = """
settings:
  quality: { max: medium, default: low, otherwise: lower, reason: budget }
  size: { max: 1536x1024, default: 1024x1024, otherwise: lower }
  moderation: { allow: [auto], otherwise: { use: auto } }
  background: { allow: [opaque], default: opaque, otherwise: block }
  partial_images: { max: 1, default: 0, otherwise: lower }
"""
FILLED = {
    "quality": "low",
    "size": "1024x1024",
    "moderation": "auto",
    "background": "opaque",
    "partial_images": 0,
}


def one(rules: str, **settings: object) -> Answer:
    return ask(rules, request(tool(**settings)))


# -- values ------------------------------------------------------------------------


def test_a_tool_that_says_nothing_gets_the_defaults_written_out() -> None:
    """Saying nothing leaves the choice to the provider, which no cap can hold."""
    answer = one(CAPS)

    assert answer.tool == {"type": "image_generation"} | FILLED
    assert {change.pointer for change in answer.changes} == {
        f"/tools/0/{name}" for name in FILLED
    }


@pytest.mark.parametrize("name", ["quality", "size", "background"])
@pytest.mark.parametrize("open_", ["auto", None])
def test_auto_and_null_are_choices_too(name: str, open_: str | None) -> None:
    """They mean that the provider decides, and become the default."""
    assert one(CAPS, **{name: open_}).tool[name] == FILLED[name]


def test_auto_survives_where_the_policy_says_so() -> None:
    """And so does saying nothing; other words are held as ever."""
    rules = "settings: { quality: { max: low, allow_auto: true, otherwise: lower } }"

    assert one(rules).word == "forward"
    assert one(rules, quality="auto").word == "forward"
    assert one(rules, quality="high").tool["quality"] == "low"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("quality", "low", "low"),
        ("quality", "medium", "medium"),
        ("quality", "high", "medium"),
        ("quality", "max", "medium"),
        ("size", "1024x1536", "1024x1536"),
        ("size", "2048x1152", "1536x864"),
        ("moderation", "low", "auto"),
        ("partial_images", 3, 1),
    ],
)
def test_a_value_is_kept_or_brought_under_its_line(
    name: str, value: object, expected: object
) -> None:
    """Nothing that is allowed is touched."""
    settings = FILLED | {"model": "gpt-image-2", name: value}

    assert one(CAPS, **settings).tool == tool(**(settings | {name: expected}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality", "HIGH"),
        ("quality", ["high"]),
        ("quality", " low"),
        ("quality", 1),
        ("quality", True),
        ("size", "1536X1024"),
        ("size", "1536×1024"),
        ("size", "١٠٢٤x1024"),
        ("size", "+1536x1024"),
        ("size", "512x512x1536"),
        ("size", "9999999x1"),
        ("size", "01024x1024"),
        ("size", {"width": 1024}),
        ("moderation", False),
        ("moderation", "Auto"),
        ("partial_images", "1"),
        ("partial_images", 1.0),
        ("partial_images", True),
        ("partial_images", -1),
        ("partial_images", 4),
        ("partial_images", 2**70),
        ("output_compression", 101),
        ("output_format", "PNG"),
        ("action", "delete"),
        ("svg", {"model": 7}),
    ],
)
@pytest.mark.parametrize("rules", ["", CAPS])
def test_a_value_that_nobody_knows_is_refused(
    rules: str, name: str, value: object
) -> None:
    """Another reader may know it; a rule for the field makes no difference."""
    answer = one(rules, **{name: value})

    assert answer.word == "block"
    assert "fields.unknown_values" in answer.rules
    assert f"/tools/0/{name}" in answer.pointers[0]


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


def test_an_exponent_is_no_whole_number() -> None:
    """`1e0` is 1 to some readers and a string of digits to others."""
    body = b'{"input":"x","tools":[{"type":"image_generation","partial_images":1e0}]}'

    assert ask(CAPS, body).word == "block"


LENIENT = "fields: { unknown_values: pass }\n"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("quality", "ultra", "block"),
        ("quality", 7, "block"),
        ("size", "1536X1024", "block"),
        ("background", "tinted", "block"),
        ("partial_images", 1.0, "block"),
        ("moderation", "none", "rewrite"),
        ("action", "paint", "forward"),
        ("output_compression", 1.5, "forward"),
    ],
)
def test_an_unknown_value_that_may_pass_is_still_held_by_a_line(
    name: str, value: object, expected: str
) -> None:
    """It cannot be compared, so it breaks every line there is; others let it pass."""
    assert one(LENIENT + CAPS, **(FILLED | {name: value})).word == expected


# -- the model ---------------------------------------------------------------------

MODELS = """
models:
  gpt-image-1-mini: {}
  gpt-image-2: { quality: { max: low, default: low, otherwise: lower } }
  otherwise: { use: gpt-image-1-mini }
settings:
  quality: { max: high, default: medium, otherwise: lower }
"""


@pytest.mark.parametrize(
    ("asked", "quality", "expected"),
    [
        (None, None, ("gpt-image-1-mini", "medium")),
        ("gpt-image-2", None, ("gpt-image-2", "low")),
        ("gpt-image-2", "high", ("gpt-image-2", "low")),
        ("gpt-image-2-2026-04-21", "high", ("gpt-image-2-2026-04-21", "low")),
        ("gpt-image-1-mini", "high", ("gpt-image-1-mini", "high")),
        ("gpt-image-2.5-flare", "max", ("gpt-image-1-mini", "high")),
    ],
)
def test_what_holds_for_a_model_alone_goes_with_the_model(
    asked: str | None, quality: str | None, expected: tuple[str, str]
) -> None:
    """With its snapshots, and with the model that is written in its place."""
    sent = one(MODELS, model=asked, quality=quality).tool

    assert (sent["model"], sent["quality"]) == expected


def test_a_team_cannot_be_escaped_by_a_dated_name() -> None:
    """What it says of a model holds where the baseline lists a snapshot besides."""
    rules = """
    models: { gpt-image-2: {}, gpt-image-2-2026-04-21: {}, default: gpt-image-2 }
    teams:
      design:
        match: { team: design }
        models:
          gpt-image-2: { quality: { max: low, default: low } }
          default: gpt-image-2
    """
    asked = request(tool(model="gpt-image-2-2026-04-21", quality="high"))
    answer = ask(rules, asked, principal=DESIGN)

    assert answer.rules == ["teams.design.models.gpt-image-2.quality.max"]


@pytest.mark.parametrize(
    ("rules", "model", "rule", "fix"),
    [
        (
            "models: { gpt-image-2: {}, default: gpt-image-2 }",
            "gpt-image-1.5",
            "models",
            "set `model` to gpt-image-2",
        ),
        ("", "GPT-image-2", "always", ""),
        ("", ["gpt-image-2"], "always", ""),
        ("", "gpt-image-9", "fields.unknown_values", ""),
        (
            "models: { gpt-image-2: {}, default: gpt-image-2 }",
            "gpt-image-2 ",
            "always",
            "set `model` to gpt-image-2",
        ),
    ],
)
def test_a_model_is_refused_with_what_would_pass(
    rules: str, model: object, rule: str, fix: str
) -> None:
    """By the list, or because it is no exact name."""
    answer = one(rules, model=model)

    assert (answer.rules, answer.pointers) == ([rule], ["/tools/0/model"])
    assert answer.violations[0].fix == fix


def test_no_model_is_refused_where_none_can_be_written() -> None:
    """On Azure, where no deployment of the default is known."""
    rules = """
    models: { gpt-image-2: {}, default: gpt-image-2 }
    deployments: { mini: gpt-image-1-mini }
    """
    answer = ask(rules, request(tool()), at=AZURE)

    assert answer.violations[0].message == "no image model is named"


# -- what follows ------------------------------------------------------------------

USE = """
models: {{ {0}: {{}}, otherwise: {{ use: {0} }} }}
"""


def moved(to: str, rules: str = "", **settings: object) -> Answer:
    return one(USE.format(to) + rules, model="gpt-image-1.5", **settings)


@pytest.mark.parametrize(
    ("to", "settings", "expected"),
    [
        ("gpt-image-2", {"input_fidelity": "high"}, {}),
        ("gpt-image-1-mini", {"input_fidelity": "high"}, {"input_fidelity": "low"}),
        ("gpt-image-1-mini", {"size": "1024x1536"}, {"size": "1024x1536"}),
        ("gpt-image-1-mini", {"size": "2048x1152"}, {"size": "1536x1024"}),
        ("gpt-image-1-mini", {"quality": "max"}, {"quality": "high"}),
        ("gpt-image-2.5-flare", {"quality": "high"}, {"quality": "high"}),
        ("gpt-image-2", {"size": "auto"}, {"size": "auto"}),
        ("dall-e-3", {"size": "auto"}, {}),
        ("dall-e-3", {"size": "1536x1024"}, {"size": "1024x1024"}),
        ("dall-e-3", {"size": "2048x1152"}, {"size": "1792x1024"}),
    ],
)
def test_settings_follow_a_model_that_was_written(
    to: str, settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Kept where it takes them, brought to the nearest, or left out."""
    assert moved(to, **settings).tool == tool(model=to, **expected)


def test_a_setting_that_follows_keeps_to_its_line() -> None:
    """The nearest that the model takes may still be too much."""
    line = "settings: { size: { allow: [1024x1024], default: 1024x1024 } }\n"
    sizes = "settings: { quality: { max: low, default: low, otherwise: lower } }\n"

    assert moved("gpt-image-1-mini", line, size="2048x1152").tool["size"] == "1024x1024"
    assert moved("gpt-image-1-mini", sizes, quality="max").tool["quality"] == "low"


def test_a_setting_without_a_fitting_value_gets_the_default() -> None:
    """Where its line would not let it be left out."""
    rules = """
    settings:
      output_format: { allow: [jpeg], otherwise: { use: jpeg } }
      background: { allow: [transparent, opaque], default: opaque }
    """

    assert one(rules, output_format="webp", background="transparent").tool == tool(
        output_format="jpeg", background="opaque"
    )


FORMAT = """
settings:
  output_format: { allow: [png, jpeg, gif, svg], otherwise: { use: jpeg } }
"""


@pytest.mark.parametrize(
    ("format_", "settings", "expected"),
    [
        ("webp", {"background": "transparent"}, {}),
        ("webp", {"background": "opaque"}, {"background": "opaque"}),
        ("webp", {"output_compression": 50}, {"output_compression": 50}),
        ("gif", {"frame_count": 4}, {"frame_count": 4}),
    ],
)
def test_settings_follow_a_format_that_was_written(
    format_: str, settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    """A webp may be transparent, the jpeg in its place may not."""
    sent = one(FORMAT, output_format=format_, **settings).tool
    expected = expected | {"output_format": "gif" if format_ == "gif" else "jpeg"}

    assert sent == tool(**expected)


def test_a_clients_own_mistake_is_left_to_the_provider() -> None:
    """Nothing was changed, so nothing is answered for."""
    answer = one("", output_format="jpeg", background="transparent")

    assert answer.word == "forward"


def test_a_rewrite_is_never_known_to_be_illegal() -> None:
    """The provider would refuse it after all, so it is refused at once."""
    rules = "settings: { quality: { max: low, default: low, otherwise: lower } }"
    mistake = one(rules, output_format="jpeg", background="transparent")
    frames = one(rules, frame_count=4)

    assert mistake.rules == ["catalogue.transparent-needs-alpha"]
    assert mistake.pointers == ["/tools/0/background"]
    assert frames.violations[0].fix == "leave out `frame_count`"


# -- places ------------------------------------------------------------------------

PLACES = """
settings:
  frame_count: { max: 4, default: 2, otherwise: lower }
  svg.model: { allow: [gpt-5], default: gpt-5, otherwise: block }
  svg.reasoning.effort: { max: low, default: low, otherwise: lower }
  input_fidelity: { max: low, default: low, otherwise: lower }
  output_compression: { max: 80, default: 80, otherwise: lower }
"""


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ({"model": "gpt-image-2"}, {}),
        ({"model": "gpt-image-1.5"}, {"input_fidelity": "low"}),
        (
            {"model": "gpt-image-2", "output_format": "gif"},
            {"frame_count": 2},
        ),
        (
            {"model": "gpt-image-2", "output_format": "svg"},
            {"svg": {"model": "gpt-5", "reasoning": {"effort": "low"}}},
        ),
        (
            {"model": "gpt-image-2", "output_format": "webp"},
            {"output_compression": 80},
        ),
    ],
)
def test_a_default_is_written_only_where_it_has_a_place(
    settings: dict[str, Any], added: dict[str, Any]
) -> None:
    """Frames are for a GIF, an author for an SVG, compression for a JPEG or WebP."""
    assert one(PLACES, **settings).tool == tool(**settings, **added)


def test_what_the_provider_decides_is_never_left_open() -> None:
    """A transparent default has no place in a JPEG, and silence is no way out."""
    rules = "settings: { background: { allow: [transparent], default: transparent } }"
    answer = one(rules, output_format="jpeg")

    assert answer.rules == ["settings.background.default"]
    assert one(rules, output_format="jpeg", background="auto").word == "block"


@pytest.mark.parametrize(
    "odd", [[], ["gpt-5"], [{"model": "gpt-5"}], "gpt-5", 7, True, None]
)
def test_an_odd_value_in_the_place_of_an_object_goes(odd: object) -> None:
    """What is written needs an object to stand in."""
    answer = one(PLACES, model="gpt-image-2", output_format="svg", svg=odd)

    assert answer.tool["svg"] == {"model": "gpt-5", "reasoning": {"effort": "low"}}


def test_a_dotted_key_is_no_setting() -> None:
    """`svg.model` is a field that nobody knows, and its name is not repeated."""
    answer = ask(PLACES, request(tool(**{"svg.model": "gpt-6"})))

    assert answer.rules == ["fields.unknown"]
    assert answer.pointers == ["/tools/0/?"]


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


def test_what_is_stripped_takes_the_default_where_there_is_one() -> None:
    """It is left out then, and what is left out is written."""
    rules = """
    settings:
      action: { allow: [generate, auto], default: generate, otherwise: strip }
    """

    assert one(rules, action="edit").tool == tool(action="generate")


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


# -- members -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected"),
    [("pass", "forward"), ("strip", "rewrite"), ("block", "block")],
)
@pytest.mark.parametrize(
    ("stance", "name", "value"),
    [
        ("fields.deprecated", "name", "x"),
        ("fields.deprecated", "tool_configs", {"a": {"pin": True}}),
        ("fields.unknown", "zz", {"quality": "high"}),
        ("fields.unknown", "n", 4),
        ("settings.input_image_mask", "input_image_mask", {"file_id": "f"}),
    ],
)
def test_other_members_are_treated_as_the_policy_says(
    stance: str, name: str, value: object, word: str, expected: str
) -> None:
    """Passed, left out, or refused; nothing else moves."""
    section, _, key = stance.partition(".")
    word = "allow" if (section, word) == ("settings", "pass") else word
    answer = ask(f"{section}: {{ {key}: {word} }}", request(tool(**{name: value})))

    assert answer.word == expected
    if expected == "rewrite":
        assert answer.tool == tool()
    if expected != "forward":
        assert (answer.rules, answer.pointers) == ([stance], [f"/tools/0/{name}"])


def test_members_of_members_are_fields_too() -> None:
    """Inside of known objects, however deep, and nowhere else."""
    inner = tool(
        output_format="svg",
        svg={"model": "gpt-5", "zz": 1, "reasoning": {"effort": "low", "yy": 2}},
        input_image_mask={"file_id": "f", "xx": 3},
    )
    sent = ask("fields: { unknown: strip }", request(inner))

    assert sent.tool["svg"] == {"model": "gpt-5", "reasoning": {"effort": "low"}}
    assert sent.tool["input_image_mask"] == {"file_id": "f"}
    assert sent.pointers == [
        "/tools/0/svg/zz",
        "/tools/0/svg/reasoning/yy",
        "/tools/0/input_image_mask/xx",
    ]


def test_a_mask_that_is_null_is_none() -> None:
    """There is nothing to refuse."""
    rules = "settings: { input_image_mask: block }"

    assert one(rules, input_image_mask=None).word == "forward"


@pytest.mark.parametrize(
    "name", ["Quality", "QUALITY", "quality ", "ｑuality", "qual-ity"]
)
@pytest.mark.parametrize("word", ["pass", "strip", "block"])
def test_a_name_that_looks_like_a_field_is_refused(name: str, word: str) -> None:
    """Some servers read it as the field, whatever a policy says of unknown ones."""
    body = {"model": "gpt-image-2", "prompt": "x", name: "high"}
    answer = ask(f"fields: {{ unknown: {word} }}", body, at=IMAGES)

    assert answer.rules == ["always"]


# -- words -------------------------------------------------------------------------


def test_every_change_says_what_why_and_by_whom() -> None:
    """For the developer, the record, and the auditor."""
    rules = """
    settings:
      quality:
        { max: medium, default: low, otherwise: lower, reason: budget, owner: finance }
    """
    (change,) = one(rules, quality="high").changes

    assert (change.pointer, change.field) == ("/tools/0/quality", "quality")
    assert (change.before, change.after) == ("high", "medium")
    assert (change.by.rule, change.by.layer) == ("settings.quality.max", "baseline")
    assert (change.by.reason, change.by.owner) == ("budget", "finance")
    assert change.message == "`quality` becomes medium: at most medium"


@pytest.mark.parametrize(
    ("rules", "settings", "message", "fix"),
    [
        (
            "settings: { quality: { max: low, default: low } }",
            {"quality": "high"},
            "`quality` is high, which is not allowed: at most low",
            "set `quality` to low",
        ),
        (
            "settings: { background: { allow: [opaque], default: opaque } }",
            {"background": "transparent"},
            "`background` is transparent, which is not allowed: one of opaque",
            "set `background` to opaque",
        ),
        (
            "settings: { moderation: { min: auto, default: auto, otherwise: block } }",
            {"moderation": "low"},
            "`moderation` is low, which is not allowed: at least auto",
            "set `moderation` to auto",
        ),
        (
            "settings: { size: { max: 1024x1024, default: 1024x1024 } }",
            {"size": "2048x1152"},
            "`size` is 2048x1152, which is not allowed: at most 1024x1024",
            "set `size` to 1024x640",
        ),
        (
            "settings: { partial_images: { max: 1, default: 1 } }",
            {"partial_images": 2},
            "`partial_images` is 2, which is not allowed: at most 1",
            "set `partial_images` to 1",
        ),
    ],
)
def test_a_refusal_says_what_is_allowed_and_what_would_pass(
    rules: str, settings: dict[str, Any], message: str, fix: str
) -> None:
    """The smallest change that would."""
    (violation,) = one(rules, **settings).violations

    assert (violation.message, violation.fix) == (message, fix)


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "`output_format` has no value that is allowed"),
        ({"output_format": "png"}, "`output_format` is png, which is not allowed: "),
    ],
)
def test_who_is_left_no_value_is_told_whom_to_ask(
    settings: dict[str, Any], message: str
) -> None:
    """Any value that a refusal named would be refused by the other line."""
    rules = """
    settings: { output_format: { allow: [png, webp, jpeg] } }
    teams:
      a:
        match: { team: design }
        settings: { output_format: { allow: [jpeg], default: jpeg } }
      b:
        match: { team: design }
        settings: { output_format: { allow: [webp], default: webp } }
    """
    answer = ask(rules, request(tool(**settings)), principal=DESIGN)
    (violation,) = answer.violations

    assert violation.message.startswith(message)
    assert violation.allowed == ()
    assert violation.fix == (
        "ask the owner of the policy, for `settings.output_format.allow` and "
        "`teams.a.settings.output_format.allow` and "
        "`teams.b.settings.output_format.allow` leave no value"
    )


def test_a_judged_tool_says_what_was_asked_meant_and_sent() -> None:
    """With the provider's defaults where they are known, and no stranger's words."""
    answer = ask(
        "settings: { quality: { max: low, default: low, otherwise: lower } }",
        request(tool(quality="high", svg={"model": "secret"}, partial_images=None)),
    )
    (judged,) = answer.decision.tools

    assert (judged.pointer, judged.carrier) == ("/tools/0", "tools")
    assert judged.requested == {
        "quality": "high",
        "svg.model": "a string of 6 characters",
    }
    assert judged.effective["model"] == "gpt-image-2.6-sunburst"
    assert judged.effective["output_format"] == "png"
    assert "size" in judged.effective
    assert judged.enforced == {**judged.requested, "quality": "low"}


def test_a_policy_may_be_read_once_for_all() -> None:
    """The same answer from the policy as from its text."""
    asked = request(tool(quality="high"))

    assert ask(policy(CAPS), asked) == ask(CAPS, asked)


def test_a_disguise_is_only_observed_where_nothing_acts() -> None:
    """The request goes on as it came."""
    head = "version: 1\nname: p\nowner: o\nmode: observe\n"
    answer = ask(policy(head=head), request(tool(model="GPT-Image-2")))

    assert answer.word == "forward"
    assert [item.by.rule for item in answer.decision.observed] == ["always"]


def test_it_is_told_what_a_tool_came_with_besides_its_settings() -> None:
    """Deprecated members by name, strangers by number, and whether there was a mask."""
    rules = "fields: { unknown: strip, deprecated: strip }"
    settings = {"name": "x", "skabcdef": 1, "svg": {"zz": 1}, "tool_configs": {}}
    told = one(rules, input_image_mask={"file_id": "f"}, **settings).decision.tools[0]

    assert told.deprecated == ("name", "tool_configs")
    assert (told.unknown, told.mask) == (2, True)


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
