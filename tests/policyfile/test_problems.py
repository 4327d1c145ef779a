"""Every problem that a policy file can have: its id and its place.

Each case has one mistake, and exactly one problem: a mistake that is reported twice
sends its reader to look for another one.
"""

from __future__ import annotations

import ast
import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from imagegate import policyfile, shipped
from imagegate.policyfile import Checked, check_policy

HEAD = "version: 1\nname: p\nowner: o\nmode: enforce\n"
"""Four lines; what a case adds begins on the fifth."""
TODAY = datetime.date(2026, 12, 1)


class Found(NamedTuple):
    id: str
    path: str
    line: int
    column: int
    severity: str = "error"


def check(text: str | bytes) -> Checked:
    data = text.encode() if isinstance(text, str) else text
    catalogue, prices = shipped.catalogue(), shipped.prices()
    return check_policy(data, catalogue=catalogue, today=TODAY, prices=prices)


def found(checked: Checked) -> list[Found]:
    return [
        Found(each.id, each.path, each.line, each.column, each.severity)
        for each in checked.problems
    ]


def listed_cases() -> Iterator[Any]:
    """Read the cases of the table: see the head of the file."""
    table = Path(__file__).with_name("problems.txt").read_text()
    for case in table.split("\n>>> ")[1:]:
        head, text = case.split("\n", maxsplit=1)
        name, said = head.split(": ")
        problem, path, place, *severity = said.split()
        line, column = map(int, place.split(":"))
        expected = Found(problem, path.strip("-"), line, column, *severity)
        yield pytest.param(HEAD + text, expected, id=name)


