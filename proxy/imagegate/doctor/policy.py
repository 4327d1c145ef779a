"""The policy: what warns, what only watches, and what was left open on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from imagegate.doctor.finding import Finding
from imagegate.engine.policy import Line, Policy
from imagegate.engine.surface import GROUPS
from imagegate.policyfile import Checked

AREA: Final = "policy"
_LOOSEST: Final = ("allow", "pass")
_LEFT_OPEN: Final = ("state.", "fields.", "interface.")


def examine_policy(checked: Checked, file: str) -> Iterator[Finding]:
    """Look at a policy that was read."""
    for problem in checked.problems:
        yield Finding(
            weight="broken" if problem.severity == "error" else "danger",
            area=AREA,
            found=f"{file}:{problem.line}: {problem.path}: {problem.message}",
        )
    if checked.policy is not None:
        yield from _open_doors(checked.policy)
        yield from _watching(checked.policy)
        yield Finding(
            weight="fine", area=AREA, found=f"{checked.policy.name} is valid ({file})"
        )


def _watching(policy: Policy) -> Iterator[Finding]:
    if policy.mode == "observe":
        yield Finding(
            weight="danger",
            area=AREA,
            found="it observes: requests are recorded, and none is changed or refused",
            better="`mode: enforce` when the records show what you expect",
        )
        return
    watched = [line.id for line in _lines(policy) if line.mode == "observe"]
    if watched:
        yield Finding(
            weight="open",
            area=AREA,
            found=f"observed only, and not enforced: {', '.join(sorted(watched))}",
        )


def _open_doors(policy: Policy) -> Iterator[Finding]:
    passed = sorted(
        name
        for name, word in policy.surface.items()
        if word == "pass" and GROUPS[name].stances[0] != "pass"
    )
    if passed:
        yield Finding(
            weight="open",
            area=AREA,
            found=f"passed on unseen, images included: {', '.join(passed)}",
            better="`imagegate doors` shows each way; `refuse` closes it",
        )
    for line in _lines(policy):
        if line.path.startswith(_LEFT_OPEN) and line.value in _LOOSEST:
            yield Finding(
                weight="open",
                area=AREA,
                found=f"`{line.id}: {line.value}`: what comes in by it is not judged",
            )


def _lines(policy: Policy) -> list[Line]:
    teams = (line for team in policy.teams for line in team.lines)
    exceptions = (line for item in policy.exceptions for line in item.lines)
    return [*policy.lines, *teams, *exceptions]
