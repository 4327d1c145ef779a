"""Whether quotas can ever stop somebody, and what they close and know nothing of."""

from __future__ import annotations

from collections.abc import Iterator

from imagegate.engine.policy import Layers, Line, Rules, merge
from imagegate.engine.prices import Prices
from imagegate.engine.quota import BY, QUOTAS, Quota, longer, most_in
from imagegate.engine.rulebook import count_of, count_spelled
from imagegate.policyfile.context import Context


def check_quotas(context: Context) -> None:
    """Warn of quotas behind which another one always comes first, and of batches."""
    _check_batches(context)
    teams = context.policy.teams
    _check_prices(context)
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
    found = [(quota.holds, x) for n, quota in QUOTAS.items() for x in _at(rules, n)]
    for holds, line in sorted(found, key=lambda each: each[0])[:1]:
        what = "with an image tool " if holds else ""
        message = (
            f"a batch runs when nobody counts, so that every file of one {what}is "
            "refused; set the quota in the teams that need it, or close `batches`"
        )
        context.add("quota-batches", line, message, severity="warning")


def _check_prices(context: Context) -> None:
    """Warn of models that nobody may use because no price of theirs is known."""
    drafted = (each.line for each in context.drafted.values())
    line = next((x for x in drafted if x.path.startswith("quotas.cost.")), None)
    if line is None or context.prices is None:
        return
    left = sorted(_unpriced(context, context.prices))
    if left:
        message = (
            "requests for these models are refused, as the price table has no price "
            f"of theirs: {', '.join(left)}; list others under `models`, or add prices"
        )
        context.add("quota-unpriced", line, message, severity="warning")


def _unpriced(context: Context, prices: Prices) -> Iterator[str]:
    """Yield the models without a price; on Azure of those that have a deployment."""
    deployed = set(context.policy.deployments.values())
    for name in context.allowed():
        for provider, row in context.find(name):
            asked = provider.name != "azure" or name in deployed
            price = prices.dearest(provider.name, (name, row.name))
            if asked and price is None:
                yield name if provider.name == "openai" else f"{name} on Azure"


def _check(context: Context, rules: Rules, own: set[str] | None = None) -> None:
    """Check what holds; of a team its own lines, which may make others idle."""
    found = {quota: line for name, quota in QUOTAS.items() for line in _at(rules, name)}
    for quota, line in found.items():
        if line.id in context.wrong or (own is not None and line.id not in own):
            continue
        for other, first in _before(quota, found):
            message = (
                f"`quotas.{quota.name}` of {count_spelled(line)} never stops anybody: "
                f"{count_spelled(first)} of `quotas.{other.name}` come first; change "
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
