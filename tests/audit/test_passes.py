"""Many who write at once share an append, and each is told what became of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from journals import files_up_to, fill, ids, journal, of, proved, small_disk, wait_for
from making import QUICK, completion, decision

from imagegate.audit import AuditUnavailableError
from imagegate.audit.chain import Entry
from imagegate.audit.events import Written
from imagegate.audit.journal import Journal
from imagegate.audit.logfile import files_in
from imagegate.audit.passes import Passes
from imagegate.engine.records import Record

pytestmark = pytest.mark.anyio


def name_of(record: Written) -> str:
    assert isinstance(record, Record)
    return record.decision_id


class Appending:
    """Takes so many entries and then refuses, call by call; takes all behind them."""

    def __init__(self, room: Sequence[int] = ()) -> None:
        self.room = list(room)
        self.calls = 0
        self.there: list[str] = []

    def __call__(self, entries: list[Entry], *, keep: bool = False) -> None:
        self.calls += 1
        room = self.room.pop(0) if self.room else len(entries)
        self.there += [name_of(each.record) for each in entries[:room]]
        del entries[:room]
        if entries:
            raise AuditUnavailableError(f"refused, to be kept: {keep}")


async def written(passes: Passes, batches: Sequence[Sequence[Record]]) -> list[bool]:
    """Write batches in one pass, and say of each whether that went well."""

    async def write(batch: Sequence[Record]) -> bool:
        try:
            if (waiting := passes.write(batch)) is not None:
                await waiting
        except AuditUnavailableError:
            return False
        return True

    return list(await asyncio.gather(*map(write, batches)))


@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=12),
    room=st.lists(st.integers(0, 20), max_size=8),
)
def test_each_is_told_of_its_own_whatever_fails(
    sizes: list[int], room: list[int]
) -> None:
    appending = Appending(room)
    batches = [
        [decision(f"{writer}.{number}") for number in range(size)]
        for writer, size in enumerate(sizes)
    ]

    told = asyncio.run(written(Passes(appending), batches))

    there = [set(map(name_of, batch)) <= set(appending.there) for batch in batches]
    assert told == there
    everything = [name_of(record) for batch in batches for record in batch]
    assert appending.there == [each for each in everything if each in appending.there]


async def test_many_writers_share_an_append() -> None:
    appending = Appending()
    passes = Passes(appending)

    for turn in range(3):
        batches = [[decision(f"{turn}.{number}")] for number in range(64)]
        assert all(await written(passes, batches))

    assert appending.calls == 2 + 1 + 1  # of the first pass, the first wrote at once
    assert len(appending.there) == 3 * 64


async def test_who_writes_alone_never_waits() -> None:
    appending = Appending()
    passes = Passes(appending)

    for number in range(5):
        assert passes.write([decision(f"a{number}")]) is None
        assert passes.write([completion(f"a{number}")]) is None
        await asyncio.sleep(0)

    assert appending.calls == 10


async def test_nobody_comes_before_those_who_wait() -> None:
    appending = Appending()
    passes, loop = Passes(appending), asyncio.get_running_loop()

    async def between() -> None:
        waiting = passes.write([decision("b")])
        assert waiting is not None
        await waiting

    loop.call_soon(passes.write, [decision("a")])
    task = asyncio.ensure_future(between())
    loop.call_soon(passes.write, [decision("c")])
    await task

    assert appending.there == ["a", "b", "c"]
    assert appending.calls == 2


async def test_after_a_crowd_one_alone_waits_once_and_not_again() -> None:
    passes = Passes(Appending())
    await written(passes, [[decision("a")], [decision("b")]])

    waiting = passes.write([decision("c")])
    assert waiting is not None
    await waiting
    await asyncio.sleep(0)

    assert passes.write([decision("d")]) is None


async def test_what_cannot_be_encoded_fails_alone(tmp_path: Path) -> None:
    bad = completion("bad", usage_image_gen={"made": object()})
    async with journal(tmp_path) as audit:
        batches: list[list[Record]] = [
            [decision("a")],
            [decision("b")],
            [bad],
            [decision("c")],
        ]
        told = await asyncio.gather(
            *(audit.write(batch) for batch in batches), return_exceptions=True
        )

    assert [type(each) for each in told if each is not None] == [TypeError]
    assert told[2] is not None
    assert ids(tmp_path) == ["a", "b", "c"]
    proved(tmp_path)


async def test_a_writer_that_comes_back_has_its_record_in_the_file(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path) as audit:

        async def exchange(name: str) -> None:
            await audit.write([decision(name)])
            assert name in ids(tmp_path)
            await audit.write([completion(name)])
            assert name in ids(tmp_path, "exchange_finished")

        await asyncio.gather(*(exchange(f"d{number}") for number in range(20)))

    assert ids(tmp_path) == [f"d{number}" for number in range(20)]
    assert proved(tmp_path).unfinished == 0


async def test_a_writer_that_is_cancelled_has_its_record_there_too(
    tmp_path: Path,
) -> None:
    async with journal(tmp_path) as audit:
        await audit.write([decision("a")])

        async def end() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await audit.write([completion("a")])

        task = asyncio.ensure_future(end())
        await asyncio.sleep(0)
        task.cancel()
        crowd = [audit.write([decision(f"d{number}")]) for number in range(5)]
        others = [asyncio.ensure_future(each) for each in crowd]
        wait = asyncio.ensure_future(asyncio.sleep(0))
        wait.add_done_callback(lambda _: task.cancel())
        await asyncio.gather(task, *others, return_exceptions=True)

        assert ids(tmp_path, "exchange_finished") == ["a"]
        assert sorted(ids(tmp_path)) == ["a", "d0", "d1", "d2", "d3", "d4"]
    proved(tmp_path)


async def test_all_that_wait_may_be_cancelled(tmp_path: Path) -> None:
    async with journal(tmp_path) as audit:
        writes = [audit.write([decision(f"d{number}")]) for number in range(10)]
        tasks = [asyncio.ensure_future(each) for each in writes]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, asyncio.CancelledError) for each in told) == 9
        assert ids(tmp_path) == [f"d{number}" for number in range(10)]
        wait_for(lambda: not audit._ledger._dirty)  # it is made to last as well

    proved(tmp_path)


def test_two_loops_write_to_one_journal(tmp_path: Path) -> None:
    audit = Journal.open(tmp_path, options=QUICK)
    ready = threading.Barrier(2)

    def work(loop: str) -> None:
        async def exchange(name: str) -> None:
            await audit.write([decision(name)])
            await asyncio.sleep(0)
            await audit.write([completion(name)])

        async def all_of_them() -> None:
            ready.wait()
            for turn in range(20):
                names = [f"{loop}{turn:02}{number:02}" for number in range(8)]
                await asyncio.gather(*map(exchange, names))

        asyncio.run(all_of_them())

    threads = [threading.Thread(target=work, args=(loop,)) for loop in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    audit.close_now()

    found = ids(tmp_path)
    for loop in "xy":
        own = [name for name in found if name.startswith(loop)]
        assert own == sorted(own)
        assert len(own) == 160
    report = proved(tmp_path)
    assert report.unfinished == 0
    assert audit.lost == 0


async def test_what_waits_is_written_before_the_journal_is_closed(
    tmp_path: Path,
) -> None:
    audit = Journal.open(tmp_path, options=QUICK)
    names = [f"d{number}" for number in range(5)]
    tasks = [asyncio.ensure_future(audit.write([decision(name)])) for name in names]
    closing = asyncio.ensure_future(audit.close())

    assert await asyncio.gather(*tasks) == [None] * 5
    await closing

    assert ids(tmp_path) == names
    with pytest.raises(AuditUnavailableError, match="closed"):
        await audit.write([decision("late")])


def test_a_loop_that_stands_still_keeps_no_record_back(tmp_path: Path) -> None:
    """Whoever closes a journal need not be on the loop of those who wait."""
    audit = Journal.open(tmp_path, options=QUICK)
    loop = asyncio.new_event_loop()
    names = [f"d{number}" for number in range(5)]
    tasks = [loop.create_task(audit.write([decision(name)])) for name in names]
    loop.call_soon(loop.stop)
    loop.run_forever()

    audit.close_now()

    assert ids(tmp_path) == names
    assert loop.run_until_complete(asyncio.gather(*tasks)) == [None] * 5
    loop.close()


# -- sinks that fail -----------------------------------------------------------------


async def test_what_does_not_fit_together_is_written_one_by_one(
    tmp_path: Path,
) -> None:
    with files_up_to(8000):
        async with journal(tmp_path) as audit:
            writes = [audit.write([decision(f"d{number}")]) for number in range(100)]
            await asyncio.gather(*writes)
            assert audit.lost == 0

    assert sorted(ids(tmp_path)) == sorted(f"d{number}" for number in range(100))
    assert max(each.stat().st_size for each in files_in(tmp_path)) <= 8000
    proved(tmp_path)


async def test_of_a_crowd_those_fail_who_find_no_room(tmp_path: Path) -> None:
    options = msgspec.structs.replace(QUICK, tick_seconds=60.0)
    with small_disk(tmp_path / "disk") as disk:
        async with journal(disk / "audit", options=options) as audit:
            names = [f"d{number:03}" for number in range(200)]
            writes = [audit.write([decision(name)]) for name in names]
            told = await asyncio.gather(*writes, return_exceptions=True)

            good = [
                name
                for name, each in zip(names, told, strict=True)
                if not isinstance(each, AuditUnavailableError)
            ]
            assert 0 < len(good) < 200
            assert ids(disk / "audit") == good
            assert audit.lost == 200 - len(good)


async def test_a_crowd_at_a_full_disk_is_refused_and_counted(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        async with journal(disk / "audit") as audit:
            await audit.write([decision("a"), decision("b")])
            fill(disk / "rubbish")
            late = [audit.write([completion(name)]) for name in "ab"]
            more = [audit.write([decision(f"d{number}")]) for number in range(40)]
            told = await asyncio.gather(*late, *more, return_exceptions=True)
            refused = [isinstance(each, AuditUnavailableError) for each in told]
            (disk / "rubbish").unlink()
            wait_for(lambda: audit.problem is None)
            assert sum(refused[2:]) == audit.lost

        gaps = of(disk / "audit", "audit_gap")
        assert sum(gap["lost"] for gap in gaps) == audit.lost > 0
        assert ids(disk / "audit", "exchange_finished")[:2] == ["a", "b"]
        proved(disk / "audit")
