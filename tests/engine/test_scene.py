"""The words that may be spoken, and what a careless reader takes for them."""

from __future__ import annotations

import pytest
from asking import CATALOGUE, HEADER, TODAY, policy

from imagegate.engine.decision import Reason
from imagegate.engine.policy import ANONYMOUS, Line, Mode, resolve
from imagegate.engine.rulebook import Rulebook
from imagegate.engine.scene import (
    PATHS,
    Scene,
    absent_at,
    api_names,
    fields_of,
    name_of,
    reason_of,
    vocabulary,
)


def test_every_setting_has_a_path() -> None:
    """The model comes first; nested settings are stepped into."""
    assert next(iter(PATHS.items())) == ("model", ("model",))
    assert PATHS["svg.reasoning.effort"] == ("svg", "reasoning", "effort")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("size",), "size"),
        (("svg", "model"), "svg.model"),
        (("svg.model",), "?"),
        (("sk-proj-1",), "?"),
        (("svg", "sk-proj-1"), "svg.?"),
        (("a" * 41,), "?"),
        (("",), "?"),
        (("naïve",), "?"),
    ],
)
def test_only_plain_names_are_spelled(path: tuple[str, ...], expected: str) -> None:
    """A key in the place of a name is not repeated."""
    assert name_of(path) == expected


def test_the_vocabulary_knows_all_providers() -> None:
    """Models with snapshots, words, orders, deployments; fields and their state."""
    words = vocabulary(CATALOGUE, ["img-prod"])

    assert {"img-prod", "gpt-image-2-2026-04-21", "xhigh", "minimal"} <= words.words
    assert {"imgprod", "gptimage220260421"} <= words.folded
    assert {("svg", "model"), ("tool_configs",), ("complexity",)} <= words.known
    assert ("n",) not in words.known
    assert words.deprecated == {("name",), ("description",), ("tool_configs",)}
    assert ("svg", "model") in words.folds
    assert ("inputimagemask",) in words.folds


def test_the_images_api_has_words_and_fields_of_its_own() -> None:
    """Its quality is also `hd`; the tool's mask is not known there."""
    words = vocabulary(CATALOGUE, images_api=True)

    assert "hd" in words.words
    assert "hd" not in vocabulary(CATALOGUE).words
    assert {("n",), ("prompt",), ("mask",)} <= words.known
    assert ("input_image_mask",) not in words.known
    assert ("style",) in words.deprecated


@pytest.mark.parametrize("images", [False, True])
def test_a_scene_knows_what_each_provider_says_about_a_field(*, images: bool) -> None:
    """A field that no provider knows has nothing said about it."""
    rules = resolve(policy(), ANONYMOUS, TODAY)
    scene = Scene(
        catalogue=CATALOGUE,
        provider=CATALOGUE.provider("openai"),
        book=Rulebook(rules),
        vocabulary=vocabulary(CATALOGUE, images_api=images),
        images_api=images,
    )

    assert scene.fields("quality") == tuple(
        fields_of(provider, images_api=images)["quality"]
        for provider in CATALOGUE.providers.values()
    )
    assert scene.fields("unheard_of") == ()
    assert scene.shown("high") == "high"
    assert scene.shown("sk-1") == "a string of 4 characters"


def test_a_line_is_cited_with_its_layer_and_its_words() -> None:
    """What no line says holds always."""
    line = Line(
        id="teams.a.tool",
        path="tool",
        layer="team",
        kind="do",
        subject="tool",
        value="block",
        mode="observe",
        reason="not yet",
        owner="o@example.com",
    )

    assert reason_of(line) == Reason(
        rule="teams.a.tool",
        layer="team",
        mode="observe",
        reason="not yet",
        owner="o@example.com",
    )


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("enforce", Reason(rule="always.carrier")),
        ("observe", Reason(rule="always.carrier", mode="observe")),
        (None, None),
    ],
)
def test_what_no_line_says_holds_in_the_mode_of_the_book(
    mode: Mode | None, expected: Reason | None
) -> None:
    """Where nothing acts it does not act either."""
    rules = resolve(policy(), ANONYMOUS, TODAY)
    scene = Scene(
        catalogue=CATALOGUE,
        provider=CATALOGUE.provider("openai"),
        book=Rulebook(rules, always=mode),
        vocabulary=vocabulary(CATALOGUE),
    )
    (line,) = rules.at("fields.unknown")

    assert scene.always("carrier") == expected
    assert scene.reason(line) == reason_of(line)
    assert scene.reason(None) == (
        expected and Reason(rule="always", mode=expected.mode)
    )


def test_names_are_those_of_the_apis_documents() -> None:
    """Of bodies, items, tools and paths; and what records call by a name."""
    names = api_names(CATALOGUE)

    assert {"previous_response_id", "content", "definition", "reasoning"} <= names
    assert {"partial_images", "svg", "tool_configs", "n", "prompt", "mode"} <= names
    assert {"tool", "compaction", "max_tool_calls", "kind", HEADER} <= names
    assert {"skabcdef", "Quality", "*"} - names == {"skabcdef", "Quality"}


def test_each_route_of_the_images_api_lacks_some_settings() -> None:
    """By the catalogue; the tool has them all."""
    openai = CATALOGUE.provider("openai")
    generations, edits = absent_at(openai, "generations"), absent_at(openai, "edits")

    assert generations - edits == {"input_fidelity"}
    assert edits - generations == {"moderation"}
    assert {"action", "input_image_mask"} == generations & edits
