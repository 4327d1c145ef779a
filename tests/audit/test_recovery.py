"""What a start makes of the files of processes that are gone."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from journals import (
    abandon,
    chattr,
    descriptor,
    events,
    files_up_to,
    hidden,
    ids,
    journal,
    lines,
    of,
    orphan,
    proved,
    wait_for,
)
from making import QUICK, completion, decision

from imagegate.audit.journal import Journal
from imagegate.audit.logfile import LogFile, files_in
from imagegate.audit.packing import pack
from imagegate.audit.recovery import recover, tidy
from imagegate.audit.verify import verify
from imagegate.zstd import zstd

pytestmark = pytest.mark.anyio
BY = "f" * 16


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory where a sync costs nothing, if there is one."""
    memory = Path("/dev/shm")  # noqa: S108 - the name below is unguessable
    directory = memory if memory.is_dir() else tmp_path
    with tempfile.TemporaryDirectory(dir=directory) as name:
        yield Path(name)


SMALL = msgspec.structs.replace(QUICK, rotate_bytes=3000)


async def test_the_next_start_closes_what_a_dead_process_left(tmp_path: Path) -> None:
    left = orphan(tmp_path)
    async with journal(tmp_path) as audit:
        assert audit.unrecovered == []
        assert events(left)[-4:] == [
            "exchange_finished",
            "exchange_finished",
            "audit_recovered",
            "audit_closed",
        ]

    unknown = [x for x in of(left, "exchange_finished") if x["outcome"] == "unknown"]
    [recovered] = of(left, "audit_recovered")
    assert {x["decision_id"]: x["principal_id"] for x in unknown} == {
        "b": "jo",
        "c": "anonymous",
    }
    assert recovered["recovered_by"] == audit.instance
    assert (recovered["decisions_closed"], recovered["torn_bytes"]) == (2, 0)
    assert {line["instance"] for line in lines(left)} == {lines(left)[0]["instance"]}
    assert proved(tmp_path).unfinished == 0


async def test_a_cut_at_any_byte_of_the_last_line_is_repaired(
    in_memory: Path,
) -> None:
    left = orphan(in_memory / "whole")
    data = left.read_bytes()
    start = data.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(data)):
        directory = in_memory / str(end)
        directory.mkdir()
        (directory / left.name).write_bytes(data[:end])

        assert recover(directory, by=BY) == []

        [recovered] = of(directory, "audit_recovered")
        whole = end >= len(data) - 1
        assert recovered["torn_bytes"] == (0 if whole else end - start)
        assert recovered["torn_cut"] is (recovered["torn_bytes"] > 0)
        assert ("image_generating" in events(directory)) is whole
        assert proved(directory).unfinished == 0


async def test_a_cut_anywhere_is_repaired(tmp_path: Path) -> None:
    left = orphan(tmp_path / "whole")
    data = left.read_bytes()
    for end in range(0, len(data), 97):
        directory = tmp_path / str(end)
        directory.mkdir()
        (directory / left.name).write_bytes(data[:end])

        assert recover(directory, by=BY) == []
        assert events(directory)[-1] == "audit_closed"
        assert proved(directory).unfinished == 0


async def test_what_the_power_took_is_cut_off_up_to_the_last_line(
    tmp_path: Path,
) -> None:
    left = orphan(tmp_path)
    with left.open("ab") as stream:
        stream.write(b"\0" * 5000 + b"\n" + b"\xff\n" + b"\0" * 100)

    assert recover(tmp_path, by=BY) == []

    assert of(left, "audit_recovered")[0]["torn_bytes"] == 5000 + 1 + 2 + 100
    proved(tmp_path)


async def test_what_cannot_be_cut_off_is_accounted_for(tmp_path: Path) -> None:
    left = orphan(tmp_path)
    with left.open("ab") as stream:
        stream.write(b'{"time":"2026-\n\n{')
    if chattr("+a", left):
        pytest.skip("files cannot be made append-only here")
    try:
        assert recover(tmp_path, by=BY) == []

        [recovered] = of(left, "audit_recovered")
        assert (recovered["torn_bytes"], recovered["torn_cut"]) == (17, False)
        assert b'{"time":"2026-\n\n{\n{"time":' in left.read_bytes()
        proved(tmp_path)
    finally:
        chattr("-a", left)


async def test_a_second_recovery_finds_nothing_to_do(tmp_path: Path) -> None:
    left = orphan(tmp_path)
    recover(tmp_path, by=BY)
    before = left.read_bytes()
    recover(tmp_path, by=BY)

    assert left.read_bytes() == before


async def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    async with journal(tmp_path) as audit:
        await audit.write([decision("a")])
        recover(tmp_path, by=BY)

        assert "audit_recovered" not in events(tmp_path)
        await audit.write([completion("a")])
    proved(tmp_path)


async def test_a_file_that_goes_on_in_another_is_left_as_it_is(tmp_path: Path) -> None:
    audit = Journal.open(tmp_path, options=QUICK)
    await audit.write([decision("a")])
    first = audit.file
    os.close(descriptor(audit))
    await audit.write([decision("b"), completion("b")])
    abandon(audit)
    assert first is not None
    before = first.read_bytes()

    assert recover(tmp_path, by=BY) == []

    assert first.read_bytes() == before
    assert sorted(ids(tmp_path, "exchange_finished")) == ["a", "b"]
    assert [file.state for file in proved(tmp_path).files] == ["continued", "closed"]


