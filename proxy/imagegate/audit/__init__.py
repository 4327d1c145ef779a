"""Where records go. A record that cannot be written stops what it is about."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import BinaryIO, Protocol

import msgspec
import structlog

from imagegate.engine.records import Record


class AuditUnavailableError(Exception):
    """No sink could take a record."""


class Audit(Protocol):
    """Takes records, in the order in which things happen."""

    async def write(self, records: Iterable[Record]) -> None:
        """Write records down; return when they are.

        Raises:
            AuditUnavailableError: When one of them could not be written.
        """

    @property
    def problem(self) -> str | None:
        """Why records cannot be taken now; None when they can."""

    async def close(self) -> None:
        """Write down what is waiting, and let go of the sink."""


class StreamAudit:
    """One JSON object a line, on standard output or another stream, at once."""

    def __init__(self, stream: BinaryIO | None = None) -> None:
        logger = structlog.BytesLogger(stream or sys.stdout.buffer)
        self._problem: str | None = None
        self._log = structlog.wrap_logger(
            logger,
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=_encode),
            ],
        )

    async def write(self, records: Iterable[Record]) -> None:
        """Write records down."""
        for record in records:
            fields = msgspec.to_builtins(record)
            try:
                self._log.info(fields.pop("event"), **fields)
            except (OSError, ValueError) as error:
                self._problem = str(error)
                raise AuditUnavailableError(self._problem) from error
            self._problem = None

    @property
    def problem(self) -> str | None:
        """Why the last record could not be written; None when it was."""
        return self._problem

    async def close(self) -> None:
        """Do nothing: each record was written at once, and the stream is another's."""


def _encode(value: object, **_: object) -> bytes:
    return msgspec.json.encode(value)
