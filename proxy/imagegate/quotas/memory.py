"""Counters in memory, for one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from imagegate.quotas.store import (
    HOLD_SECONDS,
    SLACK,
    Reading,
    Slot,
    Step,
    counted,
    held_until,
)

_BETWEEN: Final = 60.0


class MemoryQuotas:
    """Keeps counters for as long as it is there."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, int], tuple[int, int]] = {}  # and when it ends
        # Until when, and what each is worth.
        self._held: dict[str, dict[str, tuple[float, int]]] = {}
        self._swept = 0.0

    async def take(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> Sequence[Reading]:
        """Take places in the slots that hold them, and count one in the others."""
        self._sweep(now)
        found = [Reading(self._count(slot), self._holding(slot, now)) for slot in slots]
        for slot in slots:
            if slot.holds:
                held = self._held.setdefault(slot.name, {})
                held |= dict.fromkeys(places, (now + HOLD_SECONDS, slot.worth))
            else:
                self._add(slot, 1)
        return found

    async def settle(self, step: Step, now: float) -> None:
        """Make a change."""
        for slot in step.slots:
            held = self._held.setdefault(slot.name, {})
            dropped = [held.pop(place, (0.0, 0)) for place in step.drop]
            was = [worth if until > now else None for until, worth in dropped]
            if number := counted(step, slot, was):
                self._add(slot, number)
            place = held_until(slot, now), slot.worth
            held |= dict.fromkeys(step.hold, place)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""

    def _count(self, slot: Slot) -> int:
        return self._used.get((slot.name, slot.window), (0, 0))[0]

    def _holding(self, slot: Slot, now: float) -> int:
        held = self._held.get(slot.name, {}).values()
        return sum(worth for until, worth in held if until > now)

    def _add(self, slot: Slot, number: int) -> None:
        used = max(0, self._count(slot) + number)
        self._used[slot.name, slot.window] = used, slot.ends

    def _sweep(self, now: float) -> None:
        """Forget what is over, once a minute."""
        if self._swept <= now < self._swept + _BETWEEN:
            return  # a clock that was set back must not be waited for
        self._swept = now
        self._used = {
            key: kept for key, kept in self._used.items() if kept[1] + SLACK > now
        }
        left = {
            name: {place: kept for place, kept in held.items() if kept[0] > now}
            for name, held in self._held.items()
        }
        self._held = {name: held for name, held in left.items() if held}
