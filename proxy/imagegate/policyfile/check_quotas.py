"""Whether every quota can ever be what stops somebody, and what it closes."""

from __future__ import annotations

from collections.abc import Iterator

from imagegate.engine.policy import Layers, Line, Rules, merge
from imagegate.engine.quota import BY, QUOTAS, Quota, longer, most_in
from imagegate.engine.rulebook import count_of
from imagegate.policyfile.context import Context


def check_quotas(context: Context) -> None:
    """Warn of quotas behind which another one always comes first, and of batches."""
    _check_batches(context)
    teams = context.policy.teams
    _check(context, merge(context.policy, Layers()))
    for team in teams:
        layers = Layers(teams=(team,), loosening=True)
        own = {line.id for line in team.lines}
        _check(context, merge(context.policy, layers), own)


def _check_batches(context: Context) -> None:
    """Warn where batches are judged, and a quota refuses everybody's."""
    surface = context.draft.surface
    if surface.get("batches") != "enforce" or surface.get("files") != "enforce":
        return
    rules = merge(context.policy, Layers())
    found = [(quota.what, x) for n, quota in QUOTAS.items() for x in _at(rules, n)]
    for counted, line in sorted(found, key=lambda each: each[0] == "images")[:1]:
        what = "with an image tool " if counted == "images" else ""
        message = (
            f"a batch runs when nobody counts, so that every file of one {what}is "
            "refused; set the quota in the teams that need it, or close `batches`"
        )
        context.add("quota-batches", line, message, severity="warning")


def _check(context: Context, rules: Rules, own: set[str] | None = None) -> None:
    """Check what holds; of a team its own lines, which may make others idle."""
    found = {quota: line for name, quota in QUOTAS.items() for line in _at(rules, name)}
    for quota, line in found.items():
        if line.id in context.wrong or (own is not None and line.id not in own):
            continue
        for other, first in _before(quota, found):
            message = (
                f"`quotas.{quota.name}` of {count_of(line.value)} never stops anybody: "
                f"{count_of(first.value)} of `quotas.{other.name}` come first; change "
                "or remove one of them"
            )
            context.add("quota-idle", line, message, severity="warning")
            break


def _at(rules: Rules, name: str) -> tuple[Line, ...]:
    lines = rules.at(f"quotas.{name}.max")
    return tuple(sorted(lines, key=lambda line: count_of(line.value))[:1])


def _before(quota: Quota, found: dict[Quota, Line]) -> Iterator[tuple[Quota, Line]]:
    """Yield the quotas that are used up before this one ever is."""
    most = count_of(found[quota].value)
    for other, line in found.items():
        if other.what != quota.what or other == quota:
            continue
        wider = BY.index(other.by) - BY.index(quota.by)
        least = count_of(line.value)
        if other.per == quota.per:
            if wider > 0 and least <= most:
                yield other, line  # others use it up too
        elif other.per in longer(quota.per):
            if wider >= 0 and least <= most:
                yield other, line
        elif wider == 0 and least * most_in(other.per, quota.per) <= most:
            yield other, line
