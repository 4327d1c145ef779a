from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from imagegate.cli.app import run

POLICY = """\
version: 1
name: small
owner: me@example.com
mode: enforce
settings:
  quality: { max: medium, default: medium, otherwise: lower }
"""
FORWARD = {"about": "text", "request": {"model": "gpt-5", "input": "hi"}}
HIGH = {"type": "image_generation", "quality": "high"}
REWRITE = {
    "about": "high",
    "request": {"model": "gpt-5", "input": "hi", "tools": [HIGH]},
    "expect": {"changes": {"tools[0].quality": "medium"}},
}
BLOCK = {
    "about": "a stored prompt",
    "request": {"model": "gpt-5", "prompt": {"id": "p"}},
    "expect": {"violations": [{"param": "prompt"}]},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with one policy, `small`, that does what its cases say."""
    monkeypatch.chdir(tmp_path)
    for word, case in (("forward", FORWARD), ("rewrite", REWRITE), ("block", BLOCK)):
        write(f"small/cases/{word}/it.json", case)
    Path("small/policy.yaml").write_text(POLICY)
    return tmp_path


def write(name: str, case: object) -> None:
    file = Path(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(case))


def wrong() -> None:
    expect = {"changes": {"tools[0].quality": "low"}, "rules": []}
    write("small/cases/rewrite/it.json", {**REWRITE, "expect": expect})


def test_a_policy_that_does_what_its_cases_say_passes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["test", "."]) == 0

    assert capsys.readouterr().out.startswith("small: passed, 3 of 3 cases; no case ")


def test_a_shipped_policy_is_tried_by_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["test", "no-images"]) == 0

    assert capsys.readouterr().out.startswith("no-images: passed, ")


def test_a_failing_case_is_a_line_for_each_difference(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong()

    assert run(["test", "small"]) == 1

    assert capsys.readouterr().out.splitlines()[:2] == [
        (
            "small/cases/rewrite/it.json: failed "
            'tools[0].quality: expected "low", got "medium"'
        ),
        "  rules: expected none, got settings.quality.max",
    ]


def test_where_every_line_is_shown_nothing_is_said_about_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare = {"model": "gpt-5", "tools": [{"type": "image_generation"}]}
    rules = {"rules": ["settings.quality.default"]}
    case = {"about": "bare", "request": bare, "expect": rules}
    write("small/cases/rewrite/bare.json", case)

    assert run(["test", "small"]) == 0

    assert capsys.readouterr().out == "small: passed, 4 of 4 cases\n"


def test_an_empty_folder_fails(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small/cases/block/it.json").unlink()

    assert run(["test", "small"]) == 1

    said = "small: failed, 2 of 2 cases; a policy without cases in each: nothing in"
    assert capsys.readouterr().out.startswith(f"{said} cases/block")


def test_a_case_that_is_none_is_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    write("small/cases/block/it.json", {**BLOCK, "expekt": {}})

    assert run(["test", "small"]) == 3

    assert capsys.readouterr().out.splitlines()[:3] == [
        "small/cases/block/it.json: error [case-invalid] ",
        "  `expekt` is not a key here; did you mean `expect`?",
        "small: invalid, 2 of 3 cases; no case shows settings.quality.default",
    ]


def test_an_invalid_policy_is_invalid(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small/policy.yaml").write_text("version: 2\n")

    assert run(["test", "small"]) == 3

    out = capsys.readouterr().out
    assert "small/policy.yaml:1:10: error [" in out
    assert out.endswith(
        "small: invalid, the policy cannot be used, so no case was tried\n"
    )


@pytest.mark.parametrize("name", ["nowhere", "small/cases"])
def test_a_folder_without_policies_is_wrong_usage(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["test", name]) == 2

    assert "has no policy.yaml" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["test", "small", "--junit", "no/where.xml"]) == 2

    assert "no/where.xml: No such file" in capsys.readouterr().err


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    wrong()

    assert run(["test", "small", "--format", "json"]) == 1

    (suite,) = json.loads(capsys.readouterr().out)
    assert suite["passed"] is False
    assert [case["passed"] for case in suite["cases"]] == [True, False, True]
    assert len(suite["cases"][1]["differences"]) == 2


def test_junit_counts_failures_and_errors() -> None:
    wrong()
    write("small/cases/block/it.json", {**BLOCK, "expekt": "\x00"})
    Path("small/cases/forward/it.json").unlink()
    Path("broken").mkdir()
    Path("broken/policy.yaml").write_text("version: 2\n")

    assert run(["test", ".", "--junit", "report.xml"]) == 3

    broken, small = ET.parse("report.xml").getroot()  # noqa: S314 - our own
    assert broken.attrib["errors"] == str(len(broken))
    assert small.attrib == {
        "name": "small",
        "tests": "3",
        "failures": "2",
        "errors": "1",
    }
    assert [case.attrib["name"] for case in small] == [
        "cases/forward",
        "rewrite/it",
        "block/it",
    ]
    assert [[kind.tag for kind in case] for case in small] == [
        ["failure"],
        ["failure"],
        ["error"],
    ]
    assert "\n" in (small[1][0].text or "")
