"""The records of one exchange, on their way to the audit: timed, and in order.

The engine has no clock, so it is here that records learn how long things took.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from imagegate import log
from imagegate.audit import Audit, AuditUnavailableError
from imagegate.engine.records import Record

_R = TypeVar("_R", bound=Record)
_DIGITS: Final = 3
_UNTIMED: Final = object()


class Journal:
    """Writes the records of one exchange, timed from when this is made."""

    def __init__(self, audit: Audit, decision_id: str) -> None:
        self._audit = audit
        self.decision_id = decision_id
        self._began = time.perf_counter()
        self._unwritten: list[Record] = []

    def elapsed(self) -> float:
        """Return the milliseconds since the request began."""
        return round((time.perf_counter() - self._began) * 1000, _DIGITS)

    async def write(self, records: Iterable[Record]) -> None:
        """Write records down before going on.

        Raises:
            AuditUnavailableError: When one of them could not be written.
        """
        timed = [self._timed(record) for record in records]
        if not timed:
            return
        try:
            await self._audit.write(timed)
        except Exception as error:  # anybody's sink may be here; it fails closed
            self._unwritten += timed
            # What our own sinks say holds nothing of a record; others' might.
            ours = isinstance(error, AuditUnavailableError)
            log.error(
                "imagegate.audit_unavailable",
                decision_id=self.decision_id,
                records=len(timed),
                problem=str(error) if ours else None,
                **log.place_of(error.__cause__ or error),
            )
            raise AuditUnavailableError from error

    async def close(self, records: Iterable[Record], *, hurried: bool = False) -> None:
        """Write the last records; the program's log says so if that fails.

        What could not be written before is tried once more, apart: perhaps twice in
        the audit is better than never.

        Args:
            records: The last records.
            hurried: The server is cancelling its requests, and may do it again:
                the records are written first.
        """
        again, self._unwritten = self._unwritten, []
        writing = self._last(again, [*records])
        if not hurried:
            await writing
            return
        task = asyncio.ensure_future(writing)
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(task)

    async def _last(self, *parts: list[Record]) -> None:
        for records in filter(None, parts):
            with contextlib.suppress(AuditUnavailableError):
                await self.write(records)

    def _timed(self, record: _R) -> _R:
        # A record that is tried again says when it was true, and an echo never does.
        if getattr(record, "duration_ms", _UNTIMED) is not None:
            return record
        return msgspec.structs.replace(record, duration_ms=self.elapsed())
