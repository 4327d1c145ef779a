"""Policy files: YAML in, a `Policy` out, or every problem at once.

Each problem has a stable id, a place and a sentence that says what would be
right. A YAML syntax error is the one thing that hides the rest.
"""

from __future__ import annotations

import contextlib
import datetime

import msgspec

from imagegate.engine.catalogue import Catalogue
from imagegate.engine.errors import PolicyError, Problem
from imagegate.engine.policy import Policy
from imagegate.engine.prices import Prices
from imagegate.policyfile.assemble import assemble
from imagegate.policyfile.context import Context
from imagegate.policyfile.document import (
    MAX_BYTES,
    MAX_PROBLEMS,
    Node,
    read_document,
)
from imagegate.policyfile.meaning import check_meaning
from imagegate.policyfile.sections import Reader
from imagegate.policyfile.words import Report, TooManyProblemsError

__all__ = ["MAX_BYTES", "Checked", "check_policy", "load_policy"]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a policy file: a policy, problems, or a policy and warnings."""

    policy: Policy | None
    problems: tuple[Problem, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the file from being used."""
        return tuple(item for item in self.problems if item.severity == "error")


def check_policy(
    data: bytes,
    *,
    catalogue: Catalogue,
    today: datetime.date,
    prices: Prices | None = None,
) -> Checked:
    """Read a policy file and find everything wrong with it.

    Args:
        data: The file's bytes; any bytes at all are answered.
        catalogue: What the providers accept.
        today: The date on which exceptions and retirements are judged.
        prices: What images cost; without, nothing is said of models without a price.
    """
    root, found = read_document(data)
    report = Report(found)
    policy = None
    if root is not None:
        with contextlib.suppress(TooManyProblemsError):
            policy = _read(root, report, catalogue, today, prices)
    problems = sorted(report.problems, key=_place)
    if report.errors >= MAX_PROBLEMS:
        problems.append(_too_many(problems[-1]))
    errors = any(each.severity == "error" for each in problems)
    return Checked(policy=None if errors else policy, problems=tuple(problems))


def _too_many(last: Problem) -> Problem:
    return Problem(
        id="too-many-problems",
        path="",
        message=f"there may be more than these {MAX_PROBLEMS}; mend them first",
        line=last.line,
        column=last.column,
    )


def _read(
    root: Node,
    report: Report,
    catalogue: Catalogue,
    today: datetime.date,
    prices: Prices | None,
) -> Policy:
    draft = Reader(report, catalogue).read(root)
    policy = assemble(draft, catalogue)
    check_meaning(Context(report, catalogue, draft, policy, today, prices))
    return policy


def _place(problem: Problem) -> tuple[int, int]:
    return problem.line, problem.column


def load_policy(
    data: bytes, *, file: str, catalogue: Catalogue, today: datetime.date
) -> Policy:
    """Read a policy file, or raise `PolicyError` with every problem in it."""
    checked = check_policy(data, catalogue=catalogue, today=today)
    if checked.policy is None:
        raise PolicyError(file, checked.problems)
    return checked.policy
