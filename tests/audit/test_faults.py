"""Disks that are full, files that are gone: what each mode does, and how it returns.

Everything that was acknowledged is in the files, everything else is counted in them,
and nothing has to be started anew.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from journals import (
    chattr,
    descriptor,
    events,
    files_up_to,
    fill,
    ids,
    journal,
    mount,
    of,
    proved,
    small_disk,
    wait_for,
)
from making import QUICK, completion, decision, generating

from imagegate.audit import AuditUnavailableError, logfile
from imagegate.audit.chain import entries_of
from imagegate.audit.journal import Journal
from imagegate.audit.ledger import Ledger
from imagegate.audit.logfile import files_in
from imagegate.audit.options import Mode
from imagegate.audit.verify import verify

pytestmark = pytest.mark.anyio
BLOCKING: list[Mode] = ["blocking", "blocking-strict"]


async def write_until_refused(audit: Journal, most: int = 5000) -> list[str]:
    """Write decisions until one is refused, and return those that were taken."""
    taken: list[str] = []
    for number in range(most):
        try:
            await audit.write([decision(f"d{number}")])
        except AuditUnavailableError:
            return taken
        taken.append(f"d{number}")
    raise AssertionError("nothing was refused")


# -- a full disk ----------------------------------------------------------------


@pytest.mark.parametrize("mode", BLOCKING)
async def test_a_full_disk_refuses_records_and_takes_them_again_by_itself(
    tmp_path: Path, mode: Mode
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with journal(disk / "audit", mode) as audit:
            fill(disk / "rubbish")
            taken = await write_until_refused(audit)
            assert audit.problem is not None
            assert "No space left" in audit.problem
            with pytest.raises(AuditUnavailableError, match="No space left"):
                await audit.write([decision("refused")])

            (disk / "rubbish").unlink()
            wait_for(lambda: audit.problem is None)
            await audit.write([decision("after")])

        [gap] = of(disk / "audit", "audit_gap")
        assert (gap["lost"], gap["reason"]) == (2, "No space left on device")
        assert ids(disk / "audit") == [*taken, "after"]
        assert audit.lost == 2
        proved(disk / "audit")


async def test_a_write_is_enough_to_notice_that_there_is_room_again(
    tmp_path: Path,
) -> None:
    options = msgspec.structs.replace(QUICK, tick_seconds=60.0)
    with small_disk(tmp_path / "disk") as disk:
        audit = Journal.open(disk / "audit", options=options)
        fill(disk / "rubbish")
        taken = await write_until_refused(audit)
        (disk / "rubbish").unlink()
        await audit.write([decision("after")])

        assert ids(disk / "audit") == [*taken, "after"]
        audit._keeper._options = QUICK
        audit._keeper._stop.set()


async def test_a_completion_that_cannot_be_written_is_held_and_not_lost(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with journal(disk / "audit") as audit:
            await audit.write([decision("a"), decision("b")])
            fill(disk / "rubbish")
            await write_until_refused(audit)
            with pytest.raises(AuditUnavailableError):
                await audit.write([generating("a")])
            with pytest.raises(AuditUnavailableError):
                await audit.write([completion("a", outcome="cut")])
            with pytest.raises(AuditUnavailableError):
                await audit.write([decision("c"), completion("c")])
            assert audit.queued == 1
            (disk / "rubbish").unlink()
            wait_for(lambda: not audit.queued)

            found = of(disk / "audit", "exchange_finished")
            [gap] = of(disk / "audit", "audit_gap")

        assert [(x["decision_id"], x["outcome"]) for x in found] == [("a", "cut")]
        assert (gap["lost"], gap["late"]) == (1 + 1 + 2, 1)
        assert proved(disk / "audit").unfinished == 0


async def test_a_full_disk_does_not_stop_a_batch_and_the_queue_waits(
    tmp_path: Path,
) -> None:
    options = msgspec.structs.replace(QUICK, queue_records=40)
    with small_disk(tmp_path / "disk") as disk:
        async with journal(disk / "audit", "batch", options) as audit:
            fill(disk / "rubbish")
            number = 0
            while audit.lost < 10:
                await audit.write([decision(f"d{number}")])
                number += 1
                await asyncio.sleep(0.001)
            assert audit.problem is None
            assert audit.failing is not None
            assert audit.queued == 40
            (disk / "rubbish").unlink()
            wait_for(lambda: not audit.queued)
            wait_for(lambda: audit.failing is None)
            lost = audit.lost

        assert sum(x["lost"] for x in of(disk / "audit", "audit_gap")) == lost
        assert len(ids(disk / "audit")) == number - lost
        proved(disk / "audit")


async def test_a_disk_that_is_full_at_the_start_is_waited_for(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / "audit").mkdir()
        fill(disk / "rubbish")
        async with journal(disk / "audit") as audit:
            assert audit.problem is not None
            (disk / "rubbish").unlink()
            wait_for(lambda: audit.problem is None)
            await audit.write([decision("a")])

        assert ids(disk / "audit") == ["a"]
        proved(disk / "audit")


async def test_a_file_that_may_not_grow_is_followed_by_another(tmp_path: Path) -> None:
    with files_up_to(8000):
        async with journal(tmp_path) as audit:
            for number in range(100):
                await audit.write([decision(f"d{number}")])

    assert ids(tmp_path) == [f"d{number}" for number in range(100)]
    assert max(each.stat().st_size for each in files_in(tmp_path)) <= 8000
    assert {x["reason"] for x in of(tmp_path, "audit_opened")} == {"started", "failed"}
    proved(tmp_path)


@pytest.fixture
def append_only(tmp_path: Path) -> Iterator[Path]:
    """A directory whose files can be made append-only, and are released."""
    directory = tmp_path / "append-only"
    directory.mkdir()
    probe = directory / "probe"
    probe.touch()
    if chattr("+a", probe):
        pytest.skip("files cannot be made append-only here")
    chattr("-a", probe)
    probe.unlink()
    yield directory
    for each in directory.iterdir():
        chattr("-a", each)


async def test_what_cannot_be_cut_off_is_ended_and_accounted_for(
    append_only: Path,
) -> None:
    """A failed append may leave a part of a line, where nothing can be taken out."""
    async with journal(append_only) as audit:
        assert audit.file is not None
        await audit.write([decision("a", policy="x" * 2000)])
        assert chattr("+a", audit.file) == 0
        size = audit.file.stat().st_size
        with files_up_to(size + 1000):
            await audit.write([decision("b"), decision("c"), decision("d")])

    assert ids(append_only) == ["a", "b", "c", "d"]
    [first, second] = files_in(append_only)
    assert not first.read_bytes().endswith(b"\n")
    assert of(second, "audit_opened")[0]["torn_bytes"] > 0
    assert verify([append_only]).ok


# -- files and descriptors that go away ---------------------------------------------


@pytest.mark.parametrize("mode", BLOCKING)
async def test_a_closed_descriptor_is_replaced(tmp_path: Path, mode: Mode) -> None:
    async with journal(tmp_path, mode) as audit:
        await audit.write([decision("a")])
        os.close(descriptor(audit))
        await audit.write([decision("b")])

    assert ids(tmp_path) == ["a", "b"]
    assert [file.state for file in proved(tmp_path).files] == ["continued", "closed"]


async def test_nothing_is_written_to_whoever_got_the_number_next(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path / "audit") as audit:
        file, number = audit._ledger._file, descriptor(audit)
        assert file is not None
        os.close(number)
        other = os.open(tmp_path / "other", os.O_CREAT | os.O_WRONLY)
        assert other == number, "the lowest free number is used again"
        await audit.write([decision("a")])

        assert (tmp_path / "other").read_bytes() == b""
        wait_for(lambda: file.fd < 0)
        os.close(number)  # nobody has closed it under them
    assert ids(tmp_path / "audit") == ["a"]


@pytest.mark.parametrize("mode", BLOCKING)
async def test_a_directory_that_vanished_is_made_again(
    tmp_path: Path, mode: Mode
) -> None:
    async with journal(tmp_path / "audit", mode) as audit:
        await audit.write([decision("a")])
        shutil.rmtree(tmp_path / "audit")
        await audit.write([decision("b")])

        assert of(tmp_path / "audit", "audit_opened")[0]["reason"] == "deleted"

    assert ids(tmp_path / "audit") == ["b"]
    report = verify([tmp_path / "audit"])
    assert [problem.kind for problem in report.problems] == ["missing"]


async def test_a_directory_that_cannot_be_made_is_waited_for(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    async with journal(parent / "audit") as audit:
        shutil.rmtree(parent)
        with pytest.raises(AuditUnavailableError):
            await audit.write([decision("a")])
        assert audit.problem is not None
        parent.mkdir()
        wait_for(lambda: audit.problem is None)

    assert of(parent / "audit", "audit_gap")[0]["lost"] == 1


async def test_a_file_that_was_moved_is_closed_and_another_begun(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path) as audit:
        await audit.write([decision("a")])
        assert audit.file is not None
        moved = audit.file.rename(tmp_path / "moved.log")
        wait_for(lambda: len(files_in(tmp_path)) == 1)
        await audit.write([decision("b")])

    assert events(moved)[-1] == "audit_closed"
    [following] = files_in(tmp_path)
    assert ids(following) == ["b"]
    assert verify([following, moved]).ok


async def test_a_file_that_was_cut_under_its_writer_is_left(tmp_path: Path) -> None:
    async with journal(tmp_path) as audit:
        await audit.write([decision("a"), decision("b")])
        assert audit.file is not None
        os.truncate(audit.file, audit.file.stat().st_size - 10)
        await audit.write([decision("c")])

    report = verify([tmp_path])
    assert [(x.kind, x.file, x.line) for x in report.problems] == [
        ("torn", files_in(tmp_path)[0], 3)
    ]
    assert ids(files_in(tmp_path)[1]) == ["c"]


@pytest.mark.parametrize("mode", BLOCKING)
async def test_a_read_only_disk_refuses_records_until_it_is_writable(
    tmp_path: Path, mode: Mode
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        audit = Journal.open(disk / "audit", mode=mode, options=QUICK)
        await audit.write([decision("a")])
        os.close(descriptor(audit))  # the kernel refuses while somebody writes
        mount("-o", "remount,ro", str(disk))
        with pytest.raises(AuditUnavailableError, match="Read-only"):
            await audit.write([decision("b")])
        assert audit.problem is not None
        mount("-o", "remount,rw", str(disk))
        wait_for(lambda: audit.problem is None)
        await audit.write([decision("c")])
        await audit.close()

        assert ids(disk / "audit") == ["a", "c"]
        assert of(disk / "audit", "audit_gap")[0]["lost"] == 1
        proved(disk / "audit")


@pytest.mark.parametrize("mode", ["blocking", "blocking-strict", "batch"])
async def test_a_sync_that_fails_is_told_and_its_file_is_left(
    tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of a lost page once; the file is not trusted after that."""
    async with journal(tmp_path, mode) as audit:
        await audit.write([decision("a")])
        wait_for(lambda: not audit._ledger._dirty)
        first = audit.file
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            if mode == "blocking-strict":
                with pytest.raises(AuditUnavailableError, match="Input/output"):
                    await audit.write([decision("b")])
            else:
                await audit.write([decision("b")])
            wait_for(lambda: audit.file != first)
        await audit.write([decision("c"), completion("c")])

    assert ids(tmp_path) == ["a", "b", "c"]
    assert of(tmp_path, "audit_opened")[1]["reason"] == "failed"
    assert proved(tmp_path).unfinished == 0


