"""What two policies say of doors and quotas: no request is needed to tell it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping

from imagegate.engine.policy import Line, Policy, Principal
from imagegate.engine.quota import QUOTAS, Quota
from imagegate.engine.rulebook import Book, count_of, count_spelled
from imagegate.engine.surface import GROUPS
from imagegate.policydiff.told import Difference, Told

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
        was, now = (each.surface.get(name, group.stances[0]) for each in (old, new))
        if was != now:
            opens = _STRICTEST_FIRST.index(now) > _STRICTEST_FIRST.index(was)
            rule = f"surface.{name}"
            difference = Difference(
                way="looser" if opens else "tighter",
                place=rule,
                asked=None,
                before=was,
                now=now,
            )
            yield difference, (rule,)


def _quota(
    quota: Quota, old: Mapping[Quota, Line], new: Mapping[Quota, Line]
) -> Iterator[Told]:
    lines = (old.get(quota), new.get(quota))
    was, now = (None if line is None else count_of(line.value) for line in lines)
    if was != now:
        more = now is None or (was is not None and now > was)
        difference = Difference(
            way="looser" if more else "tighter",
            place=f"quotas.{quota.name}",
            asked=None,
            before=_told(quota, lines[0]),
            now=_told(quota, lines[1]),
        )
        yield difference, tuple(line.id for line in lines if line)


def _told(quota: Quota, line: Line | None) -> str | int:
    """Tell what a quota allows: money as people write it."""
    if line is None:
        return _UNLIMITED
    money = quota.what == "cost"
    return count_spelled(line) if money else count_of(line.value)
