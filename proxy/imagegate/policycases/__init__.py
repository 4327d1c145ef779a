"""Policies proved on paper: requests with what is to become of them.

A folder with a `policy.yaml` has cases in `cases/forward`, `cases/rewrite` and
`cases/block`; they are decided by the engine, with the policy as it would be loaded.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec

from imagegate.engine.catalogue import Catalogue
from imagegate.engine.decide import Decider
from imagegate.engine.errors import Problem
from imagegate.engine.policy import STANCES, Line, Policy
from imagegate.engine.prices import Prices
from imagegate.policycases.case import Case, Word, read_case
from imagegate.policycases.compare import differences, found_in
from imagegate.policycases.question import UnknownDoorError, ask
from imagegate.policyfile import check_policy
from imagegate.policyfile.assemble import SILENCE

__all__ = ["FOLDERS", "Result", "Suite", "find_suites", "run_suite"]

FOLDERS: tuple[Word, ...] = get_args(Word)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one case.

    Attributes:
        problem: What is wrong with the case itself.
        differences: What is not as expected; empty when all is.
        spoke: The ids of the lines that said something.
    """

    file: str
    about: str = ""
    problem: Problem | None = None
    differences: tuple[str, ...] = ()
    spoke: frozenset[str] = frozenset()

    @property
    def passed(self) -> bool:
        """Whether the case is one, and all is as it says."""
        return self.problem is None and not self.differences


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """One policy and its cases.

    Attributes:
        file: The policy's file.
        name: The policy's name, or its folder's when it cannot be read.
        problems: What is wrong with the policy; then no case was tried.
        empty: The folders that hold no case.
        silent: The ids of the file's lines that can speak, and did in no case.
        unsaid: The same of what holds because the file says nothing.
    """

    file: str
    name: str
    problems: tuple[Problem, ...] = ()
    results: tuple[Result, ...] = ()
    empty: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the policy and all its cases could be used."""
        return not self.problems and all(each.problem is None for each in self.results)

    @property
    def passed(self) -> bool:
        """Whether there are cases of each kind, and all of them hold."""
        return (
            not self.problems
            and not self.empty
            and all(each.passed for each in self.results)
        )


def find_suites(folder: Path) -> tuple[Path, ...]:
    """Return the folders of policies: this one, or those directly in it."""
    if (folder / "policy.yaml").is_file():
        return (folder,)
    return tuple(file.parent for file in sorted(folder.glob("*/policy.yaml")))


def run_suite(
    folder: Path,
    *,
    catalogue: Catalogue,
    today: datetime.date,
    prices: Prices | None = None,
) -> Suite:
    """Try every case of a policy, with prices where a quota of cost asks for them.

    Raises:
        OSError: When a file cannot be read.
    """
    file = folder / "policy.yaml"
    checked = check_policy(file.read_bytes(), catalogue=catalogue, today=today)
    policy = checked.policy
    if policy is None:
        return Suite(file=str(file), name=folder.name, problems=checked.errors)
    decider = Decider(policy, catalogue)
    results = (
        *(
            _tried(decider, path, word, today, prices)
            for path, word in case_files(folder)
        ),
        *map(_stray, _strays(folder)),
    )
    silent = tuple(_silent(policy, results))
    filled = {word for _, word in case_files(folder)}
    return Suite(
        file=str(file),
        name=policy.name,
        results=results,
        empty=tuple(word for word in FOLDERS if word not in filled),
        silent=tuple(line.id for line in silent if line.reason != SILENCE),
        unsaid=tuple(line.id for line in silent if line.reason == SILENCE),
    )


def case_files(folder: Path) -> Iterator[tuple[Path, Word]]:
    """Yield the cases of a policy with the decision that each is to meet."""
    for word in FOLDERS:
        for path in sorted((folder / "cases" / word).glob("*.json")):
            yield path, word


def _strays(folder: Path) -> Iterator[Path]:
    """Yield what looks like a case and lies where no decision is expected."""
    expected = {path for path, _ in case_files(folder)}
    for path in sorted((folder / "cases").rglob("*")):
        if path.is_file() and path not in expected:
            yield path


def _stray(path: Path) -> Result:
    folders = ", ".join(f"cases/{word}" for word in FOLDERS)
    message = f"a case is a .json file in one of {folders}"
    return Result(
        file=str(path), problem=Problem(id="stray-file", path="", message=message)
    )


def _tried(
    decider: Decider,
    path: Path,
    word: Word,
    today: datetime.date,
    prices: Prices | None,
) -> Result:
    case = read_case(path, word, today=today)
    if isinstance(case, Problem):
        return Result(file=str(path), problem=case)
    return _decided(decider, case, prices)


def _decided(decider: Decider, case: Case, prices: Prices | None) -> Result:
    try:
        answer = ask(decider, case.question, prices=prices)
    except UnknownDoorError as error:
        problem = Problem(id="case-invalid", path="door", message=str(error))
        return Result(file=case.file, about=case.about, problem=problem)
    found = found_in(answer.outcome)
    return Result(
        file=case.file,
        about=case.about,
        differences=differences(case, answer),
        spoke=found.rules | found.observed,
    )


def _silent(policy: Policy, results: tuple[Result, ...]) -> Iterator[Line]:
    spoke = frozenset[str]().union(*(result.spoke for result in results))
    layers = [policy.lines, *(team.lines for team in policy.teams)]
    layers += [item.lines for item in policy.exceptions]
    for line in (line for lines in layers for line in lines):
        if _can_speak(line) and line.id not in spoke:
            yield line


def _can_speak(line: Line) -> bool:
    """Tell whether a line can ever change or refuse something in a case.

    Cases count nothing, and so no quota is ever used up there.
    """
    loosest = STANCES.get(line.path, ("",))[0]
    counts = line.path.startswith("quotas.")
    return not counts and line.kind != "allow_auto" and line.value != loosest
