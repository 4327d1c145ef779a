"""Which image model draws: by its exact name, that of its model, or a deployment."""

from __future__ import annotations

import pytest
from asking import CATALOGUE, DESIGN, TODAY, policy

from imagegate.engine.models import Choice, choose_model, listed_models, row_of, spelled
from imagegate.engine.policy import ANONYMOUS, Policy, Principal
from imagegate.engine.rulebook import Book
from imagegate.engine.scene import Scene, vocabulary

LISTED = """
models:
  gpt-image-1-mini: {}
  gpt-image-2: {}
  otherwise: { use: gpt-image-1-mini }
"""
BLOCKED = """
models: { gpt-image-2: {}, default: gpt-image-2, otherwise: block }
"""
MAPPED = "deployments: { b-mini: gpt-image-1-mini, a-mini: gpt-image-1-mini }\n"


def scene(
    rules: str | Policy = "", *, provider: str = "openai", who: Principal = ANONYMOUS
) -> Scene:
    found = policy(rules) if isinstance(rules, str) else rules
    return Scene(
        catalogue=CATALOGUE,
        provider=CATALOGUE.provider(provider),
        book=Book(found).page(who, TODAY).acting,
        vocabulary=vocabulary(CATALOGUE, found.deployments),
        deployments=found.deployments if provider == "azure" else {},
    )


def outcome(choice: Choice) -> tuple[str, str | None, tuple[str, ...], str | None]:
    return choice.outcome, choice.name, choice.entries, choice.written


@pytest.mark.parametrize(
    ("rules", "asked", "expected"),
    [
        ("", None, ("kept", None, (), None)),
        ("", "gpt-image-2", ("kept", "gpt-image-2", ("gpt-image-2",), None)),
        (
            "",
            "gpt-image-2-2026-04-21",
            (
                "kept",
                "gpt-image-2-2026-04-21",
                ("gpt-image-2-2026-04-21", "gpt-image-2"),
                None,
            ),
        ),
        ("", "my-model", ("unknown", "my-model", ("my-model",), None)),
        (LISTED, "gpt-image-2", ("kept", "gpt-image-2", ("gpt-image-2",), None)),
        (
            LISTED,
            "gpt-image-2-2026-04-21",
            ("kept", "gpt-image-2-2026-04-21", ("gpt-image-2",), None),
        ),
        (
            LISTED,
            "gpt-image-1.5",
            ("written", "gpt-image-1-mini", ("gpt-image-1-mini",), "gpt-image-1-mini"),
        ),
        (
            LISTED,
            None,
            ("written", "gpt-image-1-mini", ("gpt-image-1-mini",), "gpt-image-1-mini"),
        ),
        (BLOCKED, "gpt-image-1.5", ("refused", None, (), None)),
        (BLOCKED, "chatgpt-image-latest", ("refused", None, (), None)),
        (BLOCKED, None, ("written", "gpt-image-2", ("gpt-image-2",), "gpt-image-2")),
    ],
)
def test_a_name_is_kept_replaced_or_refused(
    rules: str, asked: str | None, expected: tuple[object, ...]
) -> None:
    """A snapshot falls under its model; none named gets the default or its stand-in."""
    assert outcome(choose_model(scene(rules), asked)) == expected


@pytest.mark.parametrize(
    "asked",
    [
        "",
        " gpt-image-2",
        "gpt-image-2\n",
        "GPT-Image-2",
        "gpt_image_2",
        "ｇｐｔ-image-2",
        "gpt-image-2\u200b",
        "gpt-image-2\u115f",
        "gpt-image-2.6sunburst",
        ["gpt-image-2"],
        {"id": "gpt-image-2"},
        True,
        2,
    ],
)
@pytest.mark.parametrize("rules", ["", LISTED, BLOCKED])
def test_what_only_looks_like_a_name_is_no_name(rules: str, asked: object) -> None:
    """Somebody else may take it for one; it is never replaced, always refused."""
    assert choose_model(scene(rules), asked).outcome == "disguised"


