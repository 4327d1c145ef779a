"""What is counted of files that change while the gateway runs: once for all workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_LABELS: Final = ("policy", "digest", "mode")


class Reloads(Collector):
    """Counts in the process that watches, which is the one that serves the metrics."""

    def __init__(self, registry: CollectorRegistry, watched: Iterable[str]) -> None:
        """Name the metrics.

        Args:
            registry: Where they are collected.
            watched: What may change, by the names that are told: `policy`, …
        """
        what = ("what",)
        self._reloads = Counter(
            "imagegate_reloads", "Changes put in force", what, registry=registry
        )
        self._failures = Counter(
            "imagegate_reload_failures",
            "Changed files that cannot be used",
            what,
            registry=registry,
        )
        self._stale = Gauge(
            "imagegate_stale",
            "Whether what holds is older than the file, which cannot be used",
            what,
            registry=registry,
        )
        self._holds: dict[str, tuple[str, ...]] = {}
        registry.register(self)
        self._watched = tuple(watched)
        for name in self._watched:
            self._reloads.labels(name)
            self._failures.labels(name)
        self.stale(())

    def holds(self, role: str, told: Mapping[str, str]) -> None:
        """Note which policy holds."""
        self._holds[role] = (role, *(told[name] for name in _LABELS))

    def collect(self) -> Iterator[Metric]:
        """Tell which policies hold: a digest that does not is no series any more."""
        info = _info()
        for labels in self._holds.copy().values():
            info.add_metric(labels, 1)
        yield info

    def describe(self) -> Iterator[Metric]:
        """Say what it tells, before there is anything to tell."""
        yield _info()

    def loaded(self, name: str) -> None:
        """Count a change that was put in force."""
        self._reloads.labels(name).inc()

    def failed(self, name: str) -> None:
        """Count a text that cannot be used."""
        self._failures.labels(name).inc()

    def stale(self, names: Iterable[str]) -> None:
        """Note what is older than its file."""
        found = set(names)
        for name in self._watched:
            self._stale.labels(name).set(name in found)


def _info() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "imagegate_policy_info",
        "The policies that hold: the one that acts, and the candidate",
        labels=("role", *_LABELS),
    )
