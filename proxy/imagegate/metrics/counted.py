"""An audit around another that counts what was taken, and what was not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from imagegate.engine.records import Record
from imagegate.metrics.names import Metrics, begins, ends


class Sink(Protocol):
    """What is asked of the audit inside."""

    async def write(self, records: Iterable[Record]) -> None:
        """Take records, or raise."""

    async def close(self) -> None:
        """Let go."""

    @property
    def problem(self) -> str | None:
        """Why records cannot be taken now."""

    @property
    def lost(self) -> int:
        """How many records were lost so far, whatever the reason."""

    @property
    def queued(self) -> int:
        """How many records wait to be written."""


class Counted:
    """Counts records once they are taken, and refused writes."""

    def __init__(self, inner: Sink, metrics: Metrics) -> None:
        self.inner = inner
        self._metrics = metrics
        self._lost = 0
        self._queued: int | None = None

    async def write(self, records: Iterable[Record]) -> None:
        """Pass records on and count them.

        An exchange that ends is no longer open, whether that could be written or not.
        """
        batch = tuple(records)
        ended = sum(map(ends, batch))
        if ended:
            self._metrics.open.dec(ended)
        try:
            await self.inner.write(batch)
        except Exception:
            self._metrics.audit_failed.inc()
            raise
        finally:
            self._look()
        begun = sum(map(begins, batch))
        if begun:
            self._metrics.open.inc(begun)
        self._metrics.audit_written.inc(len(batch))
        for record in batch:
            self._metrics.count(record)

    async def close(self) -> None:
        """Close the audit inside."""
        await self.inner.close()
        self._look()

    @property
    def problem(self) -> str | None:
        """Why records cannot be taken now."""
        return self.inner.problem

    @property
    def lost(self) -> int:
        """How many records were lost so far."""
        return self.inner.lost

    @property
    def queued(self) -> int:
        """How many records wait to be written."""
        return self.inner.queued

    def _look(self) -> None:
        """Read off the numbers that the audit keeps itself."""
        lost = self.inner.lost
        if lost > self._lost:
            self._metrics.audit_lost.inc(lost - self._lost)
            self._lost = lost
        queued = self.inner.queued
        if queued != self._queued:
            self._metrics.audit_queued.set(queued)
            self._queued = queued
