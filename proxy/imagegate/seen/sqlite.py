"""Sights in a SQLite file, shared by the workers of one machine.

A read takes tens of microseconds and a write little more. What a power cut loses is
unseen from then on, and so is what cannot be asked or kept in a fifth of a second.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from imagegate.engine.policy import Principal
from imagegate.seen.store import DAYS, Sight, SightLost, joined, owner_of
from imagegate.sqlite_file import CannotOpenError, open_file, when_free

_DAY: Final = 86_400
_BETWEEN: Final = 3_600
_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS sights (
  owner TEXT NOT NULL, id TEXT NOT NULL, sight BLOB NOT NULL, noted INTEGER NOT NULL,
  PRIMARY KEY (owner, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS noted ON sights (noted);
"""
_NOTE: Final = """
INSERT INTO sights VALUES (?, ?, ?, ?) ON CONFLICT (owner, id)
DO UPDATE SET sight = joined(sight, excluded.sight), noted = excluded.noted
"""
_FIND: Final = "SELECT sight FROM sights WHERE owner = ? AND id = ? AND noted > ?"
_FORGET: Final = "DELETE FROM sights WHERE noted <= ?"


class SqliteSeen:
    """Keeps sights for a month, or as long as it is told."""

    def __init__(self, file: Path, *, days: float = DAYS) -> None:
        """Open a file, or begin one that only this user may read.

        Raises:
            SightLost: When it cannot be opened, or is something else.
        """
        self._keep = days * _DAY
        self._forgotten = 0.0
        try:
            self._base = open_file(file, _TABLES, version=_VERSION)
        except CannotOpenError as error:
            raise SightLost(str(error)) from error
        self._base.create_function("joined", 2, _joined, deterministic=True)

    async def note(self, who: Principal, ids: Iterable[str], sight: Sight) -> None:
        """Keep what the state under these ids holds, beside what it held before."""
        owner, now = owner_of(who), time.time()
        data = msgspec.json.encode(sight)
        rows = [(owner, name, data, now) for name in ids]

        def keep() -> None:
            self._base.executemany(_NOTE, rows)
            # A clock that was set back must not be waited for.
            if not self._forgotten <= now <= self._forgotten + _BETWEEN:
                self._base.execute(_FORGET, (now - self._keep,))
                self._forgotten = now

        try:
            await when_free(keep)
        except sqlite3.Error as error:
            raise SightLost(str(error)) from error

    async def find(self, who: Principal, ids: Iterable[str]) -> Mapping[str, Sight]:
        """Return what is known of these ids for this principal."""
        owner, since = owner_of(who), time.time() - self._keep
        names = list(ids)

        def find() -> dict[str, Sight]:
            found: dict[str, Sight] = {}
            for name in names:
                row = self._base.execute(_FIND, (owner, name, since)).fetchone()
                if row is not None:
                    found[name] = msgspec.json.decode(row[0], type=Sight)
            return found

        try:
            return await when_free(find)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise SightLost(str(error)) from error

    async def close(self) -> None:
        """Let go of the file."""
        self._base.close()


def _joined(known: bytes, fresh: bytes) -> bytes:
    """Join two sights, within the statement that keeps the second."""
    one, other = (msgspec.json.decode(each, type=Sight) for each in (known, fresh))
    return msgspec.json.encode(joined(one, other))
