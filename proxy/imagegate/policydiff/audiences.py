"""For whom policies are compared: everybody whom one of their layers tells apart."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from imagegate.engine.policy import ANONYMOUS, Policy, Principal, layers_for, resolve

MOST = 60
"""Layers are tried two by two for as long as there are no more people than these."""

_DAY = datetime.timedelta(days=1)

Match = Mapping[str, tuple[str, ...]]
_Key = tuple[tuple[str, ...], bool, datetime.date | None]


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """All for whom the same lines hold, in each of the policies.

    Attributes:
        name: Who that is, for a reader.
        principal: One of them.
        date: The first day on which it is so.
        held: The lines that hold for them, spelled out, of each policy.
    """

    name: str
    principal: Principal
    date: datetime.date
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
        later: The day, where it is a later one than that of the comparison.
    """

    among: tuple[str, ...]
    principal: Principal
    later: datetime.date | None = None

    @property
    def name(self) -> str:
        said = self.principal.attributes.items()
        name = ", ".join(f"{key} {' and '.join(words)}" for key, words in said)
        claimed = "" if self.principal.verified else ", only claimed"
        return name + claimed + (f", from {self.later}" if self.later else "")


def audiences(policies: Sequence[Policy], date: datetime.date) -> Audiences:
    """Find everybody whom one of the policies tells from the others.

    Whoever is in two layers is tried for every pair, as far as these are not too many;
    who is in three is not, since layers hold together line by line. Each is tried on
    the day, and on the day after an exception has ended for them.
    """
    matches = list(_told_apart(_matches(policies)))
    pairs = list(itertools.combinations(matches, 2))
    room = max(0, MOST - len(matches))
    alike: dict[tuple[bytes, ...], list[_Person]] = {}
    nobody = _Person(among=(), principal=ANONYMOUS)
    groups = (*((match,) for match in matches), *pairs[:room])
    for person in (nobody, *_people(groups)):
        for later in (None, *_ends(policies, person.principal, date)):
            key = _lines_for(policies, person.principal, later or date)
            replaced = msgspec.structs.replace(person, later=later)
            alike.setdefault(key, []).append(replaced)
    return Audiences(
        found=tuple(
            Audience(
                name=_spoken(people),
                principal=people[0].principal,
                date=people[0].later or date,
                held=held,
            )
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


def _told_apart(matches: Sequence[Match]) -> Iterator[Match]:
    """Yield whom each layer matches, by one word for all that are nowhere told apart.

    A layer of another policy may be for some of the same words only.
    """
    found: list[Match] = []
    for match in matches:
        words = [_one_of_each(key, matches, said) for key, said in match.items()]
        for chosen in itertools.product(*words):
            one = {key: (word,) for key, word in zip(match, chosen, strict=True)}
            if one not in found:
                found.append(one)
                yield one


def _one_of_each(
    key: str, matches: Iterable[Match], words: Iterable[str]
) -> Iterable[str]:
    """Pick one word of all that the same layers ask for."""
    asked = [frozenset(match.get(key, ())) for match in matches]
    first = {tuple(word in each for each in asked): word for word in reversed([*words])}
    return tuple(reversed(first.values()))


def _ends(
    policies: Iterable[Policy], who: Principal, date: datetime.date
) -> list[datetime.date]:
    """Return the days after which somebody is without an exception."""
    theirs = (
        x for policy in policies for x in layers_for(policy, who, date).exceptions
    )
    return sorted({x.until + _DAY for x in theirs if x.until < datetime.date.max})


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
                said[key] = (*kept, *words[:1])
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
    all_of_them = {(who.among, who.principal.verified, who.later) for who in people}
    said = (who for who in people if all_of_them.isdisjoint(_implying(who)))
    return "; ".join(who.name for who in said)


def _implying(who: _Person) -> Iterator[_Key]:
    """Yield by whose name somebody is told too.

    A pair by one of it, a claim by its proof, a later day by today.
    """
    verified, later = who.principal.verified, who.later
    if len(who.among) > 1:
        yield from (((each,), verified, later) for each in who.among)
    if not verified:
        yield who.among, True, later
    if later:
        yield who.among, verified, None
