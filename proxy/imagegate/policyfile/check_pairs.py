"""Whether two layers that hold for one person leave that person anything.

All teams that match hold together, and nobody knows here who is in which: a person
can have several values of an attribute. So what two of them leave nothing of is a
warning, where a layer that contradicts the baseline is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from imagegate.engine.policy import SETTINGS, Layers, Line, Rules, merge
from imagegate.policyfile.context import LIMITING, Context, names, spoken

_MOST: Final = 1_000
"""Pairs that are looked at; each is merged with the whole policy."""


class _Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A team or an exception, by the name that records give it.

    Attributes:
        limits: Its lines that limit something, by what they limit.
    """

    name: str
    layers: Layers
    limits: Mapping[str, Sequence[Line]]

    @property
    def alike(self) -> object:
        """What layers have in common that limit the same in the same way."""
        return frozenset(
            (subject, line.kind, line.value, line.model, line.loosens)
            for subject, lines in self.limits.items()
            for line in lines
        )


def check_pairs(context: Context) -> None:
    """Warn of a layer that leaves somebody nothing who is in another one too.

    Once for each layer: teams that exclude one another are often many. Of layers
    with the same limits one stands for all, and no more pairs are looked at than
    can be in a moment.
    """
    before: dict[object, _Layer] = {}
    left = _MOST
    for layer in _layers(context):
        for alike, other in before.items():
            if not left:
                return
            if alike != layer.alike:
                left -= 1
                if _contradict(context, other, layer):
                    break
        before.setdefault(layer.alike, layer)


def _layers(context: Context) -> Iterator[_Layer]:
    for team in context.policy.teams:
        yield _Layer(
            name=f"teams.{team.name}",
            layers=Layers(teams=(team,)),
            limits=_limits(team.lines),
        )
    for item in context.policy.exceptions:
        if item.until >= context.today:
            yield _Layer(
                name=f"exceptions.{item.id}",
                layers=Layers(exceptions=(item,)),
                limits=_limits(item.lines),
            )


def _limits(lines: Sequence[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line.kind in LIMITING and line.subject in {*SETTINGS, "model"}:
            found.setdefault(line.subject, []).append(line)
    return found


def _contradict(context: Context, one: _Layer, other: _Layer) -> bool:
    """Warn if two layers leave nothing of something; tell whether they do."""
    shared = sorted(one.limits.keys() & other.limits.keys())
    if not shared:
        return False
    both = Layers(
        teams=(*one.layers.teams, *other.layers.teams),
        exceptions=(*one.layers.exceptions, *other.layers.exceptions),
        loosening=True,
    )
    rules = merge(context.policy, both)
    return any(
        _contradict_in(context, one, other, subject, lines)
        for subject in shared
        for lines in _together(rules, subject, (one, other))
    )


def _together(
    rules: Rules, subject: str, layers: Sequence[_Layer]
) -> Iterator[tuple[Line, ...]]:
    """Yield the lines that hold together: the list of models, or those of a setting."""
    if subject not in SETTINGS:
        yield rules.at("models")
        return
    models = {line.model for layer in layers for line in layer.limits[subject]}
    for model in (None, *sorted(filter(None, models))):
        yield rules.constraints(subject, model)


def _contradict_in(
    context: Context,
    one: _Layer,
    other: _Layer,
    subject: str,
    lines: tuple[Line, ...],
) -> bool:
    ids, theirs = (
        {line.id for line in layer.limits[subject]} for layer in (one, other)
    )
    there = [line for line in lines if line.id in ids]
    here = [line for line in lines if line.id in theirs]
    if not here or not there or context.doubtful(lines):
        return False
    if _leaves_something(context, subject, lines):
        return False
    message = (
        f"somebody in `{one.name}` and in `{other.name}` is left nothing by "
        f"{spoken(there)} there and {spoken(here)} here; widen one of them"
    )
    context.add("layers-contradict", here[0], message, severity="warning")
    return True


def _leaves_something(context: Context, subject: str, lines: tuple[Line, ...]) -> bool:
    if subject in SETTINGS:
        return context.possible(subject, lines)
    lists = [set(names(line)) for line in lines]
    return any(
        all(listed & {name, *_stems(context, name)} for listed in lists)
        for name in set().union(*lists)
    )


def _stems(context: Context, name: str) -> set[str]:
    """Return the models behind a name: a list that has the model has its snapshots."""
    return {row.name for _, row in context.find(name)}
