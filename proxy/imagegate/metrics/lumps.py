"""Counting in plain numbers, and paying them into the metrics in lumps.

`inc` and `observe` of prometheus_client take a lock and several calls each, and an
exchange has twenty of them. Here it costs an addition; what is owed is paid when
somebody looks (`collect`), or, where the metrics are files that another process
reads, by whoever counts, now and then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.values import MutexValue, ValueClass

SHARED: Final = ValueClass is not MutexValue
"""Whether another process reads the metrics, from files that this one writes."""
MOST_CHILDREN: Final = 500
"""Of one metric; what comes later is counted under `other`."""


class _Settled:
    """A metric that has what is owed paid before it tells anything."""

    settle: Callable[[], None] = staticmethod(lambda: None)

    def collect(self) -> Iterable[Metric]:
        """Tell what was counted, to the last addition."""
        self.settle()
        told: Iterable[Metric] = super().collect()  # type: ignore[misc] # mixed in
        return told


class CountMetric(_Settled, Counter):
    """A counter."""


class LevelMetric(_Settled, Gauge):
    """A gauge."""


class TimeMetric(_Settled, Histogram):
    """A histogram that takes many observations at once."""

    @property
    def bounds(self) -> Sequence[float]:
        """The upper bounds of the buckets, each of which has its bound in it."""
        return self._upper_bounds

    def add(self, found: Iterable[int], total: float) -> None:
        """Take the number of observations in each bucket, and their sum."""
        self._sum.inc(total)
        for bucket, number in zip(self._buckets, found, strict=True):
            if number:
                bucket.inc(number)


class Count:
    """What is owed to a counter or a gauge.

    Attributes:
        owed: What was added since it was paid; to be added to.
    """

    __slots__ = ("_child", "owed")

    def __init__(self, child: Counter | Gauge) -> None:
        self._child = child
        self.owed = 0

    def inc(self, amount: int = 1) -> None:
        """Add some, in words."""
        self.owed += amount

    def pay(self) -> None:
        """Add to the metric what is owed."""
        owed, self.owed = self.owed, 0
        if owed:
            self._child.inc(owed)


class Times:
    """What is owed to a histogram."""

    __slots__ = ("_bounds", "_child", "_found", "_total")

    def __init__(self, child: TimeMetric) -> None:
        self._child = child
        self._bounds = child.bounds
        self._found = [0] * len(child.bounds)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """Take an observation."""
        self._found[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    def pay(self) -> None:
        """Add to the metric what is owed."""
        if not any(self._found):
            return
        found, self._found = self._found, [0] * len(self._bounds)
        total, self._total = self._total, 0.0
        self._child.add(found, total)


class Pays(Protocol):
    """Something that is owed."""

    def pay(self) -> None:
        """Add to the metric what is owed."""


_Metric = TypeVar("_Metric", CountMetric, TimeMetric)
_Owed = TypeVar("_Owed", bound=Pays)


class Children(dict[tuple[str | int | None, ...], _Owed], Generic[_Metric, _Owed]):
    """What is owed to a metric, by the values of its labels; made when asked for."""

    def __init__(self, metric: _Metric, owed: Callable[[_Metric], _Owed]) -> None:
        super().__init__()
        self._metric: _Metric = metric
        self._make: Callable[[_Metric], _Owed] = owed

    def __call__(self, *values: str | None) -> _Owed:
        """Return it in words; the labels in brackets cost less."""
        return self[values]

    def __missing__(self, values: tuple[str | int | None, ...]) -> _Owed:
        if len(self) >= MOST_CHILDREN:
            values = ("other",) * len(values)
        found = self.get(values)
        if found is None:
            child = self._metric
            if values:
                child = self._metric.labels(*(value or "" for value in values))
            found = self[values] = self._make(child)
        return found
