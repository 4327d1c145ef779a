"""Junk by nobody known is counted beyond a burst; nothing else ever is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest
from making import completion, decision, generating, refusal

from imagegate.audit import AuditUnavailableError
from imagegate.audit.events import RefusalsCounted, Written
from imagegate.audit.sieve import Sieve
from imagegate.engine.records import Record

pytestmark = pytest.mark.anyio


class Kept:
    """A sink in memory, which can be made to fail."""

    def __init__(self) -> None:
        self.records: list[Written] = []
        self.problem: str | None = None
        self.lost = self.queued = 0
        self.closed = False

    async def write(self, records: Iterable[Written]) -> None:
        if self.problem:
            raise AuditUnavailableError(self.problem)
        self.records += records

    async def close(self) -> None:
        self.closed = True

    @property
    def counted(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for record in self.records:
            if isinstance(record, RefusalsCounted):
                total.update(record.refused)
        return total


async def refuse(sieve: Sieve, name: str, code: str = "invalid_json") -> None:
    await sieve.write([refusal(name, code), completion(name, outcome="refused")])


async def test_junk_is_written_singly_up_to_the_burst_and_counted_beyond() -> None:
    kept = Kept()
    sieve = Sieve(kept, burst=3, seconds=0.05)
    for number in range(10):
        await refuse(sieve, f"a{number}")
        await refuse(sieve, f"b{number}", "unknown_route")
    assert len(kept.records) == 2 * 3 * 2
    await asyncio.sleep(0.15)

    [record] = [x for x in kept.records if isinstance(x, RefusalsCounted)]
    assert record.refused == {"invalid_json": 7, "unknown_route": 7}
    assert record.since < record.until


async def test_the_next_window_has_a_burst_of_its_own() -> None:
    kept = Kept()
    sieve = Sieve(kept, burst=1, seconds=0.02)
    await refuse(sieve, "a")
    await asyncio.sleep(0.05)
    await refuse(sieve, "b")

    assert len(kept.records) == 4
    await sieve.close()


async def test_everything_else_goes_through_whatever_there_is_of_it() -> None:
    kept = Kept()
    sieve = Sieve(kept, burst=0)
    told: list[Record] = [
        decision("a"),
        generating("a"),
        completion("a"),
        refusal("b", event="imagegate.request_blocked"),
        refusal("c", principal_id="jo", principal_source="api_key"),
        completion("c"),
        refusal("d", violations=()),
    ]
    for record in told:
        await sieve.write([record])
    await sieve.close()

    assert kept.records == told


async def test_a_completion_of_its_own_follows_its_decision() -> None:
    kept = Kept()
    sieve = Sieve(kept, burst=0)
    await sieve.write([refusal("a")])
    await sieve.write([completion("a")])
    await sieve.write([completion("a")])

    assert [type(x).__name__ for x in kept.records] == ["CompletionRecord"]
    await sieve.close()


async def test_what_was_counted_is_written_when_it_is_closed() -> None:
    kept = Kept()
    sieve = Sieve(kept, burst=0)
    await refuse(sieve, "a")
    await sieve.close()

    assert kept.counted == {"invalid_json": 1}
    assert kept.closed


async def test_what_cannot_be_written_is_told_in_the_next_window() -> None:
    kept = Kept()
    sieve = Sieve(kept, burst=0, seconds=0.02)
    kept.problem = "full"
    await refuse(sieve, "a")
    await asyncio.sleep(0.06)
    assert sieve.problem == "full"
    kept.problem = None
    await refuse(sieve, "b")
    await asyncio.sleep(0.06)

    assert kept.counted == {"invalid_json": 2}
    assert (sieve.lost, sieve.queued) == (0, 0)
    await sieve.close()


async def test_a_record_that_goes_through_and_fails_fails() -> None:
    kept = Kept()
    kept.problem = "full"

    with pytest.raises(AuditUnavailableError, match="full"):
        await Sieve(kept).write([decision("a")])
