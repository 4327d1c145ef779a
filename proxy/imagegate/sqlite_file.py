"""A SQLite file that the workers of one machine share.

In WAL mode readers never wait, and without a sync per write a power cut may lose the
last ones; what a process that died has written is there. Whoever finds the file busy
waits a fifth of a second at most, and holds up nobody meanwhile; at the start, when
all workers begin it together, some seconds.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

_Found = TypeVar("_Found")
_PAUSES: Final = (0.001, 0.002, 0.004, 0.008, *[0.02] * 9)
"""Between two tries, less than `quotas.seconds` in all, so that it is told that the
file was busy. SQLite's own way to wait would hold up the whole loop, once for each of
those who wait; and a loop that is busy must not take its own time for the file's."""
_PRIMARY: Final = 0xFF
"""Which bits of an error's number tell its kind."""
_PATIENCE_TO_BEGIN: Final = 10.0
_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
BEGIN IMMEDIATE;
{tables}
PRAGMA user_version = {version};
COMMIT;
"""


class CannotOpenError(Exception):
    """The file cannot be opened, or is something else; one line says why."""


def open_file(file: Path, tables: str, *, version: int) -> sqlite3.Connection:
    """Open a file, or begin one that only this user may read.

    Args:
        file: The file.
        tables: The statements that make what is not there yet.
        version: Of the tables, above 0; a file with others is left as it is.

    Raises:
        CannotOpenError: When it cannot be opened, or is something else.
    """
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        base = sqlite3.connect(
            file,
            timeout=_PATIENCE_TO_BEGIN,
            isolation_level=None,
            check_same_thread=False,
        )
    except (OSError, sqlite3.Error) as error:
        raise CannotOpenError(f"{file}: {error}") from error
    try:
        _begin(base, tables, version)
    except (ValueError, sqlite3.Error) as error:
        base.close()
        raise CannotOpenError(f"{file}: {error}") from error
    return base


def _begin(base: sqlite3.Connection, tables: str, version: int) -> None:
    (found,) = base.execute("PRAGMA user_version").fetchone()
    if found not in (0, version):
        raise ValueError(f"made by another version ({found})")
    base.executescript(_SCHEMA.format(tables=tables, version=version))
    base.execute("PRAGMA busy_timeout = 0")


async def when_free(do: Callable[[], _Found]) -> _Found:
    """Do something with a file as soon as nobody else has it.

    Args:
        do: Does it at once; it is done again if the file was busy.

    Raises:
        sqlite3.Error: What it raised; of a busy file, when that is so for too long.
    """
    for pause in _PAUSES:
        try:
            return do()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY:
                raise
        await asyncio.sleep(pause)
    return do()
