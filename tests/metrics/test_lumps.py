"""Counting in lumps: nothing is lost on the way, and nothing is told late."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import completion, decision
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from imagegate.engine.records import CompletionRecord, Record
from imagegate.metrics import Counted, Metrics
from imagegate.metrics.lumps import TimeMetric, Times
from imagegate.metrics.port import DIRECTORY, shared

BUCKETS = (0.001, 0.01, 0.1, 1.0)


def samples(registry: CollectorRegistry) -> list[tuple[str, dict[str, str], float]]:
    return [
        (each.name, each.labels, each.value)
        for family in registry.collect()
        for each in family.samples
        if not each.name.endswith("_created")
    ]


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"imagegate_{name}", labels)


@given(
    st.lists(
        st.lists(st.floats(-1, 10) | st.sampled_from(BUCKETS), max_size=10), max_size=5
    )
)
def test_observations_in_lumps_are_those_one_by_one(lumps: list[list[float]]) -> None:
    plain, ours = CollectorRegistry(), CollectorRegistry()
    one_by_one = Histogram("h", "h", registry=plain, buckets=BUCKETS)
    metric = TimeMetric("h", "h", registry=ours, buckets=BUCKETS)
    owed = Times(metric)

    for lump in lumps:
        for seconds in lump:
            one_by_one.observe(seconds)
            owed.observe(seconds)
        owed.pay()

    [*counts, (name, _, total)] = samples(ours)
    [*expected, (_, _, expected_total)] = samples(plain)
    assert counts == expected
    assert name == "h_sum"
    assert total == pytest.approx(expected_total)


def test_what_is_scraped_while_others_count_is_lost_nowhere() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    batch = [decision("a", duration_ms=1.0), completion("a", duration_ms=2.0)]
    counting = 3

    def count() -> None:
        for _ in range(2000):
            metrics.taken(batch)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=count) for _ in range(counting)]
    for thread in threads:
        thread.start()
    seen = 0.0
    while any(thread.is_alive() for thread in threads):
        now = value(registry, "audit_records_total") or 0.0
        assert now >= seen
        seen = now
    sys.setswitchinterval(before)

    assert value(registry, "audit_records_total") == counting * 4000
    assert value(registry, "decision_seconds_count") == counting * 2000
    assert value(registry, "decision_seconds_sum") == pytest.approx(counting * 2.0)
    assert value(registry, "exchanges_open") == 0
    ended = {"transport": "http", "outcome": "completed", "status": ""}
    assert value(registry, "exchanges_total", **ended) == counting * 2000


@pytest.mark.parametrize(
    "name", ["exchanges_open", "decision_seconds_count", "audit_records_total"]
)
def test_a_scrape_of_some_metrics_is_up_to_date_as_well(name: str) -> None:
    registry = CollectorRegistry()
    Metrics(registry).taken([decision("a", duration_ms=1.0)])

    some = generate_latest(registry.restricted_registry([f"imagegate_{name}"]))

    assert f"imagegate_{name} 1.0" in some.decode()


def test_what_a_server_refuses_is_counted_without_any_record() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)

    metrics.guard("headers_too_large")
    metrics.counters("failed")

    for child in (metrics.guarded("headers_too_large"), metrics.counting("failed")):
        assert child.owed == 0
    assert value(registry, "guard_refusals_total", code="headers_too_large") == 1
    assert value(registry, "quota_counters_total", event="failed") == 1


class Taking:
    """An audit that takes records, or does not come back."""

    problem: str | None = None
    lost = 0
    queued = 0

    def __init__(self) -> None:
        self.taken: list[Record] = []
        self.stands = False

    async def write(self, records: Iterable[Record]) -> None:
        self.taken += records
        if self.stands:
            await asyncio.sleep(60)

    async def close(self) -> None: ...


@pytest.mark.parametrize("at", ["its decision", "its end"])
def test_an_exchange_that_is_cancelled_is_counted_like_its_records(at: str) -> None:
    """The audit takes them all the same."""
    registry = CollectorRegistry()
    audit = Taking()
    counted = Counted(audit, Metrics(registry))

    async def write(record: Record) -> None:
        audit.stands = isinstance(record, CompletionRecord) is (at == "its end")
        writing = asyncio.ensure_future(counted.write([record]))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    async def both() -> None:
        await write(decision("a"))
        assert value(registry, "exchanges_open") == 1
        await write(completion("a"))

    asyncio.run(both())

    assert value(registry, "exchanges_open") == 0
    assert value(registry, "audit_records_total") == len(audit.taken) == 2
    assert value(registry, "audit_failures_total") == 0


# -- several processes ---------------------------------------------------------------

WORKER = """
import asyncio, sys
from making import completion, decision
from prometheus_client import CollectorRegistry
from imagegate.metrics import Counted, Metrics

class Taking:
    problem, lost, queued = None, 0, 0
    async def write(self, records): ...
    async def close(self): ...

async def main(stays):
    counted = Counted(Taking(), Metrics(CollectorRegistry()))
    for number in range(10):
        await counted.write([decision("a", duration_ms=1.0)])
        await counted.write([completion("a", duration_ms=1.0)])
    if stays:
        print("counted", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main(sys.argv[1] == "stays"))
"""


def worker(tmp_path: Path, how: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, DIRECTORY: str(tmp_path), "PYTHONPATH": paths}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, how],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_a_worker_counts_is_told_within_a_second_or_so(tmp_path: Path) -> None:
    running = worker(tmp_path, "stays")
    assert running.stdout is not None
    assert running.stdout.readline() == "counted\n"
    registry = shared(tmp_path)

    deadline = time.monotonic() + 10
    while value(registry, "audit_records_total") != 20:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    assert value(registry, "decision_seconds_count") == 10
    assert value(registry, "exchanges_open") == 0
    running.communicate("")


def test_a_worker_that_ends_has_told_everything(tmp_path: Path) -> None:
    worker(tmp_path, "ends").communicate("")

    registry = shared(tmp_path)
    assert value(registry, "audit_records_total") == 20
    assert value(registry, "decision_seconds_count") == 10
