"""Every shipped policy does what its cases say, and its cases show every line."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegate import shipped
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Forward, Rewrite
from imagegate.engine.errors import Problem
from imagegate.policycases import Result, Suite, case_files, run_suite
from imagegate.policycases.case import read_case
from imagegate.policycases.question import ask
from imagegate.policyfile import load_policy

TODAY = datetime.date(2026, 11, 21)
POLICIES = shipped.policies()
CASES = [
    pytest.param(name, path, id=f"{name}/{path.parent.name}/{path.stem}")
    for name, folder in POLICIES.items()
    for path, _ in case_files(folder)
]
SILENT = {
    "no-images": {
        "fields.deprecated": "the whole tool goes, so its fields are not looked at",
        "fields.unknown": "the same",
    },
    "regulated": {"limits.images_api_n.max": "its Images API is closed"},
}
"""Lines that no request can make speak, and why they are there to be read."""


@functools.cache
def suite(name: str) -> Suite:
    return run_suite(POLICIES[name], catalogue=shipped.catalogue(), today=TODAY)


@functools.cache
def decider(name: str) -> Decider:
    data = (POLICIES[name] / "policy.yaml").read_bytes()
    catalogue = shipped.catalogue()
    policy = load_policy(data, file=name, catalogue=catalogue, today=TODAY)
    return Decider(policy, catalogue)


def result(name: str, path: Path) -> Result:
    return next(each for each in suite(name).results if each.file == str(path))


@pytest.mark.parametrize(("name", "path"), CASES)
def test_a_case_holds(name: str, path: Path) -> None:
    """What the folder and the case say is what is decided."""
    found = result(name, path)

    assert found.problem is None
    assert found.differences == ()


@pytest.mark.parametrize("name", POLICIES)
def test_there_are_cases_of_each_kind(name: str) -> None:
    """A policy that never forwards, rewrites or blocks says nothing about it."""
    assert suite(name).problems == ()
    assert suite(name).empty == ()


@pytest.mark.parametrize("name", POLICIES)
def test_every_line_is_shown_by_some_case(name: str) -> None:
    """A line that no case makes speak could be taken out unnoticed."""
    assert set(suite(name).silent) == set(SILENT.get(name, {}))
    assert suite(name).unsaid == ()


@pytest.mark.parametrize("name", POLICIES)
def test_every_closed_door_is_shown_by_some_case(name: str) -> None:
    """What a policy closes by a word of its own is seen to be closed."""
    spoke = set[str]().union(*(each.spoke for each in suite(name).results))
    surface = decider(name).policy.surface
    closed = {f"surface.{door}" for door, word in surface.items() if word == "refuse"}

    assert closed <= spoke


def judged_twice(name: str) -> Iterator[tuple[Path, object]]:
    """Decide again on whatever a policy lets through."""
    for path, word in case_files(POLICIES[name]):
        case = read_case(path, word, today=TODAY)
        assert not isinstance(case, Problem)
        first = ask(decider(name), case.question)
        if first.sent is not None and isinstance(first.outcome, Rewrite):
            written = first.outcome.headers.items()
            headers = {
                k: v for k, v in case.question.headers if (k, None) not in written
            }
            headers |= {name: value for name, value in written if value is not None}
            question = type(case.question)(
                data=first.sent,
                date=TODAY,
                door=case.question.door,
                path=case.question.path,
                provider=case.question.provider,
                principal=case.question.principal,
                headers=tuple(headers.items()),
                seen=case.question.seen,
            )
            yield path, ask(decider(name), question).outcome


@pytest.mark.parametrize("name", POLICIES)
def test_what_was_rewritten_is_forwarded_as_it_is(name: str) -> None:
    """Deciding twice changes nothing."""
    again = list(judged_twice(name))

    assert again
    assert [path for path, outcome in again if not isinstance(outcome, Forward)] == []
