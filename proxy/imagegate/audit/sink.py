"""What every sink is: something that takes records, or says why it cannot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from imagegate.audit.events import Written
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


class Sink(Protocol):
    """What the sinks of this room are: an audit that also counts."""

    async def write(self, records: Iterable[Written]) -> None:
        """Write records down, of an exchange or of a sink; return when they are.

        Raises:
            AuditUnavailableError: When one of them could not be written.
        """

    @property
    def problem(self) -> str | None:
        """Why records cannot be taken now; None when they can."""

    @property
    def lost(self) -> int:
        """How many records were lost so far, whatever the reason."""

    @property
    def queued(self) -> int:
        """How many records wait to be written."""

    async def close(self) -> None:
        """Write down what is waiting, and let go of the sink."""
