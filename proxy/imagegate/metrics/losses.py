"""What is counted of workers: in their parent, which is the one that sees them end."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

_HOW: Final = ("died", "hung", "not_started")


class Losses:
    """Counts the workers that ended and were not told to, or never came to serve."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Name the metric."""
        self._lost = Counter(
            "imagegate_workers_lost",
            "Workers that ended unasked, hung and were killed, or did not start",
            ("how",),
            registry=registry,
        )
        for how in _HOW:
            self._lost.labels(how)

    def count(self, how: str) -> None:
        """Count one."""
        self._lost.labels(how).inc()
