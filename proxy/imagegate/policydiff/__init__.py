"""What a change of policy means, for everybody and every kind of request.

A reviewer sees which lines of a file have changed. Here is what that does: two
policies decide on every request that they can tell apart, for everybody whom they tell
apart, and what they make of it is held beside each other. Nothing is sent.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import msgspec

from imagegate.engine.catalogue import Catalogue
from imagegate.engine.decide import Decider
from imagegate.engine.policy import Line, Policy
from imagegate.policycases.question import Answer, Provider, ask
from imagegate.policydiff.audiences import Audience, audiences
from imagegate.policydiff.kinds import Kind, kinds
from imagegate.policydiff.outright import outright
from imagegate.policydiff.told import Difference, Told, Way, differences, meant_by

__all__ = ["Comparison", "Finding", "Watch", "Way", "compare", "enforced"]

Watch = Callable[[list[Kind]], Iterable[Kind]]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is otherwise under the newer policy.

    Attributes:
        rules: The rules that speak of it, of both policies.
        who: For whom, of those that were tried.
        providers: Where; empty for what is so at each of them.
        models: For which image models that were named, "" for none named; empty for
            what does not depend on the model.
        witness: The smallest request of which it is true; None where none is needed.
    """

    difference: Difference
    rules: tuple[str, ...]
    who: tuple[str, ...]
    providers: tuple[Provider, ...] = ()
    models: tuple[str, ...] = ()
    witness: Kind | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All that is otherwise.

    Attributes:
        asked: How many requests were decided by each policy for each of them.
        who: Those for whom.
        models: The image models that were tried by name.
        left_out: How many pairs of layers were too many to try.
    """

    findings: tuple[Finding, ...]
    asked: int
    who: tuple[str, ...]
    models: tuple[str, ...]
    left_out: int = 0

    def ways(self) -> frozenset[Way]:
        """Return in which ways the newer policy is otherwise."""
        return frozenset(each.difference.way for each in self.findings)


def compare(  # noqa: PLR0913 - two policies and the ground they stand on
    old: Policy,
    new: Policy,
    catalogue: Catalogue,
    *,
    date: datetime.date,
    providers: Collection[Provider],
    watch: Watch = iter,
) -> Comparison:
    """Hold two policies beside each other.

    Args:
        old: The older one.
        new: The newer one.
        catalogue: What providers accept.
        date: The day, and with the days after exceptions end, the first of all.
        providers: At whose interface.
        watch: Shown all that is asked, for a bar that tells how far it is.
    """
    people = audiences((old, new), date)
    tried = [kind for name in providers for kind in kinds((old, new), catalogue, name)]
    answers = [
        _answers(Decider(policy, catalogue), held, tried, watch)
        for policy, held in zip((old, new), _held(people.found), strict=True)
    ]
    meant = {name: meant_by(catalogue.provider(name)) for name in providers}
    heap = _Heap(tried)
    for who in people.found:
        for told in outright(old, new, who.principal, who.date):
            heap.add(told, who)
        theirs = (by[held] for by, held in zip(answers, who.held, strict=True))
        for kind, was, now in zip(tried, *theirs, strict=True):
            for told in differences(kind.asked, was, now, meant[kind.provider]):
                heap.add(told, who, kind)
    return Comparison(
        findings=tuple(heap.findings()),
        asked=len(tried),
        who=tuple(who.name for who in people.found),
        models=tuple(dict.fromkeys(filter(None, (kind.model for kind in tried)))),
        left_out=people.left_out,
    )


def _held(people: Iterable[Audience]) -> list[dict[bytes, Audience]]:
    """Return somebody for each set of lines that a policy has for anybody."""
    found: list[dict[bytes, Audience]] = [{}, {}]
    for who in people:
        for by, held in zip(found, who.held, strict=True):
            by.setdefault(held, who)
    return found


def _answers(
    decider: Decider,
    held: Mapping[bytes, Audience],
    tried: list[Kind],
    watch: Watch,
) -> dict[bytes, list[Answer]]:
    """Have one policy decide on everything for everybody for whom it is not alike."""
    return {
        lines: [
            ask(decider, kind.question(who.principal, who.date))
            for kind in watch(tried)
        ]
        for lines, who in held.items()
    }


def enforced(policy: Policy) -> Policy:
    """Return a policy as it acts once all that it observes is enforced."""
    replace = msgspec.structs.replace

    def acting(lines: Iterable[Line]) -> tuple[Line, ...]:
        return tuple(replace(line, mode="enforce") for line in lines)

    return replace(
        policy,
        mode="enforce",
        lines=acting(policy.lines),
        teams=tuple(replace(x, lines=acting(x.lines)) for x in policy.teams),
        exceptions=tuple(replace(x, lines=acting(x.lines)) for x in policy.exceptions),
    )


class _Found:
    """The same difference, wherever it was found."""

    def __init__(self) -> None:
        self.rules: dict[str, None] = {}
        self.who: dict[str, None] = {}
        self.providers: dict[Provider, None] = {}
        self.models: dict[str, None] = {}
        self.witness: Kind | None = None

    def add(self, rules: Iterable[str], who: Audience, kind: Kind | None) -> None:
        self.rules |= dict.fromkeys(rules)
        self.who[who.name] = None
        if kind is None:
            return
        self.providers[kind.provider] = None
        self.models[kind.model] = None
        if self.witness is None or _length(kind) < _length(self.witness):
            self.witness = kind


class _Heap:
    """What was found, put together: one finding is true of many requests."""

    def __init__(self, tried: Iterable[Kind]) -> None:
        self._found: dict[bytes, tuple[Difference, _Found]] = {}
        self._providers = {kind.provider for kind in tried}

    def add(self, told: Told, who: Audience, kind: Kind | None = None) -> None:
        difference, rules = told
        key = msgspec.json.encode(difference)
        _, found = self._found.setdefault(key, (difference, _Found()))
        found.add(rules, who, kind)

    def findings(self) -> Iterator[Finding]:
        for difference, found in self._found.values():
            every = difference.place == "model" or "" in found.models
            yield Finding(
                difference=difference,
                rules=tuple(found.rules),
                who=tuple(found.who),
                providers=()
                if found.providers.keys() == self._providers
                else tuple(found.providers),
                models=() if every else tuple(found.models),
                witness=found.witness,
            )


def _length(kind: Kind) -> int:
    return len(msgspec.json.encode(kind))