def broken(fd: int) -> None:
    raise OSError(5, "Input/output error", str(fd))


async def test_a_disk_that_takes_nothing_is_not_filled_with_empty_files(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path) as audit:
        with files_up_to(0):
            for number in range(10):
                with pytest.raises(AuditUnavailableError, match="File too large"):
                    await audit.write([decision(f"d{number}")])
        await audit.write([decision("after")])
        assert len(files_in(tmp_path)) == 2, "the first one, and one behind it"

    assert ids(tmp_path) == ["after"]
    assert sum(gap["lost"] for gap in of(tmp_path, "audit_gap")) == 10
    proved(tmp_path)


def test_a_sync_that_fails_leaves_no_other_file_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path, msgspec.structs.replace(QUICK, rotate_bytes=1))
    for name in ("a", "b", "c"):
        ledger.append(entries_of([decision(name)]))
    files = len(ledger._dirty)
    asked: list[int] = []

    def failing(fd: int) -> None:
        asked.append(fd)
        broken(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing)
        with pytest.raises(AuditUnavailableError, match="Input/output"):
            ledger.sync()
    ledger.close()

    assert len(asked) == files > 1


async def test_a_disk_that_syncs_nothing_is_not_filled_with_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second failure in a row waits for a second before it tries another file."""
    async with journal(tmp_path, "blocking-strict") as audit:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", broken)
            for number in range(20):
                with pytest.raises(AuditUnavailableError, match="Input/output"):
                    await audit.write([decision(f"d{number}")])
        assert len(files_in(tmp_path)) < 10
        wait_for(lambda: audit.problem is None)
        await audit.write([decision("after"), completion("after")])

    assert ids(tmp_path)[-1] == "after"
    assert proved(tmp_path).unfinished == 0


async def test_a_file_is_not_left_for_want_of_a_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one would need one too."""
    async with journal(tmp_path, "blocking-strict") as audit:
        with monkeypatch.context() as patch:
            patch.setattr(logfile, "sync_directory", crowded)
            with pytest.raises(AuditUnavailableError, match="Too many open files"):
                await audit.write([decision("a")])
        await audit.write([decision("b")])
        assert len(files_in(tmp_path)) == 1

    assert ids(tmp_path) == ["a", "b"]
    proved(tmp_path)


def crowded(directory: Path) -> None:
    raise OSError(errno.EMFILE, "Too many open files", str(directory))


def test_files_are_synced_in_the_order_in_which_they_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the power fails between two syncs, it is an end that is missing."""
    synced: list[str] = []
    monkeypatch.setattr(
        os,
        "fdatasync",
        lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())),
    )
    ledger = Ledger(tmp_path, msgspec.structs.replace(QUICK, rotate_bytes=1))
    for number in range(10):
        ledger.append(entries_of([decision(f"d{number}")]))
    ledger.sync()
    ledger.close()

    assert len(synced) > 10
    assert synced == sorted(synced)
