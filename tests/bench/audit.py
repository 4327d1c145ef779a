"""What a record costs, in encodings of it, and a million lines to prove.

Run it: `python tests/bench/audit.py [--json FILE]`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgspec

from imagegate.audit.chain import encode, entries_of, first_head, link
from imagegate.audit.events import ClosedRecord, OpenedRecord
from imagegate.audit.journal import Journal
from imagegate.audit.options import Mode, Options
from imagegate.audit.verify import verify
from imagegate.engine.records import CompletionRecord, DecisionRecord
from ratio import Measured, alone, compare, main, show

LINES = 200_000
WRITERS = 64
LASTING = Options(rotate_bytes=1 << 40, compress=False)


def record(name: str = "0" * 32) -> DecisionRecord:
    tool = {
        "pointer": "/tools/0",
        "carrier": "tools",
        "requested": {"model": "gpt-image-2", "quality": "high", "size": "2000x1120"},
        "effective": {"model": "gpt-image-2", "quality": "high", "size": "2000x1120"},
        "enforced": {"model": "gpt-image-2", "quality": "low", "size": "1536x848"},
    }
    return msgspec.convert(
        {
            "event": "imagegate.request_rewritten",
            "decision": "rewrite",
            "decision_id": name,
            "policy": "standard",
            "policy_digest": "0" * 64,
            "policy_mode": "enforce",
            "principal_id": "svc-catalogue",
            "principal_source": "api_key",
            "principal_verified": True,
            "transport": "http",
            "tools": [tool],
            "tools_count": 1,
        },
        DecisionRecord,
    )


def completion(decision: DecisionRecord) -> CompletionRecord:
    common = {
        name: getattr(decision, name)
        for name in ("policy", "policy_digest", "policy_mode", "principal_id")
    }
    return CompletionRecord(
        decision_id=decision.decision_id,
        principal_source=decision.principal_source,
        principal_verified=True,
        transport="http",
        outcome="completed",
        echo="verified",
        **common,
    )


def written(directory: Path, mode: Mode) -> tuple[Journal, Callable[[], object]]:
    """Open a journal, and return how to write one record to it from no loop."""
    audit = Journal.open(directory, mode=mode, options=LASTING)
    one = completion(record())

    def write() -> None:
        try:
            audit.write([one]).send(None)
        except StopIteration:
            return

    return audit, write


def costs(directory: Path) -> list[Measured]:
    """Measure each step of a write against the encoding of the record."""
    one = completion(record())
    head, entries = first_head("0" * 16), entries_of([one])
    line = entries[0].body
    fd = os.open(directory / "plain", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    audit, blocking = written(directory / "blocking", "blocking")
    queue, batch = written(directory / "batch", "batch")
    rows = [
        ("hash", lambda: sha256(line).hexdigest()),
        ("stamp, chain and hash", lambda: link(head, "0" * 16, entries)),
        ("plain os.write", lambda: os.write(fd, line)),
        ("blocking: a write", blocking),
        ("batch: the caller's side", batch),
    ]
    found = [compare(name, work, lambda: encode(one)) for name, work in rows]
    audit.close_now()
    queue.close_now()
    os.close(fd)
    return found


async def exchanges(audit: Journal, count: int) -> None:
    """Write `count` records by as many tasks as write at once."""
    one = completion(record())

    async def task() -> None:
        for _ in range(count // WRITERS):
            await audit.write([one])

    await asyncio.gather(*(task() for _ in range(WRITERS)))


def strict(directory: Path) -> list[Measured]:
    """Measure group commit against a sync for each record."""
    fd = os.open(directory / "synced", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    line = encode(completion(record()))
    audit = Journal.open(directory / "s", mode="blocking-strict", options=LASTING)
    loop = asyncio.new_event_loop()

    def synced() -> None:
        for _ in range(WRITERS):
            os.write(fd, line)
            os.fdatasync(fd)

    row = compare(
        f"strict, {WRITERS} at once",
        lambda: loop.run_until_complete(exchanges(audit, WRITERS)),
        synced,
    )
    audit.close_now()
    loop.close()
    os.close(fd)
    note = f"{row.ours * 1e6 / WRITERS:.0f} µs a record"
    return [replace(row, note=note)]


def proof(directory: Path) -> list[Measured]:
    """Measure the proof of many lines, and of how many it is in a million."""
    instance = "0" * 16
    path = directory / f"20261121T000000.000000Z-{instance}.jsonl"
    opened = OpenedRecord(reason="started", file=path.name, genesis="")
    head = first_head(instance)
    with path.open("wb") as stream:
        lines, heads = link(head, instance, entries_of([opened]))
        stream.writelines(lines)
        for number in range(0, LINES, 2):
            decision = record(f"{number:032x}")
            pair = entries_of([decision, completion(decision)])
            lines, heads = link(heads[-1], instance, pair)
            stream.writelines(lines)
        closed = ClosedRecord(reason="shutdown", lines=LINES + 2)
        stream.writelines(link(heads[-1], instance, entries_of([closed]))[0])
    start = time.perf_counter()
    report = verify([path])
    seconds = time.perf_counter() - start
    assert report.ok, report.problems
    million = seconds * 1e6 / report.lines
    size = path.stat().st_size / report.lines
    note = f"{million:.1f} s a million, of {size:.0f} B each"
    return [alone(f"{report.lines} lines", seconds, note=note)]


def measure() -> Mapping[str, list[Measured]]:
    """Measure all of it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        found = {"a record": costs(directory)}
        show("a record", found["a record"], theirs="encode")
        found["strict"] = strict(directory)
        show("strict", found["strict"], theirs="each alone")
        found["verify"] = proof(directory)
        show("verify", found["verify"])
    return found


if __name__ == "__main__":
    main(measure)
