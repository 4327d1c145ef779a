"""A SQLite file that workers share."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from imagegate.sqlite_file import CannotOpenError, open_file

TABLES = "CREATE TABLE IF NOT EXISTS notes (text TEXT NOT NULL);"


def test_what_is_written_is_there_for_the_next_who_opens_it(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    with contextlib.closing(open_file(file, TABLES, version=1)) as base:
        base.execute("INSERT INTO notes VALUES ('kept')")

    with contextlib.closing(open_file(file, TABLES, version=1)) as base:
        assert base.execute("SELECT text FROM notes").fetchall() == [("kept",)]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    open_file(file, TABLES, version=1).close()
    before = file.read_bytes()

    with pytest.raises(CannotOpenError, match=r"notes\.db: made by another version"):
        open_file(file, "CREATE TABLE other (id TEXT);", version=2)

    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database" * 100, None])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "notes.db"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)

    with pytest.raises(CannotOpenError, match=r"notes\.db"):
        open_file(file, TABLES, version=1)


def test_a_worker_waits_a_moment_for_another_and_not_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    with (
        contextlib.closing(open_file(file, TABLES, version=1)) as one,
        contextlib.closing(open_file(file, TABLES, version=1)) as other,
    ):
        one.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO notes VALUES ('late')")


def test_a_worker_that_begins_waits_longer_for_another(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    with contextlib.closing(open_file(file, TABLES, version=1)) as one:
        one.execute("BEGIN IMMEDIATE")
        begun = threading.Timer(0.6, one.execute, ["COMMIT"])
        begun.start()
        open_file(file, TABLES, version=1).close()
        begun.join()
