from __future__ import annotations

import datetime

import pytest

from imagegate import shipped
from imagegate.policyfile import check_policy

HEAD = "version: 1\nname: p\nowner: o\nmode: enforce\n"
TODAY = datetime.date(2026, 11, 21)
MODELS = "models: { gpt-image-2: {}, gpt-image-1-mini: {}, default: gpt-image-2 }\n"


def warned(text: str) -> list[tuple[str, str]]:
    checked = check_policy(
        (HEAD + text).encode(), catalogue=shipped.catalogue(), today=TODAY
    )
    assert not checked.errors, checked.problems
    return [(each.id, each.path) for each in checked.problems]


def team(name: str, said: str) -> str:
    return f"  {name}: {{ match: {{ team: {name} }}, {said} }}\n"


def exemption(name: str, said: str, until: str = "2027-01-01") -> str:
    return (
        f"  - {{ id: {name}, for: {{ team: x }}, set: {{ {said} }}, until: {until}, "
        "approved_by: boss }\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "teams:\n"
        + team("a", "settings: { quality: { max: high, default: low } }")
        + team("b", "settings: { quality: { max: low, default: low } }"),
        "teams:\n"
        + team("a", "settings: { quality: { max: low, default: low } }")
        + team("b", "settings: { size: { max: 1024x1024, default: 1024x1024 } }"),
        "teams:\n" + team("a", "tool: block") + team("b", "tool: strip"),
        MODELS.replace("gpt-image-2: {}", "gpt-image-2: {}, gpt-image-1.5: {}")
        + "teams:\n"
        + team(
            "a", "models: { gpt-image-2: {}, gpt-image-1.5: {}, default: gpt-image-2 }"
        )
        + team("b", "models: { gpt-image-2: {}, default: gpt-image-2 }"),
        "teams:\n"
        + team("a", "models: { gpt-image-2: {}, default: gpt-image-2 }")
        + team(
            "b",
            "models: { gpt-image-2-2026-04-21: {}, default: gpt-image-2-2026-04-21 }",
        ),
        "settings: { partial_images: { allow: [0, 1], default: 0 } }\n"
        "exceptions:\n"
        + exemption("E-1", "settings.partial_images.allow: [2]")
        + exemption("E-2", "settings.partial_images.allow: [2, 3]"),
    ],
)
def test_layers_that_leave_something_are_not_warned_of(text: str) -> None:
    assert [id_ for id_, _ in warned(text) if id_ == "layers-contradict"] == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (
            "settings: { quality: { default: low, otherwise: lower } }\nteams:\n"
            + team("a", "settings: { quality: { max: low, default: low } }")
            + team("b", "settings: { quality: { min: high, default: high } }"),
            "teams.b.settings.quality.min",
        ),
        (
            MODELS
            + "teams:\n"
            + team(
                "a", "models: { gpt-image-2: { quality: { max: low, default: low } } }"
            )
            + team("b", "settings: { quality: { min: high, default: high } }"),
            "teams.b.settings.quality.min",
        ),
        (
            "settings: { partial_images: { allow: [0, 1], default: 0 } }\n"
            "exceptions:\n"
            + exemption("E-1", "settings.partial_images.allow: [0]")
            + exemption("E-2", "settings.partial_images.allow: [1]"),
            "exceptions.E-2.settings.partial_images.allow",
        ),
    ],
)
def test_two_layers_that_leave_nothing_are_warned_of(text: str, path: str) -> None:
    assert ("layers-contradict", path) in warned(text)


def test_an_exception_that_ended_contradicts_nobody() -> None:
    found = warned(
        "settings: { partial_images: { allow: [0, 1], default: 0 } }\n"
        "exceptions:\n"
        + exemption("E-1", "settings.partial_images.allow: [0]", "2026-01-01")
        + exemption("E-2", "settings.partial_images.allow: [1]")
    )

    assert "layers-contradict" not in {id_ for id_, _ in found}


def test_many_teams_that_exclude_one_another_are_warned_of_once_each() -> None:
    teams = "".join(
        team(
            f"t{n}",
            f"settings: {{ partial_images: {{ allow: [{n % 4}], default: {n % 4} }} }}",
        )
        for n in range(120)
    )

    found = [id_ for id_, _ in warned("teams:\n" + teams)]

    assert found == ["layers-contradict"] * 119
