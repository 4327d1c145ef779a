"""`imagegate audit replay`: what another policy would have made of what was asked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import asking
import pytest

from imagegate.zstd import zstd

HEAD = asking.HEAD
SAME = """
settings:
  quality: { max: medium, default: medium, otherwise: lower }
  moderation: { allow: [auto], default: auto, otherwise: block }
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def replayed(imagegate: Run, trail: Path, tmp_path: Path) -> Callable[..., Any]:
    """Decide the trail again, and return what is told of it."""

    def replay(rules: str, *options: str, folder: Path = trail) -> Any:
        policy = tmp_path / "policy.yaml"
        policy.write_text(HEAD + rules)
        asked = ("audit", "replay", "-p", policy, "--format", "json", *options, folder)
        ran = imagegate(*asked)
        assert ran.code == 0, ran.err
        return json.loads(ran.out)

    return replay


def test_the_same_policy_says_the_same(replayed: Callable[..., Any]) -> None:
    assert replayed(SAME) == {"alike": 4, "otherwise": []}


def test_another_policy_is_told_by_what_it_does_otherwise(
    replayed: Callable[..., Any],
) -> None:
    found = replayed(SAME.replace("medium", "low") + "limits: { max_tool_calls: 1 }\n")

    assert found["alike"] == 1  # it was refused, and is again
    assert found["otherwise"] == [
        {
            "was": "rewrite",
            "would_be": "rewrite",
            "rules": ["settings.quality.max", "limits.max_tool_calls.max"],
            "decisions": 2,
            "example": "decision-1",
        },
        {
            "was": "rewrite",
            "would_be": "rewrite",
            "rules": ["limits.max_tool_calls.max"],
            "decisions": 1,
            "example": "decision-2",
        },
    ]


def test_what_would_pass_and_what_would_not(replayed: Callable[..., Any]) -> None:
    passes = replayed("tool: allow")["otherwise"]
    blocks = replayed("tool: block")["otherwise"]

    assert {x["would_be"] for x in passes} == {"forward"}
    assert {(x["would_be"], *x["rules"]) for x in blocks} == {("block", "tool")}


def test_what_nobody_read_is_told_as_unread(
    replayed: Callable[..., Any], asked: Callable[..., Any], stamp: Any, tmp_path: Path
) -> None:
    closed, *_ = asked(9, "design")
    folder = tmp_path / "closed"
    folder.mkdir()
    line = json.loads(stamp([closed], 20))
    (folder / "a.jsonl").write_text(json.dumps(line | {"inspected": False}) + "\n")

    [found] = replayed(SAME, folder=folder)["otherwise"]
    assert (found["would_be"], found["rules"]) == ("unread", [])


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--since", "2026-11-21"], 1),
        (["--until", "2026-11-21"], 3),
        (["--since", "2026-11-20T10:00:01", "--until", "2026-11-21"], 2),
        (["--team", "sales"], 2),
        (["--team", "nobody"], 0),
    ],
)
def test_a_part_of_the_trail(
    options: list[str], count: int, replayed: Callable[..., Any]
) -> None:
    assert replayed(SAME, *options)["alike"] == count


def test_a_file_that_is_there_twice_counts_once(
    replayed: Callable[..., Any], trail: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copies"
    shutil.copytree(trail, folder)
    packed = zstd.decompress((folder / "audit-1.jsonl.zst").read_bytes())
    early = packed[: packed.index(b"\n") + 9]
    (folder / "audit-1.jsonl").write_bytes(early)

    assert replayed(SAME, folder=folder)["alike"] == 4


def test_a_table_says_it_to_people(imagegate: Run, trail: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"{HEAD}tool: block\n")

    lines = imagegate("audit", "replay", "-p", policy, trail).out.splitlines()
    assert lines[0] == "4 decisions, 1 of them alike"
    assert lines[1].split("  ")[0] == "was"
    assert "tool" in lines[2]


def test_what_cannot_be_read_is_named(
    imagegate: Run, trail: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "b.jsonl.zst"
    broken.write_bytes((trail / "audit-1.jsonl.zst").read_bytes()[:-20])

    ran = imagegate("audit", "replay", "-p", "standard", broken)
    assert (ran.code, ran.out) == (2, "")
    assert f"cannot read {broken}" in ran.err
    assert imagegate("audit", "replay", "-p", "nothing", trail).code == 2


def test_lines_that_are_no_records_are_passed_over(
    replayed: Callable[..., Any], trail: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    text = (trail / "audit-2.jsonl").read_bytes()
    (folder / "a.jsonl").write_bytes(b"no JSON\n[1]\n" + text + b'{"event":"torn')

    assert replayed(SAME, folder=folder)["alike"] == 1
