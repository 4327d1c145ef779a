"""An audit around another that counts what was taken, and what was not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final, Protocol

from imagegate.engine.records import Record
from imagegate.metrics.lumps import SHARED
from imagegate.metrics.names import Metrics

_LATE: Final = 1.0  # seconds at most, where another process reads the metrics


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
        self._paid_at = 0.0
        metrics.asks(self._look)

    async def write(self, records: Iterable[Record]) -> None:
        """Pass records on and count them.

        An exchange that ends is no longer open, whether that could be written or not.
        Of one that is cancelled meanwhile the records are taken all the same.
        """
        batch = tuple(records)
        try:
            await self.inner.write(batch)
        except Exception:
            self._metrics.audit_failed.inc()
            self._metrics.refused(batch)
            raise
        except BaseException:
            self._metrics.taken(batch)
            raise
        else:
            self._metrics.taken(batch)
        finally:
            if SHARED:
                self._pay_soon()

    async def close(self) -> None:
        """Close the audit inside."""
        try:
            await self.inner.close()
        finally:
            self._metrics.pay()

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

    def _pay_soon(self) -> None:
        """Have what was counted just now paid within a second."""
        now = time.monotonic()
        if now < self._paid_at:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # somebody else's kind of loop
            self._metrics.pay()
            return
        self._paid_at = now + _LATE
        loop.call_later(_LATE, self._metrics.pay)
