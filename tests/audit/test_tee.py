"""Several sinks: the first one decides, the others are counted."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import BinaryIO

import pytest
from journals import ids, journal
from making import completion, decision

from imagegate.audit import AuditUnavailableError, StreamAudit
from imagegate.audit.tee import Tee
from imagegate.audit.verify import read_checkpoints, verify

pytestmark = pytest.mark.anyio


async def test_each_sink_gets_each_record_once(tmp_path: Path) -> None:
    stream = io.BytesIO()
    async with journal(tmp_path) as first:
        tee = Tee(first, StreamAudit(stream))
        await tee.write(iter([decision("a"), completion("a")]))
        assert tee.problem is None
        await tee.close()

    assert ids(tmp_path) == ["a"]
    told = [json.loads(line)["decision_id"] for line in stream.getvalue().splitlines()]
    assert told == ["a", "a"]
    assert tee.problem == "the journal is closed"


async def test_who_is_cancelled_meanwhile_is_in_each_sink(tmp_path: Path) -> None:
    stream = io.BytesIO()
    names = [f"d{number}" for number in range(5)]
    async with journal(tmp_path) as first:
        tee = Tee(first, StreamAudit(stream))
        tasks = [asyncio.ensure_future(tee.write([decision(name)])) for name in names]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert ids(tmp_path) == names
    told = [json.loads(line)["decision_id"] for line in stream.getvalue().splitlines()]
    assert told == names


async def test_another_sink_that_fails_stops_nothing_and_is_counted(
    tmp_path: Path, full_device: BinaryIO
) -> None:
    async with journal(tmp_path) as first:
        other = StreamAudit(full_device)
        tee = Tee(first, other)
        await tee.write([decision("a"), completion("a")])

        assert ids(tmp_path) == ["a"]
        assert (tee.lost, other.lost, tee.queued) == (0, 2, 0)
        assert (tee.problem, other.problem is None) == (None, False)


async def test_nothing_goes_to_the_others_when_the_first_one_fails(
    full_device: BinaryIO,
) -> None:
    stream = io.BytesIO()
    tee = Tee(StreamAudit(full_device), StreamAudit(stream))
    with pytest.raises(AuditUnavailableError):
        await tee.write([decision("a")])

    assert stream.getvalue() == b""
    assert tee.lost == 1


async def test_checkpoints_on_standard_output_vouch_for_the_files(
    tmp_path: Path,
) -> None:
    stream = io.BytesIO()
    output = StreamAudit(stream)
    async with journal(tmp_path, witness=output.post) as audit:
        await audit.write([decision("a"), completion("a")])

    checkpoints = list(read_checkpoints(stream.getvalue().splitlines()))
    report = verify([tmp_path], checkpoints=checkpoints)
    assert report.ok
    assert not [each for each in report.unseen if audit.instance in each]