CASES: list[Any] = [
    *listed_cases(),
    pytest.param(
        b"#" * 262_145,
        Found("too-large", "", 0, 0),
        id="too-many-bytes",
    ),
    pytest.param(
        b"version: 1\nname: caf\xe9\n",
        Found("not-utf-8", "", 2, 10),
        id="not-utf-8",
    ),
    pytest.param(
        "version: 1\n".encode("utf-16"),
        Found("not-utf-8", "", 1, 1),
        id="utf-16",
    ),
    pytest.param(
        HEAD + "# all is well\u2028tool: block\n",
        Found("hidden-character", "", 5, 14),
        id="hidden-in-comment",
    ),
    pytest.param(
        HEAD + "# note\rtool: block\n",
        Found("hidden-character", "", 5, 7),
        id="carriage-return",
    ),
    pytest.param(
        HEAD + "tool:\u00a0block\n",
        Found("hidden-character", "", 5, 6),
        id="nbsp",
    ),
    pytest.param(
        HEAD + 'tool: { do: block, reason: "\\u202e" }\n',
        Found("hidden-character", "tool.reason", 5, 28),
        id="hidden-by-escape",
    ),
    pytest.param(
        "",
        Found("empty", "", 1, 1),
        id="nothing",
    ),
    pytest.param(
        "# later\n",
        Found("empty", "", 1, 1),
        id="only-comments",
    ),
    pytest.param(
        HEAD + "settings:\n\tsize: 1\n",
        Found("yaml-syntax", "settings", 6, 1),
        id="tab",
    ),
    pytest.param(
        HEAD + 'tool: "\\U99999999"\n',
        Found("yaml-syntax", "tool", 5, 1),
        id="escape",
    ),
    pytest.param(
        "%YAML " + "9" * 5000 + ".1\n---\na: b\n",
        Found("yaml-syntax", "", 1, 1),
        id="yaml-version",
    ),
    pytest.param(
        "%YAML 1.1\n---\n" + HEAD,
        Found("directive", "", 1, 1),
        id="directive",
    ),
    pytest.param(
        "version: 1\nname: *n\nowner: o\nmode: enforce\n",
        Found("alias", "name", 2, 7),
        id="alias-required",
    ),
    pytest.param(
        HEAD + "k" * 201 + ": c\n",
        Found("too-long", "", 5, 1),
        id="long-key",
    ),
    pytest.param(
        HEAD + "tool: " + "[" * 12 + "]" * 12 + "\n",
        Found("too-deep", "tool", 5, 18),
        id="thirteen-levels",
    ),
    pytest.param(
        HEAD + "locked: [" + "a," * 5_000 + "]\n",
        Found("too-large", "locked", 5, 9992),
        id="too-many-words",
    ),
    pytest.param(
        "version: 1\nowner: o\nmode: enforce\n",
        Found("missing-key", "name", 1, 1),
        id="missing-name",
    ),
    pytest.param(
        "- a\n",
        Found("expected-mapping", "", 1, 1),
        id="root-list",
    ),
    pytest.param(
        "hello\n",
        Found("expected-mapping", "", 1, 1),
        id="root-word",
    ),
    pytest.param(
        "version: 1\nname: p\nowner: o\nmode: no\n",
        Found("implicit-value", "mode", 4, 7),
        id="mode-no",
    ),
    pytest.param(
        HEAD + "teams: { a: { match: { team: " + "x" * 201 + " } } }\n",
        Found("too-long", "teams.a.match.team", 5, 30),
        id="long-word",
    ),
    pytest.param(
        "version: 1\nname: p\nowner: ''\nmode: enforce\n",
        Found("empty-value", "owner", 3, 8),
        id="empty-owner",
    ),
    pytest.param(
        "version: 1\nname: p\nowner: ~\nmode: enforce\n",
        Found("empty-value", "owner", 3, 8),
        id="null-owner",
    ),
    pytest.param(
        "version: 1\nname: a b\nowner: o\nmode: enforce\n",
        Found("bad-name", "name", 2, 7),
        id="bad-name",
    ),
    pytest.param(
        "version: 2\nname: p\nowner: o\nmode: enforce\n",
        Found("unknown-version", "version", 1, 10),
        id="version2",
    ),
    pytest.param(
        "version: 1.0\nname: p\nowner: o\nmode: enforce\n",
        Found("expected-number", "version", 1, 10),
        id="version-float",
    ),
    pytest.param(
        "version: 1\nname: p\nowner: o\nmod: enforce\n",
        Found("unknown-key", "mod", 4, 1),
        id="misspelt-mode",
    ),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_mistake_is_one_problem(text: str | bytes, expected: Found) -> None:
    checked = check(text)

    assert found(checked) == [expected]
    assert (checked.policy is None) == (expected.severity == "error")


def tried() -> list[Checked]:
    texts = (case.values[0] for case in CASES)
    return [check(text) for text in texts if isinstance(text, str | bytes)]


def ids_in_the_source() -> set[str]:
    """Find every first argument that has the shape of an id, and every `id=`."""
    found: set[str] = set()
    for file in Path(policyfile.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                found.update(map(_word, _id_arguments(node)))
            elif isinstance(node, ast.Assign) and _names(node) == {"problem"}:
                found.update(map(_word, ast.walk(node)))
    return found - {""}


REPORTING = {"add": 0, "_report": 0, "expected": 2}
"""Which argument of these is the id of a problem."""


def _id_arguments(call: ast.Call) -> list[ast.expr]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    keywords = [word.value for word in call.keywords if word.arg == "id"]
    at = REPORTING.get(name)
    return keywords + (call.args[at : at + 1] if at is not None else [])


def _word(node: ast.AST) -> str:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else ""


def _names(node: ast.Assign) -> set[str]:
    return {each.id for each in node.targets if isinstance(each, ast.Name)}


def test_every_id_in_the_source_has_a_case() -> None:
    ids = {each.id for checked in tried() for each in checked.problems}
    paths = {"models", "models.default"}  # of lines, which a layer adds
    words = {"strip", "default"}  # on which it depends which id is meant

    assert ids_in_the_source() - paths - words == ids | {"too-many-problems"}


def test_messages_are_one_sentence_in_lower_case_without_a_full_stop() -> None:
    names = ("YAML ", "U+", "Azure ", "E ")
    messages = [each.message for checked in tried() for each in checked.problems]

    assert len(messages) == len(CASES)
    for message in messages:
        assert not message.endswith("."), message
        assert ". " not in message, message
        assert not message[0].isupper() or message.startswith(names), message


def test_after_a_hundred_problems_the_rest_is_not_looked_for() -> None:
    checked = check(HEAD + "".join(f"key{n}: 1\n" for n in range(500)))

    assert checked.problems[-1].id == "too-many-problems"
    assert {each.id for each in checked.problems[:-1]} == {"unknown-key"}
    assert len(checked.problems) == 101


def test_a_missing_key_hides_no_other_problem() -> None:
    text = (
        "exceptions:\n"
        "  - { id: E, for: { team: a }, set: { tool: blok } }\n"
        "  - { until: soon }\n"
    )

    assert [(each.line, each.id) for each in found(check(HEAD + text))] == [
        (6, "missing-key"),
        (6, "missing-key"),
        (6, "unknown-word"),
        *[(7, "missing-key")] * 4,
        (7, "expected-date"),
    ]


def test_only_ten_lines_with_hidden_characters_are_named() -> None:
    checked = check(HEAD + "# \u200b\n" * 50)

    assert [each.line for each in checked.problems] == list(range(5, 15))


def test_hidden_characters_do_not_hide_other_problems() -> None:
    checked = check(HEAD + "# \u200b\ntool: blok\n")

    assert [each.id for each in checked.problems] == [
        "hidden-character",
        "unknown-word",
    ]


def test_offending_text_is_cut_to_one_printable_line() -> None:
    checked = check(HEAD + "tool: >\n  first\n  " + "x" * 100 + "\n")

    assert checked.problems[0].text == "first " + "x" * 53 + "…"
