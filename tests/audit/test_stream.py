"""Standard output and other streams: at once, or by a thread where they may block."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from journals import files_up_to, wait_for
from making import completion, decision, generating

from imagegate.audit import AuditUnavailableError, StreamAudit
from imagegate.audit.events import CheckpointRecord

pytestmark = pytest.mark.anyio
LONG = "x" * 20_000
MARK = CheckpointRecord(chain="0" * 16, file="a.jsonl", last_seq=1, last_hash="0" * 64)


def records(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines() if line]


def names(data: bytes) -> list[str]:
    return [each.get("decision_id", each["event"]) for each in records(data)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, BinaryIO]]:
    """A pipe of 64 KB: the end to read, and a stream to write to."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as stream:
        yield reading, cast("BinaryIO", stream)
    with contextlib.suppress(OSError):
        os.close(reading)


def read_all(fd: int) -> bytes:
    """Read what is in a pipe now."""
    os.set_blocking(fd, False)
    data = b""
    with contextlib.suppress(BlockingIOError):
        while piece := os.read(fd, 1 << 20):
            data += piece
    return data


async def test_memory_is_written_at_once_by_structlog() -> None:
    stream = io.BytesIO()
    audit = StreamAudit(stream)
    await audit.write([decision("a"), completion("a")])
    audit.post(MARK)
    await audit.close()

    first, *_ = records(stream.getvalue())
    assert names(stream.getvalue()) == ["a", "a", "imagegate.audit_checkpoint"]
    assert first["event"] == "imagegate.request_forwarded"
    assert first["time"].endswith("Z")
    assert "prev" not in first


