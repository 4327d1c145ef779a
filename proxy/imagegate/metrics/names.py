"""Every metric by its name, and from which record it is counted.

Label values are bounded: words of the policy, the catalogue and this program. Where
a client or a provider can have a say, a label takes so many values and then `other`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from imagegate.engine.records import (
    CandidateRecord,
    CompletionRecord,
    DecisionRecord,
    EchoRecord,
    GeneratingRecord,
    ImageRecord,
    Record,
)

MOST_CHILDREN: Final = 500
"""Of one metric; what comes later is counted under `other`."""

_ADDED: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
_WAITED: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_MILLI: Final = 1000
_QUOTAS: Final = "quotas."

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class _Children(Generic[_Metric]):
    """A metric with its children at hand: `labels()` takes a lock each time."""

    def __init__(self, metric: _Metric) -> None:
        self._metric: _Metric = metric
        self._found: dict[tuple[str | None, ...], _Metric] = {}

    def __call__(self, *values: str | None) -> _Metric:
        child = self._found.get(values)
        return child if child is not None else self._make(values)

    def _make(self, values: tuple[str | None, ...]) -> _Metric:
        if len(self._found) >= MOST_CHILDREN:
            values = ("other",) * len(values)
        child = self._metric
        if values:
            child = self._metric.labels(*(value or "" for value in values))
        self._found[values] = child
        return child


class Metrics:
    """All that is counted; made once in a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Name the metrics.

        Args:
            registry: Where they are collected. With several processes they also
                go to files, and the registry of the parent reads those.
        """

        def counter(name: str, text: str, *labels: str) -> _Children[Counter]:
            metric = Counter(f"imagegate_{name}", text, labels, registry=registry)
            return _Children(metric)

        def timer(
            name: str, text: str, buckets: Iterable[float], *labels: str
        ) -> _Children[Histogram]:
            name = f"imagegate_{name}_seconds"
            return _Children(
                Histogram(name, text, labels, registry=registry, buckets=tuple(buckets))
            )

        def gauge(name: str, text: str, mode: Literal["livesum", "livemin"]) -> Gauge:
            return Gauge(
                f"imagegate_{name}", text, registry=registry, multiprocess_mode=mode
            )

        self.decisions = counter(
            "decisions",
            "Requests, by what was decided: forwarded, rewritten, blocked, malformed",
            "provider",
            "door",
            "decision",
        )
        self.findings = counter(
            "findings",
            "What rules changed or refused, or in observe mode would have",
            "verdict",
            "field",
            "rule",
            "mode",
        )
        self.generating = counter(
            "generating_events",
            "response.image_generation_call.generating and the like",
            "provider",
        )
        self.images = counter(
            "images", "Image calls that ended", "provider", "made", "quality"
        )
        self.tokens = counter(
            "image_tokens", "tool_usage.image_gen, as far as it was told", "kind"
        )
        self.mismatches = counter(
            "mismatches", "Finished images that are not what was enforced", "field"
        )
        self.contradictions = counter(
            "echo_contradictions", "Echoed tools that the policy forbids", "action"
        )
        self.quota_unknown = counter(
            "quota_unknown",
            "Requests while the counters could not be asked, by what was done",
            "action",
        )
        self.counting = counter(
            "quota_counters",
            "Calls of the counters that failed, and what became of the changes",
            "event",
        )
        self.exchanges = counter(
            "exchanges", "Exchanges, by how they ended", "transport", "outcome"
        )
        self.deciding = timer(
            "decision", "From the first byte of a request to its decision", _ADDED
        )
        self.first_byte = timer(
            "first_byte", "From a request to the first byte of its answer", _WAITED
        )
        self.whole = timer(
            "exchange", "From a request to the end of its answer", _WAITED, "transport"
        )
        self.guarded = counter(
            "guard_refusals", "Refused before a request was whole, by code", "code"
        )
        self.connections = gauge(
            "connections_open", "Connections of clients", "livesum"
        )
        self.open = gauge("exchanges_open", "Exchanges on their way", "livesum")
        self.candidate = counter(
            "candidate_decisions",
            "What the candidate would have decided, beside what was",
            "decision",
            "candidate",
            "differs",
        )
        self.deciding_beside = timer(
            "candidate", "What asking the candidate took", _ADDED
        )
        self.audit_written = counter("audit_records", "Records taken")()
        self.audit_failed = counter("audit_failures", "Writes that were refused")()
        self.audit_lost = counter("audit_lost", "Records lost, whatever the reason")()
        self.audit_queued = gauge("audit_queued", "Records not yet written", "livesum")
        self.policy_loaded = gauge(
            "policy_loaded_timestamp_seconds", "When the policy was read", "livemin"
        )

    def loaded(self) -> None:
        """Note that a policy was read just now."""
        self.policy_loaded.set(time.time())

    def counters(self, event: str) -> None:
        """Count something that went wrong with the counters of quotas."""
        self.counting(event).inc()

    def guard(self, code: str) -> None:
        """Count what the server refused by itself."""
        self.guarded(code).inc()

    def count(self, record: object) -> None:
        """Count one record."""
        match record:
            case DecisionRecord():
                self._decision(record)
            case GeneratingRecord():
                self.generating(record.provider).inc()
            case ImageRecord():
                self._image(record)
            case EchoRecord():
                self.contradictions(record.action).inc()
            case CompletionRecord():
                self._completion(record)
            case _:
                pass

    def _decision(self, record: DecisionRecord) -> None:
        word = record.event.removeprefix("imagegate.request_")
        self.decisions(record.provider, record.door, word).inc()
        for found in (*record.changes, *record.violations, *record.observed):
            self.findings(found.verdict, found.field, found.rule, found.mode).inc()
        if any(each.used is None for each in record.quotas):
            self.quota_unknown(_done(record)).inc()
        if record.duration_ms is not None:
            self.deciding().observe(record.duration_ms / _MILLI)
        if record.candidate is not None:
            self._beside(record.decision, record.candidate)

    def _beside(self, decision: str, other: CandidateRecord) -> None:
        differs = {True: "yes", False: "no", None: "unknown"}[other.differs]
        word = other.decision or other.undecided
        self.candidate(decision, word, differs).inc()
        if other.duration_ms is not None:
            self.deciding_beside().observe(other.duration_ms / _MILLI)

    def _image(self, record: ImageRecord) -> None:
        made = "yes" if record.made else "no"
        quality = record.quality if isinstance(record.quality, str) else None
        self.images(record.provider, made, quality).inc()
        for mismatch in record.mismatches:
            self.mismatches(mismatch.field).inc()

    def _completion(self, record: CompletionRecord) -> None:
        self.exchanges(record.transport, record.outcome).inc()
        for kind, number in record.usage_image_gen.items():
            self.tokens(kind).inc(number)
        if record.first_byte_ms is not None:
            self.first_byte().observe(record.first_byte_ms / _MILLI)
        if record.duration_ms is not None:
            self.whole(record.transport).observe(record.duration_ms / _MILLI)


def _done(record: DecisionRecord) -> str:
    """Say what was done where the counters could not be asked."""
    if any(found.code == "quota_unknown" for found in record.violations):
        return "refused"
    stripped = any(_QUOTAS in found.rule for found in record.changes)
    return "stripped" if stripped else "allowed"


def begins(record: Record) -> bool:
    """Tell whether a record opens an exchange that will be closed by another."""
    return isinstance(record, DecisionRecord) and record.decision != "block"


def ends(record: Record) -> bool:
    """Tell whether a record closes an exchange that `begins` opened."""
    return isinstance(record, CompletionRecord) and record.outcome != "refused"
