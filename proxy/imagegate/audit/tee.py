"""Several sinks as one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from imagegate.audit.events import Written
from imagegate.audit.sink import AuditUnavailableError, Sink


class Tee:
    """Writes to a first sink, on which everything depends, and then to others.

    A record counts as written when the first sink took it. What another one could
    not take is counted, and stops nothing; give such a sink the mode `batch` when it
    may not delay anything either.
    """

    def __init__(self, first: Sink, *others: Sink) -> None:
        self._first = first
        self._others = others

    async def write(self, records: Iterable[Written]) -> None:
        """Write records down; who is cancelled meanwhile has them in all the sinks.

        Raises:
            AuditUnavailableError: When the first sink could not take one of them.
        """
        batch = tuple(records)
        try:
            await self._first.write(batch)
        except asyncio.CancelledError:
            await self._pass_on(batch)
            raise
        await self._pass_on(batch)

    async def _pass_on(self, batch: Sequence[Written]) -> None:
        for other in self._others:
            with contextlib.suppress(AuditUnavailableError):  # it counts its losses
                await other.write(batch)

    @property
    def problem(self) -> str | None:
        """Why the first sink takes no records now; None when it does."""
        return self._first.problem

    @property
    def lost(self) -> int:
        """How many records the first sink has lost."""
        return self._first.lost

    @property
    def queued(self) -> int:
        """How many records wait in all the sinks."""
        return self._first.queued + sum(other.queued for other in self._others)

    async def close(self) -> None:
        """Close all the sinks, the first one first."""
        await self._first.close()
        for other in self._others:
            await other.close()