async def test_decisions_of_earlier_files_are_closed_too(tmp_path: Path) -> None:
    options = msgspec.structs.replace(SMALL, compress=True)
    audit = Journal.open(tmp_path, options=options)
    await audit.write([decision("old", principal_id="jo"), decision("ended")])
    for number in range(20):
        await audit.write([decision(f"d{number}"), completion(f"d{number}")])
    await audit.write([completion("ended")])
    abandon(audit)
    assert len(files_in(tmp_path)) > 3

    assert recover(tmp_path, by=BY) == []

    [unknown] = [
        x for x in of(tmp_path, "exchange_finished") if x["outcome"] == "unknown"
    ]
    assert (unknown["decision_id"], unknown["principal_id"]) == ("old", "jo")
    assert proved(tmp_path).unfinished == 0


async def test_what_is_no_longer_there_is_told_as_missing(tmp_path: Path) -> None:
    audit = Journal.open(tmp_path, options=SMALL)
    await audit.write([decision("old")])
    for number in range(20):
        await audit.write([decision(f"d{number}"), completion(f"d{number}")])
    abandon(audit)
    files_in(tmp_path)[0].unlink()

    recover(tmp_path, by=BY)

    assert of(tmp_path, "audit_recovered")[0]["decisions_missing"] == 1


async def test_a_process_that_died_while_it_rotated_is_gone_on_for(
    tmp_path: Path,
) -> None:
    """The old file is closed, the new one has no line yet, a decision is open."""
    options = msgspec.structs.replace(QUICK, tick_seconds=60.0)
    audit = Journal.open(tmp_path, options=options)
    await audit.write([decision("a")])
    ledger = audit._ledger
    file = ledger._file
    assert file is not None
    ledger._rotate(file, "size", time.monotonic())
    abandon(audit)
    assert [each.stat().st_size > 0 for each in files_in(tmp_path)] == [True, False]

    recover(tmp_path, by=BY)

    assert events(files_in(tmp_path)[1]) == [
        "audit_opened",
        "exchange_finished",
        "audit_recovered",
        "audit_closed",
    ]
    assert proved(tmp_path).unfinished == 0


async def test_the_first_start_of_all_finds_nothing_to_close(tmp_path: Path) -> None:
    async with journal(tmp_path / "trail") as audit:
        assert audit.unrecovered == []


async def test_what_was_left_while_a_file_was_made_is_tidied_up(tmp_path: Path) -> None:
    left = orphan(tmp_path)
    names = [f".{left.name}.new", f".{left.name}.zst.new", ".else.new"]
    for name in names:
        (tmp_path / name).touch()
    tidy(tmp_path)
    assert sorted(hidden(tmp_path)) == sorted(names), "somebody may be at it"
    for name in names:
        os.utime(tmp_path / name, (0, 0))
    tidy(tmp_path)

    assert hidden(tmp_path) == [".else.new"]


async def test_a_file_that_is_there_twice_is_left_compressed(tmp_path: Path) -> None:
    left = orphan(tmp_path)
    recover(tmp_path, by=BY)
    data = left.read_bytes()
    file = LogFile.claim(left)
    assert file is not None
    assert pack(file, stop=lambda: False)
    file.close()
    left.write_bytes(data)

    tidy(tmp_path)

    assert [each.name for each in files_in(tmp_path)] == [f"{left.name}.zst"]
    proved(tmp_path)


async def test_a_large_orphan_is_read_in_pieces(tmp_path: Path) -> None:
    audit = Journal.open(tmp_path, options=QUICK)
    await audit.write([decision("a")])
    for number in range(0, 20_000, 2):
        name = f"d{number}"
        await audit.write([decision(name), completion(name)])
    abandon(audit)
    import tracemalloc  # noqa: PLC0415 - slow while it is on

    tracemalloc.start()
    recover(tmp_path, by=BY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert files_in(tmp_path)[0].stat().st_size > 10 * (1 << 20)
    assert peak < 4 * (1 << 20)
    assert verify([tmp_path]).unfinished == 0


async def test_what_somebody_packed_in_part_takes_no_files_place(
    tmp_path: Path,
) -> None:
    left = orphan(tmp_path)
    data = left.read_bytes()
    (tmp_path / f"{left.name}.zst").write_bytes(zstd.compress(data[:-300]))
    options = msgspec.structs.replace(QUICK, compress=True)
    async with journal(tmp_path, options=options):
        wait_for(lambda: not left.exists())

    assert ids(tmp_path) == ["a", "b", "c"]
    assert len(of(tmp_path, "audit_recovered")) == 1
    assert proved(tmp_path).unfinished == 0


async def test_what_could_not_be_closed_at_the_start_is_closed_later(
    tmp_path: Path,
) -> None:
    left = orphan(tmp_path)
    with files_up_to(left.stat().st_size):
        audit = Journal.open(tmp_path, options=QUICK)
        [trouble] = audit.unrecovered
    audit._keeper._round_at = 0.0  # it would come in a minute
    wait_for(lambda: not audit.unrecovered)
    await audit.close()

    assert "File too large" in trouble
    assert events(left)[-2:] == ["audit_recovered", "audit_closed"]
    assert proved(tmp_path).unfinished == 0


@pytest.mark.parametrize("at_the_end", [True, False])
async def test_a_line_that_nests_without_end_keeps_no_start_from_closing(
    tmp_path: Path, *, at_the_end: bool
) -> None:
    left = orphan(tmp_path)
    data, deep = left.read_bytes(), b'{"x":' + b"[" * 2000
    left.write_bytes(data + deep if at_the_end else deep + b"\n" + data)
    async with journal(tmp_path) as audit:
        assert audit.unrecovered == []

    assert events(left)[-2:] == ["audit_recovered", "audit_closed"]
    assert verify([tmp_path]).ok == at_the_end
