"""Files, modes and upkeep of the journal, with nothing wrong with the disk."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import stat
import time
from pathlib import Path

import msgspec
import pytest
from journals import (
    abandon,
    events,
    hidden,
    ids,
    journal,
    lines,
    of,
    orphan,
    proved,
    wait_for,
)
from making import QUICK, completion, decision, generating

from imagegate.audit import AuditUnavailableError
from imagegate.audit.chain import genesis, hash_of
from imagegate.audit.events import CheckpointRecord
from imagegate.audit.journal import Journal
from imagegate.audit.keeper import states_of
from imagegate.audit.logfile import files_in
from imagegate.audit.options import Mode, Options
from imagegate.audit.recovery import recover
from imagegate.audit.verify import verify

pytestmark = pytest.mark.anyio
MODES: list[Mode] = ["blocking", "blocking-strict", "batch"]
SMALL = msgspec.structs.replace(QUICK, rotate_bytes=3000)


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_written_is_there_in_order_and_proved(
    tmp_path: Path, mode: Mode
) -> None:
    async with journal(tmp_path / "audit", mode) as audit:
        for number in range(50):
            name = f"d{number}"
            await audit.write([decision(name)])
            await audit.write([generating(name), completion(name)])
        assert audit.problem is None

    report = proved(tmp_path / "audit")
    assert ids(tmp_path / "audit") == [f"d{number}" for number in range(50)]
    assert report.lines == 150 + 3
    assert report.unfinished == 0
    assert audit.lost == 0


async def test_a_blocking_write_is_in_the_file_before_it_returns(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path) as audit:
        await audit.write([decision("a")])

        assert ids(tmp_path) == ["a"]


async def test_a_blocking_write_never_lets_go_of_the_loop(tmp_path: Path) -> None:
    async with journal(tmp_path) as audit:
        writing = audit.write([decision("a")])

        with pytest.raises(StopIteration):
            writing.send(None)


async def test_a_completion_is_written_by_a_task_that_is_cancelled(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path, "blocking-strict") as audit:
        await audit.write([decision("a")])

        async def exchange() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await audit.write([completion("a")])

        task = asyncio.ensure_future(exchange())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert ids(tmp_path, "exchange_finished") == ["a"]


async def test_a_line_is_flat_and_begins_with_what_the_sink_stamps(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path) as audit:
        await audit.write([decision("a")])

    first, second, *_ = lines(tmp_path)
    raw = files_in(tmp_path)[0].read_bytes().splitlines()
    assert list(second)[:6] == ["time", "instance", "seq", "prev", "schema", "event"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", second["time"])
    assert (first["seq"], first["prev"]) == (0, genesis(audit.instance))
    assert (second["seq"], second["prev"]) == (1, hash_of(raw[0]))
    assert second["instance"] == audit.instance


async def test_nobody_else_may_read_the_files(tmp_path: Path) -> None:
    async with journal(tmp_path / "audit") as audit:
        assert audit.file is not None
        assert stat.S_IMODE(audit.file.stat().st_mode) == 0o600
        assert stat.S_IMODE(audit.file.parent.stat().st_mode) == 0o700


async def test_each_start_has_a_file_and_a_chain_of_its_own(tmp_path: Path) -> None:
    for _ in range(3):
        async with journal(tmp_path) as audit:
            await audit.write([decision("a"), completion("a")])

    report = proved(tmp_path)
    assert report.instances == len(report.files) == 3
    assert [file.state for file in report.files] == ["closed"] * 3


async def test_an_open_file_is_told_from_a_broken_one(tmp_path: Path) -> None:
    async with journal(tmp_path) as audit:
        await audit.write([decision("a")])

        assert [file.state for file in proved(tmp_path).files] == ["open"]


async def test_closing_ends_open_decisions_as_unknown_and_refuses_the_rest(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path) as audit:
        await audit.write([decision("a"), decision("b"), completion("b")])
        await audit.close()

        with pytest.raises(AuditUnavailableError, match="closed"):
            await audit.write([decision("c")])
        assert audit.problem == "the journal is closed"

    [last] = [x for x in of(tmp_path, "exchange_finished") if x["decision_id"] == "a"]
    assert last["outcome"] == "unknown"
    assert "images" not in last
    assert proved(tmp_path).unfinished == 0


# -- rotation -------------------------------------------------------------------


async def test_a_file_that_is_large_is_followed_by_another_in_the_same_chain(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path, options=SMALL) as audit:
        for number in range(20):
            await audit.write([decision(f"d{number}"), completion(f"d{number}")])

    report = proved(tmp_path)
    assert report.instances == 1
    assert len(report.files) > 5
    assert {file.state for file in report.files} == {"closed"}
    opened = of(tmp_path, "audit_opened")
    assert [each["reason"] for each in opened] == [
        "started",
        *["size"] * (len(opened) - 1),
    ]
    assert opened[1]["previous_file"] == opened[0]["file"]
    assert opened[1]["previous_hash"] == report.files[0].last_hash == opened[1]["prev"]


async def test_a_file_that_is_old_is_followed_by_another_even_when_nothing_comes(
    tmp_path: Path,
) -> None:
    options = msgspec.structs.replace(QUICK, rotate_seconds=0.05)
    async with journal(tmp_path, options=options) as audit:
        await audit.write([decision("a")])
        wait_for(lambda: len(files_in(tmp_path)) == 2)
        await asyncio.sleep(0.2)

        assert len(files_in(tmp_path)) == 2, "an empty file is not rotated"

    assert proved(tmp_path).unfinished == 0


async def test_closed_files_are_compressed_and_stay_proved(tmp_path: Path) -> None:
    options = msgspec.structs.replace(SMALL, compress=True)
    async with journal(tmp_path, options=options) as audit:
        for number in range(20):
            await audit.write([decision(f"d{number}")])
        wait_for(lambda: len(list(tmp_path.glob("*.jsonl"))) == 1)
        packed = files_in(tmp_path)[:-1]
        assert {stat.S_IMODE(each.stat().st_mode) for each in packed} == {0o600}
        assert len(packed) > 3

    assert ids(tmp_path) == [f"d{number}" for number in range(20)]
    proved(tmp_path)
    assert hidden(tmp_path) == []


async def test_the_last_file_is_compressed_by_the_next_start(tmp_path: Path) -> None:
    async with journal(tmp_path):
        pass
    options = msgspec.structs.replace(QUICK, compress=True)
    async with journal(tmp_path, options=options):
        wait_for(lambda: list(tmp_path.glob("*.zst")))

    assert proved(tmp_path).instances == 2


# -- retention ------------------------------------------------------------------


@pytest.mark.parametrize("reason", ["size", "age"])
async def test_retention_deletes_the_oldest_and_records_it(
    tmp_path: Path, reason: str
) -> None:
    options = msgspec.structs.replace(
        SMALL,
        compress=True,
        keep_bytes=5000 if reason == "size" else None,
        keep_seconds=0.0 if reason == "age" else None,
    )
    async with journal(tmp_path, options=options) as audit:
        for number in range(40):
            await audit.write([decision(f"d{number}"), completion(f"d{number}")])
        wait_for(lambda: of(tmp_path, "audit_retired") and len(files_in(tmp_path)) < 6)
        wait_for(lambda: audit._keeper.trouble is None)
        assert audit.file in files_in(tmp_path)

    report = proved(tmp_path)
    retired = [x for line in of(tmp_path, "audit_retired") for x in line["files"]]
    assert {line["reason"] for line in of(tmp_path, "audit_retired")} == {reason}
    assert report.files[0].first_seq > 0
    assert retired[0]["file"].endswith(".jsonl")
    assert "d0" not in ids(tmp_path)


async def test_a_deletion_that_nobody_recorded_is_no_retention(tmp_path: Path) -> None:
    async with journal(tmp_path, options=SMALL) as audit:
        for number in range(20):
            await audit.write([decision(f"d{number}")])
    files_in(tmp_path)[0].unlink()

    assert [each.kind for each in verify([tmp_path]).problems] == ["missing"]
    assert verify([tmp_path], partial=True).ok


async def test_retention_leaves_what_nobody_closed(tmp_path: Path) -> None:
    async with journal(tmp_path) as other:
        options = msgspec.structs.replace(SMALL, keep_bytes=0)
        async with journal(tmp_path, options=options) as audit:
            for number in range(20):
                await audit.write([decision(f"d{number}"), completion(f"d{number}")])
            dead = orphan(tmp_path)
            wait_for(lambda: len(files_in(tmp_path)) == 3)
            for number in range(20):
                await audit.write([decision(f"e{number}"), completion(f"e{number}")])
            wait_for(lambda: len(files_in(tmp_path)) == 3)

            assert set(files_in(tmp_path)) == {other.file, audit.file, dead}


# -- checkpoints ----------------------------------------------------------------


async def test_checkpoints_come_by_number_and_at_the_end(tmp_path: Path) -> None:
    taken: list[CheckpointRecord] = []
    options = msgspec.structs.replace(QUICK, checkpoint_records=10)
    async with journal(tmp_path, options=options, witness=taken.append) as audit:
        for number in range(35):
            await audit.write([decision(f"d{number}"), completion(f"d{number}")])

    assert len(of(tmp_path, "audit_checkpoint")) == 7 + 1
    report = verify([tmp_path], checkpoints=taken)
    assert report.ok
    assert (taken[0].last_seq, taken[-1].last_seq) == (0, report.lines - 1)
    assert not [each for each in report.unseen if audit.instance in each]


async def test_checkpoints_come_by_time_once_there_is_something_to_check(
    tmp_path: Path,
) -> None:
    options = msgspec.structs.replace(QUICK, checkpoint_seconds=0.05)
    async with journal(tmp_path, options=options) as audit:
        await asyncio.sleep(0.15)
        assert of(tmp_path, "audit_checkpoint") == []
        await audit.write([decision("a")])
        wait_for(lambda: of(tmp_path, "audit_checkpoint"))

        [found] = of(tmp_path, "audit_checkpoint")
        assert (found["last_seq"], found["last_hash"]) == (1, found["prev"])


async def test_a_witness_that_fails_stops_nothing_and_is_counted(
    tmp_path: Path,
) -> None:
    def witness(checkpoint: CheckpointRecord) -> None:
        raise OSError(checkpoint.file)

    async with journal(tmp_path, witness=witness) as audit:
        await audit.write([decision("a")])

    assert audit.unwitnessed == 3
    assert proved(tmp_path).lines == 5


# -- the queue ------------------------------------------------------------------


async def test_a_full_queue_loses_records_in_one_number_and_says_so(
    tmp_path: Path,
) -> None:
    options = msgspec.structs.replace(QUICK, queue_records=5, sync_seconds=0.2)
    async with journal(tmp_path, "batch", options) as audit:
        for number in range(20):
            await audit.write([decision(f"d{number}")])
        assert audit.problem is None
        assert audit.lost == 20 - 5
        await asyncio.sleep(0.5)
        await audit.write([decision("after")])

    [gap] = of(tmp_path, "audit_gap")
    assert (gap["lost"], gap["reason"]) == (15, "the queue is full")
    assert ids(tmp_path) == [*(f"d{number}" for number in range(5)), "after"]
    proved(tmp_path)


async def test_the_queue_is_bounded_by_bytes_too(tmp_path: Path) -> None:
    options = msgspec.structs.replace(QUICK, queue_bytes=2000, sync_seconds=0.2)
    async with journal(tmp_path, "batch", options) as audit:
        await audit.write([decision(f"d{number}") for number in range(20)])

        assert 0 < audit.queued < 5
        assert audit.lost == 20 - audit.queued


@pytest.mark.parametrize("mode", MODES)
async def test_a_journal_is_of_no_use_in_another_process(
    tmp_path: Path, mode: Mode
) -> None:
    """Its threads are not there, so that in `batch` nobody would write either."""
    async with journal(tmp_path, mode) as audit:
        audit._ledger._pid += 1
        assert mode != "batch" or "another process" in str(audit.problem)
        with pytest.raises(AuditUnavailableError, match="another process"):
            await audit.write([decision("a")])
        audit._ledger._pid -= 1

    assert (events(tmp_path)[1] == "audit_gap") == (mode != "batch")


async def test_a_sync_is_shared_by_those_who_wait(tmp_path: Path) -> None:
    async with journal(tmp_path, "blocking-strict") as audit:
        rounds = waiting = 0
        sync, done = audit._flusher._work, audit._flusher.done

        def counted() -> None:
            nonlocal rounds
            rounds += 1
            # While it lasts all others come, however busy the machine is.
            wait_for(lambda: waiting == 64)
            sync()

        async def noted() -> None:
            nonlocal waiting
            waiting += 1
            await done()

        audit._flusher._work, audit._flusher.done = counted, noted  # type: ignore[method-assign] # to look on
        writes = [audit.write([decision(f"d{number}")]) for number in range(64)]
        await asyncio.gather(*writes)

        assert rounds <= 2  # the one that the first began, and one for the rest


def test_opening_reports_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    audit = Journal.open(tmp_path / "not" / "there", options=Options())
    try:
        assert audit.problem is not None
        assert "No such file" in audit.problem
    finally:
        audit.close_now()


async def test_what_cannot_be_compressed_is_told_and_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = orphan(tmp_path)
    in_the_way = tmp_path / f"{left.name}.zst"
    in_the_way.mkdir()
    options = msgspec.structs.replace(QUICK, compress=True)
    async with journal(tmp_path, options=options) as audit:
        wait_for(lambda: "Is a directory" in (audit._keeper.trouble or ""))
        said = capsys.readouterr().err
        assert "imagegate.audit_not_kept" in said
        assert "Is a directory" in said
        assert audit.problem is None

    in_the_way.rmdir()
    assert "audit_recovered" in events(left)
    assert hidden(tmp_path) == []
    proved(tmp_path)


async def test_a_fault_of_our_own_in_the_thread_fails_closed(tmp_path: Path) -> None:
    def fault() -> None:
        raise ZeroDivisionError

    async with journal(tmp_path, "blocking-strict") as audit:
        sync, audit._flusher._work = audit._flusher._work, fault
        with pytest.raises(AuditUnavailableError, match="ZeroDivisionError"):
            await audit.write([decision("a")])
        audit._flusher._work = sync
        await audit.write([completion("a")])


async def test_files_follow_each_other_by_name_though_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(time.time_ns(), -3600 * 10**9)
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    audit = Journal.open(tmp_path, options=SMALL)
    for number in range(20):
        await audit.write([decision(f"d{number}")])
    abandon(audit)

    assert recover(tmp_path, by="f" * 16) == []
    report = proved(tmp_path)
    assert len(report.files) > 3
    assert report.files[-1].state == "closed"
    assert report.unfinished == 0
    assert ids(tmp_path) == [f"d{number}" for number in range(20)]


async def test_a_directory_that_was_made_lasts_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink())
    )
    async with journal(tmp_path / "audit", "blocking-strict") as audit:
        await audit.write([decision("a")])

    assert synced == [tmp_path, tmp_path / "audit"]


async def test_a_journal_is_closed_though_there_are_no_more_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Journal.open(tmp_path, options=QUICK)
    await audit.write([decision("a")])
    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    await audit.close()

    assert events(tmp_path)[-1] == "audit_closed"
    assert proved(tmp_path).unfinished == 0


async def no_thread(work: object) -> None:
    raise RuntimeError(f"can't start new thread for {work}")


async def test_a_checkpoint_follows_what_retention_took_though_nobody_asks(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path, options=QUICK) as audit:
        await audit.write([decision("a"), completion("a")])
    options = msgspec.structs.replace(QUICK, keep_seconds=0.0, checkpoint_seconds=0.05)
    taken: list[CheckpointRecord] = []
    async with journal(tmp_path, options=options, witness=taken.append):
        wait_for(lambda: len(taken) > 1)

        [told] = of(tmp_path, "audit_retired")
        assert taken[-1].last_seq >= told["seq"]


async def test_a_file_that_cannot_be_read_is_retired_without_its_end(
    tmp_path: Path,
) -> None:
    left = tmp_path / f"20260101T000000.000000Z-{'f' * 16}.jsonl.zst"
    left.write_bytes(b"damaged")
    options = msgspec.structs.replace(QUICK, keep_seconds=0.0)
    async with journal(tmp_path, options=options):
        wait_for(lambda: not left.exists())

    [told] = of(tmp_path, "audit_retired")
    name = left.name.removesuffix(".zst")
    gone = {"file": name, "bytes": 7, "last_seq": -1, "last_hash": ""}
    assert told["files"] == [gone]
    proved(tmp_path)


def test_what_another_process_has_packed_or_retired_is_no_trouble(
    tmp_path: Path,
) -> None:
    there = tmp_path / "there"
    there.touch()

    assert [path for path, _ in states_of([tmp_path / "gone", there])] == [there]
