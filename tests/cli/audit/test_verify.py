from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from imagegate.audit import StreamAudit
from imagegate.audit.journal import Journal
from imagegate.engine.records import Record


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def log() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def kept(tmp_path: Path, log: io.BytesIO, asked: Callable[..., list[Record]]) -> Path:
    """Write a trail as the gateway does, its checkpoints on another sink too."""

    async def write() -> None:
        stream = StreamAudit(log)
        folder = tmp_path / "trail"
        journal = Journal.open(folder, witness=stream.post)
        for number in range(5):
            await journal.write(asked(number, "design", quality="high"))
        await journal.close()
        await stream.close()

    asyncio.run(write())
    return tmp_path / "trail"


def only_file(folder: Path) -> Path:
    [file] = [each for each in folder.iterdir() if ".jsonl" in each.name]
    return file


def test_a_chain_that_holds_is_said_to(imagegate: Run, kept: Path) -> None:
    ran = imagegate("audit", "verify", kept)

    assert ran.code == 0, ran.out
    assert "1 chain holds" in ran.out
    assert "closed" in ran.out
    assert "cannot be seen" in ran.out


def test_the_first_bad_line_is_named(imagegate: Run, kept: Path) -> None:
    file = only_file(kept)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"design"', b'"sales_"')
    file.write_bytes(b"".join(lines))

    ran = imagegate("audit", "verify", kept)

    assert ran.code == 1
    assert f"{file.name}:4: " in ran.out.replace("\n", "")


def test_a_cut_off_end_is_seen_with_checkpoints_from_elsewhere(
    imagegate: Run, kept: Path, log: io.BytesIO, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "stdout.log"
    elsewhere.write_bytes(log.getvalue())
    file = only_file(kept)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5]))

    alone = imagegate("audit", "verify", kept)
    with_help = imagegate("audit", "verify", kept, "--checkpoints", elsewhere)

    assert alone.code == 0
    assert "unclosed" in alone.out
    assert with_help.code == 1


def test_the_report_is_json_too(imagegate: Run, kept: Path) -> None:
    found = json.loads(imagegate("audit", "verify", kept, "--format", "json").out)

    assert found["ok"] is True
    assert found["report"]["instances"] == 1
    assert found["report"]["files"][0]["state"] == "closed"


def test_what_is_no_journal_vouches_for_no_line(imagegate: Run, tmp_path: Path) -> None:
    """Nothing is said of lines that were never there."""
    (tmp_path / "hello.jsonl").write_text("hello\n")

    ran = imagegate("audit", "verify", tmp_path)

    assert ran.code == 1
    assert "hello.jsonl:1: not-json" in ran.out
    assert "lines from the first" not in ran.out


def test_what_cannot_be_read_is_said(imagegate: Run, kept: Path) -> None:
    ran = imagegate("audit", "verify", kept, "--checkpoints", kept / "none.log")

    assert ran.code == 2
    assert "none.log" in ran.err


def test_files_that_are_packed_otherwise_are_named(imagegate: Run, kept: Path) -> None:
    """They are a part of the trail, and nobody looked at them."""
    (kept / "20260101T000000.000000Z-0123456789abcdef.jsonl.gz").write_bytes(b"")

    ran = imagegate("audit", "verify", kept)

    assert ran.code == 0
    assert "20260101T000000.000000Z-0123456789abcdef.jsonl.gz" in ran.err


def test_a_log_without_checkpoints_is_named(
    imagegate: Run, kept: Path, log: io.BytesIO, tmp_path: Path
) -> None:
    """It was packed by who rotates it, say, or each line stands in another's."""
    wrapped, bare = tmp_path / "wrapped.log", tmp_path / "bare.log"
    lines = log.getvalue().decode().splitlines()
    wrapped.write_text("".join(json.dumps({"log": each}) + "\n" for each in lines))
    bare.write_bytes(log.getvalue())
    command = "audit", "verify", kept, "--checkpoints"

    ran = imagegate(*command, wrapped)

    assert ran.code == 0
    assert f"no line of {wrapped} is a checkpoint" in ran.err
    assert "checkpoint" not in imagegate(*command, bare).err
