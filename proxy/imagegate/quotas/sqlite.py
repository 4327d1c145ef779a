"""Counters in a SQLite file, shared by the workers of one machine.

Each call is one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from imagegate.quotas.store import (
    HOLD_SECONDS,
    SLACK,
    QuotasLost,
    Reading,
    Slot,
    Step,
    counted,
    held_until,
)
from imagegate.sqlite_file import CannotOpenError, open_file, when_free

_Found = TypeVar("_Found")
_BETWEEN: Final = 60.0
_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS used (
  name TEXT NOT NULL, window INTEGER NOT NULL, ends INTEGER NOT NULL,
  number INTEGER NOT NULL, PRIMARY KEY (name, window)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (
  name TEXT NOT NULL, place TEXT NOT NULL, until REAL NOT NULL,
  PRIMARY KEY (name, place)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS priced (
  name TEXT NOT NULL, place TEXT NOT NULL, until REAL NOT NULL,
  worth INTEGER NOT NULL, PRIMARY KEY (name, place)
) WITHOUT ROWID;
"""
_USED: Final = "SELECT number FROM used WHERE name = ? AND window = ?"
_HELD: Final = "SELECT count(*) FROM held WHERE name = ? AND until > ?"
_ADD: Final = """
INSERT INTO used VALUES (?, ?, ?, max(0, ?)) ON CONFLICT (name, window)
DO UPDATE SET number = max(0, number + ?)
"""
_HOLD: Final = "INSERT OR REPLACE INTO held VALUES (?, ?, ?)"
_DROP: Final = "DELETE FROM held WHERE name = ? AND place = ? RETURNING until, 1"
_PRICED: Final = (
    "SELECT coalesce(sum(worth), 0) FROM priced WHERE name = ? AND until > ?"
)
_HOLD_PRICED: Final = "INSERT OR REPLACE INTO priced VALUES (?, ?, ?, ?)"
_DROP_PRICED: Final = (
    "DELETE FROM priced WHERE name = ? AND place = ? RETURNING until, worth"
)


class SqliteQuotas:
    """Keeps counters in a file, over restarts."""

    def __init__(self, file: Path) -> None:
        """Open a file, or begin one that only this user may read.

        Raises:
            QuotasLost: When it cannot be opened, or is something else.
        """
        self._swept = 0.0
        try:
            self._base = open_file(file, _TABLES, version=_VERSION)
        except CannotOpenError as error:
            raise QuotasLost(str(error)) from error

    async def take(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> Sequence[Reading]:
        """Take places in the slots that hold them, and count one in the others."""

        def take() -> Sequence[Reading]:
            self._sweep(now)
            found = [self._reading(slot, now) for slot in slots]
            for slot in slots:
                if slot.holds:
                    self._hold(slot, places, now + HOLD_SECONDS)
                else:
                    self._add(slot, 1)
            return found

        return await self._whole(take)

    async def settle(self, step: Step, now: float) -> None:
        """Make a change."""

        def settle() -> None:
            for slot in step.slots:
                if number := counted(step, slot, self._drop(slot, step.drop, now)):
                    self._add(slot, number)
                self._hold(slot, step.hold, held_until(slot, now))

        await self._whole(settle)

    async def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    async def _whole(self, change: Callable[[], _Found]) -> _Found:
        """Do all of it or nothing, alone."""

        def whole() -> _Found:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                found = change()
                self._base.execute("COMMIT")
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            return found

        try:
            return await when_free(whole)
        except sqlite3.Error as error:
            raise QuotasLost(str(error)) from error

    def _reading(self, slot: Slot, now: float) -> Reading:
        used = self._base.execute(_USED, (slot.name, slot.window)).fetchone()
        held_in = _HELD if slot.price is None else _PRICED
        (held,) = self._base.execute(held_in, (slot.name, now)).fetchone()
        return Reading(used[0] if used else 0, held)

    def _hold(self, slot: Slot, places: Sequence[str], until: float) -> None:
        if slot.price is None:
            rows = [(slot.name, place, until) for place in places]
            self._base.executemany(_HOLD, rows)
        else:
            priced = [(slot.name, place, until, slot.price) for place in places]
            self._base.executemany(_HOLD_PRICED, priced)

    def _drop(self, slot: Slot, places: Sequence[str], now: float) -> list[int | None]:
        """Give places back; tell what those were worth that were held."""
        drop = _DROP if slot.price is None else _DROP_PRICED
        rows = [
            self._base.execute(drop, (slot.name, place)).fetchone() for place in places
        ]
        return [None if row is None or row[0] <= now else row[1] for row in rows]

    def _add(self, slot: Slot, number: int) -> None:
        values = (slot.name, slot.window, slot.ends, number, number)
        self._base.execute(_ADD, values)

    def _sweep(self, now: float) -> None:
        """Forget what is over, once a minute."""
        if self._swept <= now < self._swept + _BETWEEN:
            return  # a clock that was set back must not be waited for
        self._swept = now
        self._base.execute("DELETE FROM used WHERE ends <= ?", (now - SLACK,))
        self._base.execute("DELETE FROM held WHERE until <= ?", (now,))
        self._base.execute("DELETE FROM priced WHERE until <= ?", (now,))
