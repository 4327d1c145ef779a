"""A SQLite file that workers share."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from imagegate.sqlite_file import CannotOpenError, open_file, when_free

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


@pytest.mark.anyio
async def test_a_worker_waits_for_another_and_holds_up_nobody(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    with (
        contextlib.closing(open_file(file, TABLES, version=1)) as one,
        contextlib.closing(open_file(file, TABLES, version=1)) as other,
    ):
        one.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT count(*) FROM notes").fetchone() == (0,)

        def write() -> None:
            other.execute("INSERT INTO notes VALUES ('late')")

        waiting = [asyncio.create_task(when_free(write)) for _ in range(50)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)

        one.execute("COMMIT")
        await asyncio.gather(*waiting)
        assert one.execute("SELECT count(*) FROM notes").fetchone() == (50,)


@pytest.mark.anyio
async def test_a_worker_does_not_wait_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    tries: list[None] = []
    with (
        contextlib.closing(open_file(file, TABLES, version=1)) as one,
        contextlib.closing(open_file(file, TABLES, version=1)) as other,
    ):
        one.execute("BEGIN IMMEDIATE")

        def write() -> None:
            tries.append(None)
            other.execute("INSERT INTO notes VALUES ('late')")

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            await when_free(write)
    assert 1 < len(tries) < 50


@pytest.mark.anyio
async def test_what_fails_otherwise_is_not_tried_again(tmp_path: Path) -> None:
    tries: list[None] = []
    with contextlib.closing(open_file(tmp_path / "n.db", TABLES, version=1)) as base:

        def write() -> None:
            tries.append(None)
            base.execute("INSERT INTO others VALUES ('nowhere')")

        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await when_free(write)
    assert len(tries) == 1


def test_a_worker_that_begins_waits_longer_for_another(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    with contextlib.closing(open_file(file, TABLES, version=1)) as one:
        one.execute("BEGIN IMMEDIATE")
        begun = threading.Timer(0.6, one.execute, ["COMMIT"])
        begun.start()
        open_file(file, TABLES, version=1).close()
        begun.join()
