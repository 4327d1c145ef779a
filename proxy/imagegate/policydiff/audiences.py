"""For whom policies are compared: everybody whom one of their layers tells apart."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from imagegate.engine.policy import ANONYMOUS, Policy, Principal, resolve

MOST = 60
"""Layers are tried two by two for as long as there are no more people than these."""

Match = Mapping[str, tuple[str, ...]]


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """All for whom the same lines hold, in each of the policies.

    Attributes:
        name: Who that is, for a reader.
        principal: One of them.
        held: The lines that hold for them, spelled out, of each policy.
    """

    name: str
    principal: Principal
    held: tuple[bytes, ...]


class Audiences(msgspec.Struct, frozen=True, kw_only=True):
    """All of them.

    Attributes:
        left_out: How many pairs of layers were too many to try.
    """

    found: tuple[Audience, ...]
    left_out: int = 0


class _Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody to whom some layers speak.

    Attributes:
        among: The layers, by whom they match.
    """

    among: tuple[str, ...]
    principal: Principal

    @property
    def name(self) -> str:
        said = self.principal.attributes.items()
        name = ", ".join(f"{key} {' and '.join(words)}" for key, words in said)
        return name if self.principal.verified else f"{name}, only claimed"


def audiences(policies: Sequence[Policy], date: datetime.date) -> Audiences:
    """Find everybody whom one of the policies tells from the others.

    Whoever is in two layers is tried for every pair, as far as these are not too many;
    who is in three is not, since layers hold together line by line.
    """
    matches = _matches(policies)
    pairs = list(itertools.combinations(matches, 2))
    room = max(0, MOST - len(matches))
    alike: dict[tuple[bytes, ...], list[_Person]] = {}
    nobody = _Person(among=(), principal=ANONYMOUS)
    groups = (*((match,) for match in matches), *pairs[:room])
    for person in (nobody, *_people(groups)):
        key = _lines_for(policies, person.principal, date)
        alike.setdefault(key, []).append(person)
    return Audiences(
        found=tuple(
            Audience(name=_spoken(people), principal=people[0].principal, held=held)
            for held, people in alike.items()
        ),
        left_out=len(pairs[room:]),
    )


def _matches(policies: Iterable[Policy]) -> list[Match]:
    found: list[Match] = []
    for policy in policies:
        found += [team.match for team in policy.teams]
        found += [item.match for item in policy.exceptions]
    return [match for n, match in enumerate(found) if match not in found[:n]]


def _people(groups: Iterable[Sequence[Match]]) -> Iterator[_Person]:
    for group in groups:
        said = _together(group)
        for verified in (True, False):
            who = Principal(id="someone", attributes=said, verified=verified)
            among = tuple(map(str, group))
            yield _Person(among=among, principal=who)


def _together(group: Sequence[Match]) -> dict[str, tuple[str, ...]]:
    """Give one person what each of the layers asks for: one of its words is enough."""
    said: dict[str, tuple[str, ...]] = {}
    for match in group:
        for key, words in match.items():
            kept = said.get(key, ())
            if not set(kept).intersection(words):
                said[key] = (*kept, words[0])
    return said


def _lines_for(
    policies: Iterable[Policy], who: Principal, date: datetime.date
) -> tuple[bytes, ...]:
    held = (resolve(policy, who, date).lines for policy in policies)
    return tuple(msgspec.json.encode(each, order="deterministic") for each in held)


def _spoken(people: Sequence[_Person]) -> str:
    """Name people for whom the same holds by as few of them as say it."""
    if not people[0].among:
        return "anybody else"
    all_of_them = {(who.among, who.principal.verified) for who in people}
    said = (who for who in people if all_of_them.isdisjoint(_implying(who)))
    return "; ".join(who.name for who in said)


def _implying(who: _Person) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield by whose name somebody is told too: a pair by one, a claim by its proof."""
    verified = who.principal.verified
    if len(who.among) > 1:
        yield from (((each,), verified) for each in who.among)
    if not verified:
        yield who.among, True
