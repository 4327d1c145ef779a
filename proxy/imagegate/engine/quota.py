"""What can be counted, for whom, and over which windows of time.

A window is fixed, and begins where the calendar says, in UTC: whoever has the records
can count again what was counted. A quota caps what starts within one window, so that
around its end twice as much can start in a short while.

Money is counted in whole millionths of the currency of the price table: no sum of
many small amounts drifts, and each store can add them.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Final, Literal, TypeAlias

import msgspec

What: TypeAlias = Literal["images", "requests", "cost"]
By: TypeAlias = Literal["principal", "team", "everyone"]
Per: TypeAlias = Literal["minute", "hour", "day", "week", "month"]
Outage: TypeAlias = Literal["refuse", "allow"]


class Quota(msgspec.Struct, frozen=True):
    """One thing that a policy can cap.

    Attributes:
        what: Images that start, requests that go on, or what images cost.
        by: Whose are counted together.
        per: Over which window.
    """

    what: What
    by: By
    per: Per

    @property
    def name(self) -> str:
        """Spell it as policies do: `images.principal.day`."""
        return f"{self.what}.{self.by}.{self.per}"

    @property
    def holds(self) -> bool:
        """Whether requests hold places of it, and are not counted at once."""
        return self.what != "requests"

    def spell(self, number: int) -> str:
        """Spell what is counted: money as a plain decimal number."""
        return amount_of(number) if self.what == "cost" else str(number)


WHAT: Final[tuple[What, ...]] = ("images", "requests", "cost")
BY: Final[tuple[By, ...]] = ("principal", "team", "everyone")
PER: Final[tuple[Per, ...]] = ("minute", "hour", "day", "week", "month")
"""The shortest first."""
QUOTAS: Final[Mapping[str, Quota]] = {
    quota.name: quota
    for quota in (Quota(what, by, per) for what in WHAT for by in BY for per in PER)
}


MILLIONTHS: Final = 6
"""Decimal places of an amount that are counted."""


def millionths(amount: Decimal, *, up: bool = False) -> int:
    """Count an amount; to the nearest, as reports round it, or up."""
    rounding = ROUND_CEILING if up else ROUND_HALF_UP
    return int(amount.scaleb(MILLIONTHS).to_integral_value(rounding))


def amount_of(number: int) -> str:
    """Spell what was counted as a plain decimal number."""
    return f"{Decimal(number).scaleb(-MILLIONTHS).normalize():f}"


class Counter(msgspec.Struct, frozen=True):
    """What is counted for one of those that a quota tells apart.

    Attributes:
        who: A principal or a team by its name; nothing for everyone.
        verified: Whether that name was proved. Whoever only claims a name uses up
            nothing of the one who has it.
        source: How a principal was identified: a name may mean another elsewhere.
    """

    quota: Quota
    who: str = ""
    verified: bool = True
    source: str = ""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Where a counter stands.

    Attributes:
        used: What was counted in this window; None where nobody could be asked.
        held: Places of requests that are under way, and have started no image yet;
            of money, what they are worth.
        since: When the window began, as records tell it.
        resets_in: Seconds until the next one begins.
    """

    used: int | None
    held: int = 0
    since: str = ""
    resets_in: int = 0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where the counters stand that a request is judged by.

    Attributes:
        counts: The counters.
        inherits: Whether the earlier turns that it refers to hold an image tool; None
            where that is not known.
        outage: What is done where a count is not known.
        price: What the images may cost that the request may start at once; None where
            no price is known.
        currency: Of what is counted in money.
    """

    counts: Mapping[Counter, Count] = msgspec.field(default_factory=dict)
    inherits: bool | None = None
    outage: Outage = "refuse"
    price: int | None = 0
    currency: str = ""


NOWHERE: Final = Standing()
"""Nothing is counted: quotas hold nobody up."""


class Window(msgspec.Struct, frozen=True):
    """A stretch of time: from its beginning, and to the end without the end itself."""

    begin: datetime.datetime
    end: datetime.datetime


def window(per: Per, at: datetime.datetime) -> Window:
    """Return the window in which a moment lies; weeks begin on Mondays."""
    begin = _BEGINS[per](at)
    return Window(begin, _ENDS[per](begin))


def _day(at: datetime.datetime) -> datetime.datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _next_month(begin: datetime.datetime) -> datetime.datetime:
    return (begin + datetime.timedelta(days=32)).replace(day=1)


_BEGINS: Final[Mapping[Per, Callable[[datetime.datetime], datetime.datetime]]] = {
    "minute": lambda at: at.replace(second=0, microsecond=0),
    "hour": lambda at: at.replace(minute=0, second=0, microsecond=0),
    "day": _day,
    "week": lambda at: _day(at) - datetime.timedelta(days=at.weekday()),
    "month": lambda at: _day(at).replace(day=1),
}
_ENDS: Final[Mapping[Per, Callable[[datetime.datetime], datetime.datetime]]] = {
    "minute": lambda begin: begin + datetime.timedelta(minutes=1),
    "hour": lambda begin: begin + datetime.timedelta(hours=1),
    "day": lambda begin: begin + datetime.timedelta(days=1),
    "week": lambda begin: begin + datetime.timedelta(days=7),
    "month": _next_month,
}
_MOST_IN: Final[Mapping[tuple[Per, Per], int]] = {
    ("minute", "hour"): 60,
    ("minute", "day"): 1_440,
    ("minute", "week"): 10_080,
    ("minute", "month"): 44_640,
    ("hour", "day"): 24,
    ("hour", "week"): 168,
    ("hour", "month"): 744,
    ("day", "week"): 7,
    ("day", "month"): 31,
    ("week", "month"): 6,  # of which the first and the last lie in others as well
}


def most_in(short: Per, long: Per) -> int:
    """Return how many short windows at most one long window touches."""
    return _MOST_IN[short, long]


def longer(per: Per) -> Iterator[Per]:
    """Yield the windows that are longer than one."""
    yield from PER[PER.index(per) + 1 :]
