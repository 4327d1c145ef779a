"""What two policies say of doors and quotas: no request is needed to tell it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping

from imagegate.engine.policy import Line, Policy, Principal
from imagegate.engine.quota import QUOTAS, Quota
from imagegate.engine.rulebook import Book, count_of, count_spelled
from imagegate.engine.surface import GROUPS, Group
from imagegate.policydiff.told import Difference, Told, Way

_STRICTEST_FIRST = ("refuse", "enforce", "pass")
_UNLIMITED = "no quota"


def outright(
    old: Policy, new: Policy, who: Principal, date: datetime.date
) -> Iterator[Told]:
    """Yield what is otherwise for somebody, whatever is asked."""
    yield from _doors(old, new)
    was, now = (Book(x).page(who, date).acting.quotas for x in (old, new))
    for quota in QUOTAS.values():
        yield from _quota(quota, was, now)


def _doors(old: Policy, new: Policy) -> Iterator[Told]:
    for name, group in GROUPS.items():
        was, now = (_stance(each, name, group) for each in (old, new))
        if was != now:
            opens = _STRICTEST_FIRST.index(now) > _STRICTEST_FIRST.index(was)
            rule = f"surface.{name}"
            yield _difference("looser" if opens else "tighter", rule, was, now), (rule,)


def _stance(policy: Policy, name: str, group: Group) -> str:
    """Return what is done at a door: one that is only observed to be closed judges."""
    stance = policy.surface.get(name, group.stances[0])
    observed = policy.mode == "observe" and "enforce" in group.stances
    return "enforce" if stance == "refuse" and observed else stance


def _quota(
    quota: Quota, old: Mapping[Quota, Line], new: Mapping[Quota, Line]
) -> Iterator[Told]:
    lines = (old.get(quota), new.get(quota))
    place, rules = f"quotas.{quota.name}", tuple(line.id for line in lines if line)
    was, now = (None if line is None else count_of(line.value) for line in lines)
    if was != now:
        more = now is None or (was is not None and now > was)
        way: Way = "looser" if more else "tighter"
        yield (
            _difference(way, place, _told(quota, lines[0]), _told(quota, lines[1])),
            rules,
        )
    before, after = (line.otherwise if line else None for line in lines)
    if before and after and before != after:
        said = f"{place}.otherwise"
        yield _difference("different", said, str(before), str(after)), rules


def _told(quota: Quota, line: Line | None) -> str | int:
    """Tell what a quota allows: money as people write it."""
    if line is None:
        return _UNLIMITED
    money = quota.what == "cost"
    return count_spelled(line) if money else count_of(line.value)


def _difference(way: Way, place: str, before: str | int, now: str | int) -> Difference:
    return Difference(way=way, place=place, asked=None, before=before, now=now)