async def test_a_file_is_written_at_once(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stream:
        audit = StreamAudit(stream)
        await audit.write([decision("a")])

        assert names((tmp_path / "out").read_bytes()) == ["a"]
        assert (audit.queued, audit.lost, audit.problem) == (0, 0, None)


async def write_until_refused(audit: StreamAudit) -> int:
    """Write long records until one is refused, and say how many were taken."""
    taken = 0
    while True:
        try:
            await audit.write([decision(f"d{taken}", policy=LONG)])
        except AuditUnavailableError:
            return taken
        taken += 1


async def test_a_full_device_refuses_records_and_says_why(
    full_device: BinaryIO,
) -> None:
    audit = StreamAudit(full_device)
    with pytest.raises(AuditUnavailableError, match="No space left"):
        await audit.write([decision("a")])

    assert "No space left" in (audit.problem or "")
    assert audit.lost == 1


async def test_a_file_that_has_room_again_tells_what_was_lost(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as stream:
        audit = StreamAudit(stream)
        await audit.write([decision("a")])
        size = os.fstat(stream.fileno()).st_size
        with files_up_to(size + 100):
            with pytest.raises(AuditUnavailableError):
                await audit.write([decision("b")])
            assert "File too large" in (audit.problem or "")
        wait_for(lambda: audit.problem is None)
        await audit.write([decision("c")])

    data = (tmp_path / "out").read_bytes()
    first, torn, gap, last = data.splitlines()
    assert torn == torn[:100]
    assert names(b"\n".join([first, gap, last])) == ["a", "imagegate.audit_gap", "c"]
    assert json.loads(gap)["lost"] == audit.lost == 1


async def test_a_pipe_is_written_before_the_write_returns(
    pipe: tuple[int, BinaryIO],
) -> None:
    reading, stream = pipe
    audit = StreamAudit(stream)
    await audit.write([decision("a")])
    await audit.write([completion("a")])

    assert names(read_all(reading)) == ["a", "a"]
    await audit.close()


async def test_a_stuck_pipe_refuses_records_while_the_loop_goes_on(
    pipe: tuple[int, BinaryIO],
) -> None:
    reading, stream = pipe
    audit = StreamAudit(stream, patience=0.1)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    turning = asyncio.ensure_future(turn())
    taken = await write_until_refused(audit)
    turning.cancel()

    assert taken >= 2
    assert turns > 20
    wait_for(lambda: "has taken nothing" in (audit.problem or ""))
    start = time.monotonic()
    with pytest.raises(AuditUnavailableError, match="does not take"):
        await audit.write([decision("refused at once")])
    assert time.monotonic() - start < 0.05

    data = b""

    def recovered() -> bool:
        nonlocal data
        data += read_all(reading)
        return audit.problem is None and not audit.queued

    wait_for(recovered)
    await audit.write([decision("after")])
    data += read_all(reading)
    found = records(data)
    gaps = [each for each in found if each["event"] == "imagegate.audit_gap"]
    # The one that was half written when patience ended came through after all.
    assert names(data)[: taken + 1] == [f"d{n}" for n in range(taken + 1)]
    assert sum(each["lost"] for each in gaps) == audit.lost == 1
    assert names(data)[-1] == "after"
    await audit.close()


async def test_a_completion_stays_in_the_queue_of_a_stuck_pipe(
    pipe: tuple[int, BinaryIO],
) -> None:
    reading, stream = pipe
    audit = StreamAudit(stream, patience=0.05)
    await write_until_refused(audit)
    with pytest.raises(AuditUnavailableError):
        await audit.write([generating("a")])
    with pytest.raises(AuditUnavailableError):
        await audit.write([completion("a")])
    assert audit.queued == 2
    data = b""

    def empty() -> bool:
        nonlocal data
        data += read_all(reading)
        return not audit.queued

    wait_for(empty)
    data += read_all(reading)
    assert records(data)[-1]["event"] == "imagegate.exchange_finished"
    assert audit.lost == 1
    await audit.close()


async def test_a_batch_waits_for_no_reader_and_counts_what_it_loses(
    pipe: tuple[int, BinaryIO],
) -> None:
    _, stream = pipe
    audit = StreamAudit(stream, mode="batch", patience=0.05)
    start = time.monotonic()
    for number in range(1200):
        await audit.write([decision(f"d{number}", policy=LONG)])

    assert time.monotonic() - start < 5
    assert audit.lost > 0
    await audit.close()
    assert audit.lost >= 1200 - 4


async def test_a_pipe_without_a_reader_refuses_records(
    pipe: tuple[int, BinaryIO],
) -> None:
    reading, stream = pipe
    audit = StreamAudit(stream)
    os.close(reading)
    with pytest.raises(AuditUnavailableError, match="Broken pipe"):
        await audit.write([decision("a")])

    assert "Broken pipe" in (audit.problem or "")
    await audit.close()


async def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(
    pipe: tuple[int, BinaryIO],
) -> None:
    reading, stream = pipe
    os.set_blocking(stream.fileno(), False)
    fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, 4096)
    audit = StreamAudit(stream)
    writing = asyncio.ensure_future(audit.write([decision("a", policy=LONG)]))
    data = b""
    while not writing.done():
        await asyncio.sleep(0.001)
        data += read_all(reading)
    await writing

    assert names(data + read_all(reading)) == ["a"]
    await audit.close()


async def test_a_record_is_written_though_nobody_waits_for_it_any_more(
    pipe: tuple[int, BinaryIO],
) -> None:
    reading, stream = pipe
    audit = StreamAudit(stream)
    writing = asyncio.ensure_future(audit.write([completion("a")]))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await audit.close()

    assert names(read_all(reading)) == ["a"]


async def test_a_lone_surrogate_is_not_the_end_of_a_record() -> None:
    stream = io.BytesIO()
    await StreamAudit(stream).write([decision("a", policy="\ud800?")])

    assert records(stream.getvalue())[0]["policy"] == "??"


async def test_what_is_not_taken_before_the_end_is_lost_and_counted(
    pipe: tuple[int, BinaryIO],
) -> None:
    _, stream = pipe
    audit = StreamAudit(stream, patience=0.05)
    for number in range(10):
        with contextlib.suppress(AuditUnavailableError):
            await audit.write([completion(f"c{number}", policy=LONG)])
    await audit.close()

    assert audit.lost > 0
    with pytest.raises(AuditUnavailableError):
        await audit.write([decision("after the end")])


async def test_a_process_that_was_forked_off_writes_with_a_thread_of_its_own(
    pipe: tuple[int, BinaryIO],
) -> None:
    reading, stream = pipe
    audit = StreamAudit(stream)
    await audit.write([decision("parent")])
    assert audit._pipe is not None
    audit._pipe._pid -= 1  # as it looks from a child, whose thread is gone
    await audit.write([decision("child")])

    assert names(read_all(reading)) == ["parent", "child"]
    await audit.close()


async def test_a_thread_that_cannot_be_had_refuses_records_until_it_can(
    pipe: tuple[int, BinaryIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, stream = pipe
    audit = StreamAudit(stream)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(AuditUnavailableError):
            await audit.write([decision("a")])
    await audit.write([decision("b")])
    await audit.close()

    assert names(read_all(reading)) == ["imagegate.audit_gap", "b"]


def no_thread(thread: threading.Thread) -> None:
    raise RuntimeError(f"can't start new thread: {thread.name}")


async def test_a_standard_output_that_was_closed_takes_no_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    audit = StreamAudit()
    with pytest.raises(AuditUnavailableError, match="Bad file descriptor"):
        await audit.write([decision("a")])

    assert audit.problem is not None
    assert audit.lost == 1
    audit._stream.close()
