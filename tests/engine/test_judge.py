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


def test_what_is_stripped_takes_the_default_where_there_is_one() -> None:
    """It is left out then, and what is left out is written."""
    rules = """
    settings:
      action: { allow: [generate, auto], default: generate, otherwise: strip }
    """

    assert one(rules, action="edit").tool == tool(action="generate")


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
