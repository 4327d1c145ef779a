from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imagegate import shipped

Command = Callable[..., Any]
Writer = Callable[[str], Path]
LAYERS = """\
settings:
  quality: { max: low, default: low, otherwise: lower, mode: observe, reason: cost }
  output_format: { allow: [png], otherwise: { use: png } }
  background: { allow_auto: true }
surface: { websocket: refuse }
teams:
  design:
    match: { team: design, site: [bonn, wien] }
    settings: { quality: { max: high, loosens: true } }
exceptions:
  - id: E-1
    for: { team: design }
    set: { settings.quality.max: max }
    until: 2099-01-31
    approved_by: j.doe
  - id: E-2
    for: { team: design }
    set: { settings.quality.max: max }
    until: 2020-01-31
    approved_by: j.doe
"""


def cells(line: str) -> list[str]:
    return [cell for cell in line.split("   ") if cell]


def rows(out: str) -> dict[str, list[str]]:
    lines = filter(None, map(cells, out.splitlines()))
    return {first: [each.strip() for each in rest] for first, *rest in lines}


def test_every_rule_stands_under_its_id(imagegate: Command) -> None:
    ran = imagegate("show", "standard")

    found = rows(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("standard · enforce · ai-platform@example.com · ")
    assert found["RULE"] == ["SAYS", "OTHERWISE", "REASON"]
    assert found["models"][:2] == [
        "gpt-image-1-mini, gpt-image-2",
        "use gpt-image-1-mini",
    ]
    assert found["settings.size.max"][:2] == ["at most 1536x1024", "lower"]
    assert found["state.prompt"] == ["refuse", "not said in the file"]
    assert found["surface.websocket"] == ["enforce"]
    assert not [line for line in ran.out.splitlines() if line != line.rstrip()]


def test_a_mode_is_shown_where_it_is_not_that_of_the_file(
    imagegate: Command, policy_file: Writer
) -> None:
    found = rows(imagegate("show", policy_file(LAYERS)).out)

    assert found["settings.quality.max"] == ["at most low", "lower", "observe", "cost"]
    assert found["settings.background.allow_auto"] == ["auto may stay"]
    assert found["surface.websocket"][0] == "refuse"


def test_teams_and_exceptions_show_what_is_different(
    imagegate: Command, policy_file: Writer
) -> None:
    _, team, exception, ended = imagegate("show", policy_file(LAYERS)).out.split("\n\n")

    path = "settings.quality.max"
    assert team.splitlines()[0] == "team design: team design, site bonn or wien"
    assert rows(team)[f"teams.design.{path}"] == ["at most high", "lower"]
    assert exception.splitlines()[0] == (
        "exception E-1: team design, until 2099-01-31, approved by j.doe"
    )
    assert rows(exception)[f"exceptions.E-1.{path}"][0] == "at most max"
    assert ended.splitlines() == [
        "exception E-2: team design, ended on 2020-01-31, approved by j.doe",
        "has no effect",
    ]


def test_the_digest_is_that_of_what_is_shown_as_json(
    imagegate: Command, policy_file: Writer
) -> None:
    """Whoever kept it can tell what a digest in the records stood for."""
    for name in ("standard", policy_file(LAYERS)):
        shown = json.loads(imagegate("show", "--format", "json", name).out)
        compact = json.dumps(shown["policy"], ensure_ascii=False, separators=(",", ":"))

        assert hashlib.sha256(compact.encode()).hexdigest() == shown["sha256"]


def test_a_policy_as_json_is_its_digest_and_its_lines(imagegate: Command) -> None:
    shown = json.loads(imagegate("show", "--format", "json", "standard").out)
    checked = json.loads(imagegate("check", "--format", "json", "standard").out)

    assert shown["sha256"] == checked[0]["sha256"]
    assert shown["policy"]["name"] == "standard"
    assert {each["id"] for each in shown["policy"]["lines"]} >= {
        "models",
        "settings.quality.max",
        "tool",
    }


def test_an_invalid_policy_is_not_shown(
    imagegate: Command, policy_file: Writer
) -> None:
    ran = imagegate("show", policy_file("tool: blok\n"))

    assert ran.code == 3
    assert "error [unknown-word] tool" in ran.out
    assert "RULE" not in ran.out


def test_a_policy_that_is_not_there_is_a_wrong_call(imagegate: Command) -> None:
    ran = imagegate("show", "nowhere")

    assert (ran.code, ran.out) == (2, "")
    assert ", ".join(shipped.policies()) in ran.err


def test_amounts_are_shown_as_the_file_has_them(
    imagegate: Command, policy_file: Writer
) -> None:
    rules = (
        "quotas: { cost: { team: { month: 200.50 } }, images: { team: { day: 9 } } }"
    )

    ran = imagegate("show", policy_file(f"{rules}\n"))

    said = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert any("quotas.cost.team.month.max" in x and "at most 200.5" in x for x in said)
    assert any("quotas.images.team.day.max" in x and "at most 9" in x for x in said)
