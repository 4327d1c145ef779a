"""What is asked of a store of counters, and what it is told."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from imagegate.engine.quota import Counter, window

HOLD_SECONDS: Final = 2 * 3_600
"""How long a place is held of which nobody speaks any more: longer than exchanges
last, so that it is the places of a gateway that died which end like this."""
BACKGROUND_SECONDS: Final = 24 * 3_600
"""How long at least what is made in the background holds a place, until somebody reads
it. Its window may end later, and whoever never reads must not win by that."""
SLACK: Final = 3_600
"""Seconds for which a window is kept beyond its end: clocks differ."""
_LENGTH: Final = 32


class Slot(msgspec.Struct, frozen=True):
    """A counter in one window.

    Attributes:
        name: Of the counter; no identity can be read off it.
        window: When the window began, in seconds since 1970.
        ends: When it ends.
        holds: Whether requests hold places, and are not counted at once.
        price: What a place is worth, where it is money that is counted.
    """

    name: str
    window: int
    ends: int
    holds: bool
    price: int | None = None

    @property
    def worth(self) -> int:
        """What a place takes of the whole."""
        return 1 if self.price is None else self.price


class Reading(msgspec.Struct, frozen=True):
    """Where a counter stood before it was touched."""

    used: int
    held: int = 0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One change, made as a whole.

    Attributes:
        slots: Of which counters.
        drop: Places that are given back, or become a count.
        add: What is counted; a request that does not go on after all is -1.
        hold: Places that what goes on in the background holds from now on.
        if_held: Nothing is counted unless one of the dropped places was held: the
            first, or the one behind as many as were counted before.
        paid: What is counted where it is money: the cost that is known.
        unpaid: Images whose cost is not known: each counts for the worth of a place,
            and of a negative number that is taken back.
    """

    slots: tuple[Slot, ...] = ()
    drop: tuple[str, ...] = ()
    add: int = 0
    hold: tuple[str, ...] = ()
    if_held: bool = False
    paid: int = 0
    unpaid: int = 0


def counted(step: Step, slot: Slot, held: Sequence[int | None]) -> int:
    """Say how much a change counts in a slot.

    Args:
        step: The change.
        slot: The slot.
        held: What each of the dropped places was worth; None where none was held.
    """
    before, worth = 0, slot.worth
    if step.if_held:
        kept = ((n, worth) for n, worth in enumerate(held) if worth is not None)
        found = next(kept, None)
        if found is None:
            return 0
        before, worth = found
    if slot.price is not None:
        return step.paid + (step.unpaid - before) * worth
    return max(0, step.add - before) if step.if_held else step.add


def held_until(slot: Slot, now: float) -> float:
    """Say until when the background holds a place of which nobody speaks any more."""
    return max(now + BACKGROUND_SECONDS, slot.ends)


class QuotasLost(Exception):  # noqa: N818 - a fact: whoever asks goes on without
    """The store could not be asked, or could not take something."""


class Quotas(Protocol):
    """Keeps counters; each call is made as a whole, whoever else calls."""

    async def take(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> Sequence[Reading]:
        """Take places in the slots that hold them, and count one in the others.

        Returns:
            Where each slot stood before.

        Raises:
            QuotasLost: When the store could not be asked.
        """

    async def settle(self, step: Step, now: float) -> None:
        """Make a change.

        Raises:
            QuotasLost: When it could not be made.
        """

    async def close(self) -> None:
        """Let go of the store."""


def slot_of(counter: Counter, at: datetime.datetime, price: int = 0) -> Slot:
    """Say where a counter is kept at a moment.

    Args:
        counter: The counter.
        at: The moment.
        price: What a place is worth where money is counted.
    """
    quota = counter.quota
    found = window(quota.per, at)
    who = msgspec.json.encode([counter.verified, counter.source, counter.who])
    digest = hashlib.sha256(who).hexdigest()[:_LENGTH]
    return Slot(
        name=f"{quota.name}:{digest}",
        window=int(found.begin.timestamp()),
        ends=int(found.end.timestamp()),
        holds=quota.holds,
        price=price if quota.what == "cost" else None,
    )
