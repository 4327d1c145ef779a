"""Every metric by its name, and from which record it is counted.

Label values are bounded: words of the policy, the catalogue and this program. Where
a client or a provider can have a say, a label takes so many values and then `other`.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry

from imagegate.engine.records import (
    CandidateRecord,
    CompletionRecord,
    DecisionRecord,
    EchoRecord,
    GeneratingRecord,
    ImageRecord,
)
from imagegate.metrics.lumps import (
    SHARED,
    Children,
    Count,
    CountMetric,
    LevelMetric,
    Pays,
    TimeMetric,
    Times,
)

_ADDED: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
_WAITED: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_MILLI: Final = 1000
_REQUEST: Final = "imagegate.request_"
_QUOTAS: Final = "quotas."
_FULL: Final = "too_many_connections"


class Metrics:
    """All that is counted; made once in a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Name the metrics.

        Args:
            registry: Where they are collected. With several processes they also
                go to files, and the registry of the parent reads those.
        """
        self._lock = threading.Lock()
        self._owing: list[Mapping[Any, Pays]] = []
        self._asked: list[Callable[[], None]] = []

        def total(name: str, text: str, *labels: str) -> CountMetric:
            metric = CountMetric(f"imagegate_{name}", text, labels, registry=registry)
            metric.settle = self.pay
            return metric

        def counter(
            name: str, text: str, *labels: str, known: Sequence[str] = ()
        ) -> Children[CountMetric, Count]:
            children = Children(total(name, text, *labels), Count)
            self._owing.append(children)
            for value in known:  # from zero on, or the first is no increase to anybody
                children(value)
            return children

        def timer(
            name: str, text: str, buckets: Sequence[float], *labels: str
        ) -> Children[TimeMetric, Times]:
            name = f"imagegate_{name}_seconds"
            metric = TimeMetric(name, text, labels, registry=registry, buckets=buckets)
            metric.settle = self.pay
            children = Children(metric, Times)
            self._owing.append(children)
            return children

        def gauge(
            name: str, text: str, mode: Literal["livesum", "livemin"]
        ) -> LevelMetric:
            metric = LevelMetric(
                f"imagegate_{name}", text, registry=registry, multiprocess_mode=mode
            )
            metric.settle = self.pay
            return metric

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
            "images",
            "Image calls that ended, as often as their answer is read",
            "provider",
            "made",
            "quality",
        )
        self.tokens = counter(
            "image_tokens",
            "Tokens of images where told, as often as the answer is read",
            "kind",
        )
        self.mismatches = counter(
            "mismatches",
            "Finished images that are not what was enforced",
            "field",
            known=("size", "quality", "background", "output_format", "dimensions"),
        )
        self.contradictions = counter(
            "echo_contradictions",
            "Echoed tools that the policy forbids",
            "action",
            known=("cut", "cancel", "recorded"),
        )
        self.quota_unknown = counter(
            "quota_unknown",
            "Requests while the counters could not be asked, by what was done",
            "action",
            known=("refused", "stripped", "allowed"),
        )
        self.counting = counter(
            "quota_counters",
            "Calls of the counters that failed, and what became of the changes",
            "event",
            known=("unasked", "owed", "paid", "lost"),
        )
        self.exchanges = counter(
            "exchanges",
            "Exchanges, by how they ended, and with which HTTP status",
            "transport",
            "outcome",
            "status",
        )
        self.unobserved = counter(
            "unobserved",
            "Answers that may have images, and could not be read, by what hides them",
            "why",
            known=("content_encoding", "content_type"),
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
            "guard_refusals",
            "Refused before a request was whole, by code",
            "code",
            known=(_FULL, f"{_FULL}_of_address"),
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
        self.audit_written = total("audit_records", "Records taken")
        self.audit_failed = total("audit_failures", "Writes that were refused")
        self.audit_lost = total("audit_lost", "Records lost, whatever the reason")
        self.audit_queued = gauge("audit_queued", "Records not yet written", "livesum")
        self.policy_loaded = gauge(
            "policy_loaded_timestamp_seconds", "When the policy was read", "livemin"
        )

        self._written = Count(self.audit_written)
        self._opened = Count(self.open)
        self._how: Final[Mapping[type, Callable[[Any], int | None]]] = {
            DecisionRecord: self._decision,
            GeneratingRecord: self._generating,
            ImageRecord: self._image,
            EchoRecord: self._echo,
            CompletionRecord: self._completion,
        }
        if SHARED:
            atexit.register(self.pay)

    def loaded(self) -> None:
        """Note that a policy was read just now."""
        self.policy_loaded.set(time.time())

    def counters(self, event: str) -> None:
        """Count something that went wrong with the counters of quotas."""
        self._at_once(self.counting, event)

    def guard(self, code: str) -> None:
        """Count what the server refused by itself."""
        self._at_once(self.guarded, code)

    def asks(self, look: Callable[[], None]) -> None:
        """Have somebody set what he knows himself, before anything is told.

        Args:
            look: Called from any thread; it counts no records.
        """
        self._asked.append(look)

    def count(self, record: object) -> None:
        """Count one record."""
        with self._lock:
            self._count(record)

    def taken(self, batch: Sequence[object]) -> None:
        """Count records that were written down."""
        with self._lock:
            self._written.owed += len(batch)
            for record in batch:
                self._opened.owed += self._count(record)
            if len(batch) > 1:
                self._opened.owed += _never_open(batch)

    def refused(self, batch: Sequence[object]) -> None:
        """Count records that were not; what ends is no longer open all the same."""
        with self._lock:
            for record in batch:
                if isinstance(record, CompletionRecord):
                    self._opened.owed += _closes(record)
            self._opened.owed += _never_open(batch)

    def pay(self) -> None:
        """Pay what is owed to the metrics, so that they tell all."""
        with self._lock:
            for look in self._asked:
                look()
            for each in (self._written, self._opened):
                each.pay()
            for metric in self._owing:
                for child in metric.values():
                    child.pay()

    def _at_once(self, what: Children[CountMetric, Count], value: str) -> None:
        """Count what is no record, and perhaps followed by none."""
        with self._lock:
            child = what(value)
            child.inc()
            child.pay()

    def _count(self, record: object) -> int:
        """Count a record, and say how many more exchanges are open by it."""
        how = self._how.get(type(record))
        return 0 if how is None else how(record) or 0

    def _decision(self, record: DecisionRecord) -> int:
        word = record.event.removeprefix(_REQUEST)
        self.decisions[record.provider, record.door, word].owed += 1
        for found in record.changes + record.violations + record.observed:
            self.findings[found.verdict, found.field, found.rule, found.mode].owed += 1
        if record.quotas and any(each.used is None for each in record.quotas):
            self.quota_unknown(_done(record)).inc()
        if record.duration_ms is not None:
            self.deciding[()].observe(record.duration_ms / _MILLI)
        if record.candidate is not None:
            self._beside(record.decision, record.candidate)
        return int(record.decision != "block")

    def _beside(self, decision: str, other: CandidateRecord) -> None:
        differs = {True: "yes", False: "no", None: "unknown"}[other.differs]
        word = other.decision or other.undecided
        self.candidate(decision, word, differs).inc()
        if other.duration_ms is not None:
            self.deciding_beside().observe(other.duration_ms / _MILLI)

    def _generating(self, record: GeneratingRecord) -> None:
        self.generating(record.provider).inc()

    def _echo(self, record: EchoRecord) -> None:
        self.contradictions(record.action).inc()

    def _image(self, record: ImageRecord) -> None:
        if record.type == "items":
            # A history is read again and again, by whoever's rules: it is no event.
            return
        made = "yes" if record.made else "no"
        quality = record.quality if isinstance(record.quality, str) else None
        self.images(record.provider, made, quality).inc()
        for mismatch in record.mismatches:
            self.mismatches(mismatch.field).inc()

    def _completion(self, record: CompletionRecord) -> int:
        self.exchanges[record.transport, record.outcome, record.status].owed += 1
        if record.unobserved is not None and record.outcome != "failed":
            self.unobserved(record.unobserved).inc()
        for kind, number in record.usage_image_gen.items():
            self.tokens(kind).inc(number)
        if record.first_byte_ms is not None:
            self.first_byte[()].observe(record.first_byte_ms / _MILLI)
        if record.duration_ms is not None:
            self.whole[record.transport,].observe(record.duration_ms / _MILLI)
        return _closes(record)


def _done(record: DecisionRecord) -> str:
    """Say what was done where the counters could not be asked."""
    if any(found.code == "quota_unknown" for found in record.violations):
        return "refused"
    stripped = any(_QUOTAS in found.rule for found in record.changes)
    return "stripped" if stripped else "allowed"


def _closes(record: CompletionRecord) -> int:
    """Say how many more exchanges are open: one less, if its decision opened it."""
    return 0 if record.outcome == "refused" else -1


def _never_open(batch: Sequence[object]) -> int:
    """Count the ends, among those that close something, of what was never open.

    What is refused ends together with its decision, be it because the client has left.
    """
    refused = {
        record.decision_id
        for record in batch
        if isinstance(record, DecisionRecord) and record.decision == "block"
    }
    return -sum(
        _closes(record)
        for record in batch
        if isinstance(record, CompletionRecord) and record.decision_id in refused
    )