def test_a_dated_name_that_is_listed_itself_stands_alone() -> None:
    """Its own entry comes before that of its model, which then is not allowed."""
    rules = scene(DATED)

    assert choose_model(rules, "gpt-image-2-2026-04-21").entries == (
        "gpt-image-2-2026-04-21",
    )
    assert choose_model(rules, "gpt-image-2").outcome == "refused"


DATED = """
models:
  gpt-image-2-2026-04-21: {}
  default: gpt-image-2-2026-04-21
"""
TEAM = """
models:
  gpt-image-2: {}
  gpt-image-2-2026-04-21: {}
  gpt-image-1-mini: {}
  otherwise: { use: gpt-image-1-mini }
teams:
  design:
    match: { team: design }
    models: { gpt-image-2: {}, otherwise: { use: gpt-image-2 } }
"""


def test_all_lists_hold_together() -> None:
    """What the team's list lacks is replaced by what both have."""
    rules = scene(TEAM, who=DESIGN)

    assert choose_model(rules, "gpt-image-2-2026-04-21").entries == (
        "gpt-image-2-2026-04-21",
        "gpt-image-2",
    )
    assert choose_model(rules, "gpt-image-1-mini").written == "gpt-image-2"
    assert listed_models(rules) == ("gpt-image-2",)
    assert listed_models(scene("")) == ()


@pytest.mark.parametrize(
    ("rules", "asked", "expected"),
    [
        (MAPPED, "a-mini", ("kept", "gpt-image-1-mini", ("gpt-image-1-mini",), None)),
        (MAPPED, "A-Mini", ("disguised", None, (), None)),
        (MAPPED, "other", ("unknown", None, (), None)),
        (MAPPED, "gpt-image-1-mini", ("unknown", None, (), None)),
        (MAPPED, None, ("kept", None, (), None)),
        (
            LISTED + MAPPED,
            "b-mini",
            ("kept", "gpt-image-1-mini", ("gpt-image-1-mini",), None),
        ),
        (
            LISTED + MAPPED,
            "other",
            ("written", "gpt-image-1-mini", ("gpt-image-1-mini",), "a-mini"),
        ),
        (
            LISTED + MAPPED,
            "gpt-image-1-mini",
            ("written", "gpt-image-1-mini", ("gpt-image-1-mini",), "a-mini"),
        ),
        (BLOCKED + MAPPED, None, ("refused", None, (), None)),
        (LISTED, "gpt-image-2", ("kept", "gpt-image-2", ("gpt-image-2",), None)),
        ("", "dall-e-9", ("unknown", "dall-e-9", ("dall-e-9",), None)),
    ],
)
def test_on_azure_a_name_is_that_of_a_deployment(
    rules: str, asked: str | None, expected: tuple[object, ...]
) -> None:
    """Mapped where the policy maps them; a model's own name then means nothing."""
    assert outcome(choose_model(scene(rules, provider="azure"), asked)) == expected


def test_a_listed_name_that_nobody_knows_is_kept() -> None:
    """Where the policy passes unknown values, the operator may know more."""
    rules = "models: { my-model: {}, default: my-model }\n"
    rules += "fields: { unknown_values: pass }\n"
    choice = choose_model(scene(rules), "my-model")

    assert outcome(choice) == ("kept", "my-model", ("my-model",), None)
    assert choice.row is None


def test_a_model_is_spelled_by_its_first_deployment() -> None:
    """By the letters, so that the order in the file means nothing."""
    azure = scene(MAPPED, provider="azure")

    assert spelled(azure, "gpt-image-1-mini") == "a-mini"
    assert spelled(azure, "gpt-image-2") is None
    assert spelled(scene(MAPPED), "gpt-image-2") == "gpt-image-2"
    assert listed_models(scene(LISTED + MAPPED, provider="azure")) == ("a-mini",)


def test_a_row_is_found_by_any_name_of_the_model() -> None:
    """No name has no row."""
    row = row_of(scene(), "gpt-image-2-2026-04-21")

    assert row is not None
    assert row.name == "gpt-image-2"
    assert row_of(scene(), None) is None
