from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., Any]
OLD = """\
models: { gpt-image-1-mini: {}, otherwise: { use: gpt-image-1-mini } }
settings:
  quality: { max: medium, default: medium, otherwise: lower }
"""
LOOSER = OLD.replace("max: medium", "max: high")


def written(file: Path, text: str, *, mode: str = "enforce") -> Path:
    file.write_text(f"version: 1\nname: mine\nowner: me\nmode: {mode}\n{text}")
    return file


def test_what_comes_out_otherwise_is_a_row_for_all_to_whom_it_happens(
    imagegate: Command, tmp_path: Path
) -> None:
    old = written(tmp_path / "old.yaml", OLD)
    new = written(tmp_path / "new.yaml", LOOSER)

    ran = imagegate("diff", old, new)

    assert (ran.code, ran.err) == (0, "")
    said = ran.out.splitlines()
    assert "requests for everybody" in said[0]
    assert said[1] == "The newer one is looser, and nowhere tighter."
    (row,) = (line.split() for line in said if line.startswith("quality"))
    assert row == [
        "quality",
        "high,",
        "xhigh,",
        "max",
        "medium",
        "high",
        "settings.quality.max,",
        "models",
    ]


def test_a_way_to_be_otherwise_can_fail(imagegate: Command, tmp_path: Path) -> None:
    old = written(tmp_path / "old.yaml", OLD)
    new = written(tmp_path / "new.yaml", LOOSER)

    assert imagegate("diff", old, new, "--fail-on", "looser").code == 1
    assert imagegate("diff", new, old, "--fail-on", "looser").code == 0
    both = ("--fail-on", "looser", "--fail-on", "tighter")
    assert imagegate("diff", new, old, *both).code == 1


def test_json_has_all_with_the_smallest_request(
    imagegate: Command, tmp_path: Path
) -> None:
    old = written(tmp_path / "old.yaml", OLD)
    new = written(tmp_path / "new.yaml", LOOSER + "surface: { websocket: refuse }\n")

    said = json.loads(imagegate("diff", old, new, "--format", "json").out)

    assert said["ways"] == ["looser", "tighter"]
    assert said["old"]["sha256"] != said["new"]["sha256"]
    door, quality, *_ = said["findings"]
    assert (door["place"], door["smallest_request"]) == ("surface.websocket", None)
    asked = {key: quality[key] for key in ("way", "place", "asked", "before", "now")}
    assert asked == {
        "way": "looser",
        "place": "quality",
        "asked": "high",
        "before": "medium",
        "now": "high",
    }
    body = {"prompt": "a cat", "quality": "high"}
    request = {"provider": "openai", "body": body, "door": "images.generations"}
    assert quality["smallest_request"] == request


def test_a_policy_that_only_observes_says_so(
    imagegate: Command, tmp_path: Path
) -> None:
    old = written(tmp_path / "old.yaml", OLD, mode="observe")
    new = written(tmp_path / "new.yaml", LOOSER, mode="observe")

    plain = imagegate("diff", old, new).out
    acting = imagegate("diff", old, new, "--enforced").out

    assert "do the same with every request" in plain
    assert "--enforced compares them" in plain
    assert "is looser, and nowhere tighter" in acting
    assert "--enforced" not in acting


def test_the_same_policy_is_told_as_that(imagegate: Command, tmp_path: Path) -> None:
    old = written(tmp_path / "old.yaml", OLD)

    ran = imagegate("diff", old, old)

    assert ran.out.splitlines()[1:] == ["They say the same."]


def test_a_policy_that_is_none_is_told_with_its_place(
    imagegate: Command, tmp_path: Path
) -> None:
    old = written(tmp_path / "old.yaml", OLD)
    new = written(tmp_path / "new.yaml", OLD + "colour: red\n")

    ran = imagegate("diff", old, new)

    assert ran.code == 3
    assert "new.yaml:8:1: error" in ran.out + ran.err
