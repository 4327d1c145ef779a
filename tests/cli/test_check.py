from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagegate import shipped
from imagegate.policyfile import MAX_BYTES

Command = Callable[..., Any]
Writer = Callable[[str], Path]
EXPIRED = (
    "exceptions:\n"
    "  - { id: E, for: { team: a }, set: { tool: block }, until: 2020-01-31,\n"
    "      approved_by: x }\n"
)


def test_a_fine_policy_is_named_with_its_digest(imagegate: Command) -> None:
    ran = imagegate("check", "standard")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{shipped.find_policy('standard')}: fine (standard, ")


def test_each_problem_says_where_it_is_and_what_would_be_right(
    imagegate: Command, policy_file: Writer
) -> None:
    file = policy_file("tool: blok\nlocked: []\n")

    ran = imagegate("check", file)

    assert ran.code == 3
    assert ran.out.splitlines() == [
        f"{file}:5:7: error [unknown-word] tool",
        "  found 'blok': `blok` is no word for `tool`; did you mean `block`?",
        f"{file}:6:9: error [empty-list] locked",
        "  `locked` is empty; list at least one value, or leave it out",
        f"{file}: invalid, 2 errors, 0 warnings",
    ]


def test_nothing_is_read_into_what_is_printed(
    imagegate: Command, policy_file: Writer
) -> None:
    """Neither colours nor pictures, whatever a value looks like."""
    ran = imagegate("check", policy_file('tool: "[bold]:cat:"\n'))

    assert "found '[bold]:cat:': `[bold]:cat:` is no word" in ran.out


def test_a_warning_fails_only_a_strict_check(
    imagegate: Command, policy_file: Writer
) -> None:
    file = policy_file(EXPIRED)

    plain, strict = imagegate("check", file), imagegate("check", "--strict", file)

    assert (plain.code, strict.code) == (0, 1)
    assert plain.out == strict.out
    assert f"{file}:6:11: warning [exception-expired] exceptions.E" in plain.out
    assert plain.out.endswith("0 errors, 1 warning\n")


def test_the_answer_as_json(imagegate: Command, policy_file: Writer) -> None:
    file = policy_file("tool: blok\n")

    ran = imagegate("check", "--format", "json", "standard", file)

    fine, invalid = json.loads(ran.out)
    assert ran.code == 3
    assert fine["valid"] is True
    assert (fine["name"], len(fine["sha256"]), fine["problems"]) == ("standard", 64, [])
    assert invalid == {
        "file": str(file),
        "valid": False,
        "name": None,
        "sha256": None,
        "problems": [
            {
                "id": "unknown-word",
                "path": "tool",
                "message": "`blok` is no word for `tool`; did you mean `block`?",
                "text": "blok",
                "line": 5,
                "column": 7,
                "severity": "error",
            }
        ],
    }


@pytest.mark.parametrize("name", ["nowhere.yaml", ".", "x" * 5000, "a\0b"])
def test_what_cannot_be_read_is_a_wrong_call_and_hides_no_other_answer(
    name: str,
    imagegate: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)

    ran = imagegate("check", name, "standard")

    assert ran.code == 2
    assert ran.err.startswith("imagegate: cannot read ")
    assert "a policy that ships: azure-foundry, " in ran.err
    assert "fine (standard" in ran.out


def test_a_variable_that_is_not_set_is_no_policy(
    imagegate: Command,
    policy_file: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`imagegate check "$POLCY"` must not take what lies about."""
    policy_file("")
    monkeypatch.chdir(tmp_path)

    ran = imagegate("check", "")

    assert ran.code == 2
    assert ran.err.startswith("imagegate: cannot read '': ")


def test_of_a_folder_the_file_that_is_not_there_is_named(
    imagegate: Command, tmp_path: Path
) -> None:
    ran = imagegate("check", str(tmp_path))

    assert ran.err.startswith(f"imagegate: cannot read '{tmp_path}/policy.yaml': ")


def test_a_file_without_an_end_is_not_read_to_its_end(
    imagegate: Command, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.touch()
    os.truncate(file, 1 << 40)

    ran = imagegate("check", file)

    assert ran.code == 3
    assert f"at most {MAX_BYTES} bytes" in ran.out


def test_a_name_is_a_policy_that_ships_and_never_a_file(
    imagegate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("standard").write_text("mine\n")

    assert imagegate("check", "standard").code == 0
    assert imagegate("check", "./standard").code == 3


def test_a_folder_is_its_policy(imagegate: Command, policy_file: Writer) -> None:
    file = policy_file("tool: block\n")

    assert f"{file}: fine" in imagegate("check", file.parent).out


def test_a_quota_of_cost_is_held_against_the_prices_that_are_given(
    imagegate: Command, policy_file: Writer, tmp_path: Path
) -> None:
    file = policy_file(
        "models: { gpt-image-1.5: {}, default: gpt-image-1.5 }\n"
        "quotas: { cost: { team: { month: 200.00 } } }\n"
    )
    table = tmp_path / "prices.toml"
    table.write_text(
        'date = "2026-11-21"\ncurrency = "EUR"\nsources = { own = "the contract" }\n'
        '[providers.openai."gpt-image-1.5"]\nsource = "own"\nas_of = "2026-11-21"\n'
        "images = { high = { 1024x1024 = 0.2 } }\n"
    )

    bare, priced = imagegate("check", file), imagegate("check", file, "--prices", table)

    assert "warning [quota-unpriced] quotas.cost.team.month.max" in bare.out
    assert "no price of theirs: gpt-image-1.5; list others" in bare.out
    assert (priced.code, "warning" in priced.out) == (0, False)
    for text in ('date = "today"', None):
        if text is None:
            table.unlink()
        else:
            table.write_text(text)
        ran = imagegate("check", file, "--prices", table)
        assert (ran.code, str(table) in ran.err) == (2, True)
