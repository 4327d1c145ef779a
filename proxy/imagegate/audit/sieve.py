"""Counting junk, so that it cannot fill the disk.

Anybody can send what cannot be read, as fast as the line carries it. Of such requests
by nobody known, the first ones in a minute are recorded like all others; the rest is
counted by the code of the refusal, and one record a minute says how many there were.
Nothing else is ever counted instead of being written.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import Final

from imagegate.audit.chain import stamp
from imagegate.audit.events import COMPLETION, RefusalsCounted, Written
from imagegate.audit.sink import AuditUnavailableError, Sink
from imagegate.engine.policy import ANONYMOUS
from imagegate.engine.records import CompletionRecord, DecisionRecord

_MALFORMED: Final = "imagegate.request_malformed"
_SIFTED: Final = frozenset({_MALFORMED, COMPLETION})
_REMEMBERED: Final = 10_000


class Sieve:
    """A sink around another; to be used on one loop."""

    def __init__(self, inner: Sink, *, burst: int = 60, seconds: float = 60.0) -> None:
        """Wrap a sink.

        Args:
            inner: Takes what goes through.
            burst: How many refusals of each code go through in each window.
            seconds: How long a window is.
        """
        self._inner = inner
        self._burst = burst
        self._seconds = seconds
        self._seen: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self._since = ""
        self._swallowed: dict[str, None] = {}
        self._window: asyncio.Task[None] | None = None

    async def write(self, records: Iterable[Written]) -> None:
        """Write records down, or count them.

        Raises:
            AuditUnavailableError: When one that goes through could not be written.
        """
        through = [
            record
            for record in records
            if record.event not in _SIFTED or not self._swallow(record)
        ]
        if through:
            await self._inner.write(through)

    @property
    def problem(self) -> str | None:
        """Why records cannot be taken now; None when they can."""
        return self._inner.problem

    @property
    def lost(self) -> int:
        """How many records were lost so far."""
        return self._inner.lost

    @property
    def queued(self) -> int:
        """How many records wait to be written."""
        return self._inner.queued

    async def close(self) -> None:
        """Write down what was counted, and close the sink inside."""
        if self._window is not None:
            self._window.cancel()
            self._window = None
        await self._tell()
        await self._inner.close()

    def _swallow(self, record: Written) -> bool:
        """Tell whether a record is only counted."""
        if isinstance(record, CompletionRecord):
            known = record.decision_id in self._swallowed
            self._swallowed.pop(record.decision_id, None)
            return known
        if not isinstance(record, DecisionRecord) or (code := _junk(record)) is None:
            return False
        self._open_window()
        self._seen[code] += 1
        if self._seen[code] <= self._burst or len(self._swallowed) >= _REMEMBERED:
            return False
        self._counted[code] += 1
        self._swallowed[record.decision_id] = None
        return True

    def _open_window(self) -> None:
        if self._window is None:
            self._since = self._since or stamp()
            self._window = asyncio.get_running_loop().create_task(self._end_window())

    async def _end_window(self) -> None:
        await asyncio.sleep(self._seconds)
        self._window = None
        self._seen.clear()
        await self._tell()
        if self._counted:
            self._open_window()

    async def _tell(self) -> None:
        """Write down what was counted; what cannot be is told the next time."""
        counted, self._counted = self._counted, Counter()
        if not counted:
            self._since = ""
            return
        record = RefusalsCounted(since=self._since, until=stamp(), refused=counted)
        if self._inner.problem is None:
            with contextlib.suppress(AuditUnavailableError):
                await self._inner.write([record])
                self._since = ""
                return
        self._counted.update(counted)


def _junk(record: DecisionRecord) -> str | None:
    """Return the code, if nobody known was refused, and nothing was judged."""
    if (
        record.event == _MALFORMED
        and record.principal_source == ANONYMOUS.source
        and record.violations
    ):
        return record.violations[0].code or "other"
    return None
