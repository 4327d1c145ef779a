"""The records that a sink makes itself: what befell the log, not the traffic.

They stand in the same files and the same chain as the engine's records, so that
whoever reads the log also reads what it lacks and why.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from imagegate.engine.records import SCHEMA, DecisionRecord, Record

FORMAT: Final = 1
"""Of the lines and the chain; grows when a reader would have to know."""

DECISIONS: Final = frozenset(
    typing.get_args(typing.get_type_hints(DecisionRecord)["event"])
)
"""The events that begin an exchange."""
COMPLETION: Final = "imagegate.exchange_finished"
"""The event that ends it."""
CLOSED: Final = "imagegate.audit_closed"

Began: TypeAlias = Literal[
    "started", "size", "age", "moved", "deleted", "altered", "failed", "recovered"
]
"""Why a file was begun: a start, a rotation, or what befell the one before."""
Ended: TypeAlias = Literal["shutdown", "size", "age", "moved", "recovered"]


class SinkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What every record of a sink says."""

    schema: int = SCHEMA
    event: str = ""


class OpenedRecord(SinkRecord, frozen=True, kw_only=True):
    """The first line of a file; it ties the file to the one before.

    Attributes:
        format: The version of the lines and the chain.
        reason: Why it was begun.
        file: The name it was given.
        genesis: What the chain of this process begins with, in `prev` of line 0.
        previous_file: The file before it in the chain; None for the first.
        previous_hash: Of that file's last line.
        open_decisions: Decisions in earlier files whose completion is to come.
        torn_bytes: What was left behind the last line of a file that failed.
        torn_hash: SHA-256 of that.
    """

    event: Literal["imagegate.audit_opened"] = "imagegate.audit_opened"
    format: int = FORMAT
    reason: Began
    file: str
    genesis: str
    previous_file: str | None = None
    previous_hash: str | None = None
    open_decisions: int = 0
    torn_bytes: int = 0
    torn_hash: str | None = None


class ClosedRecord(SinkRecord, frozen=True, kw_only=True):
    """The last line of a file.

    Attributes:
        reason: Why it was ended.
        lines: In the file, with the first and this one.
        open_decisions: Decisions whose completion is in a later file.
        lost: Records that this process has lost so far.
    """

    event: Literal["imagegate.audit_closed"] = "imagegate.audit_closed"
    reason: Ended
    lines: int
    open_decisions: int = 0
    lost: int = 0


class CheckpointRecord(SinkRecord, frozen=True, kw_only=True):
    """How far a chain had come; a copy outside the files vouches for all before.

    Attributes:
        chain: The process whose chain it is: `instance` in its lines.
        file: The name of the file that has the line.
        last_seq: The number of the line.
        last_hash: The SHA-256 of the line.
    """

    event: Literal["imagegate.audit_checkpoint"] = "imagegate.audit_checkpoint"
    chain: str
    file: str
    last_seq: int
    last_hash: str


class GapRecord(SinkRecord, frozen=True, kw_only=True):
    """Records were lost, or could only be written late.

    Attributes:
        lost: How many are not in the log, whatever the reason.
        late: How many completions follow that could not be written in time.
        since: When the first of them should have been written.
        reason: What the last of them met.
        torn_bytes: What an append that failed left behind in this file.
        torn_hash: SHA-256 of that.
    """

    event: Literal["imagegate.audit_gap"] = "imagegate.audit_gap"
    lost: int
    late: int = 0
    since: str
    reason: str
    torn_bytes: int = 0
    torn_hash: str | None = None


class RecoveredRecord(SinkRecord, frozen=True, kw_only=True):
    """A process did not close its file; a later one did, and says what it found.

    Attributes:
        recovered_by: The later process.
        torn_bytes: Behind the last whole line.
        torn_hash: SHA-256 of them.
        torn_cut: Whether they are gone from the file.
        decisions_closed: Completions with the outcome `unknown` that were added.
        decisions_missing: Open decisions of earlier files that are no longer there.
    """

    event: Literal["imagegate.audit_recovered"] = "imagegate.audit_recovered"
    recovered_by: str
    torn_bytes: int = 0
    torn_hash: str | None = None
    torn_cut: bool = False
    decisions_closed: int = 0
    decisions_missing: int = 0


class RetiredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was deleted because it was old, or there were too many.

    Attributes:
        last_seq: The number of its last line; -1 when it could not be read, and none
            in records that were written before it was told.
        last_hash: The SHA-256 of that line.
    """

    file: str
    bytes: int
    last_seq: int | None = None
    last_hash: str


class RetiredRecord(SinkRecord, frozen=True, kw_only=True):
    """Files are about to be deleted by retention, and not by anybody else."""

    event: Literal["imagegate.audit_retired"] = "imagegate.audit_retired"
    reason: Literal["age", "size"]
    files: tuple[RetiredFile, ...]


class RefusalsCounted(SinkRecord, frozen=True, kw_only=True):
    """Refusals of unreadable requests by nobody known, beyond what is written singly.

    Attributes:
        since: The beginning of the time in which they came.
        until: Its end.
        refused: How many, by the code that the client got.
    """

    event: Literal["imagegate.refusals_counted"] = "imagegate.refusals_counted"
    since: str
    until: str
    refused: Mapping[str, int]


class UnknownCompletion(Record, frozen=True, kw_only=True):
    """The end of an exchange that nobody saw: the process ended before it.

    It has the event of any other completion and none of its counts, because a
    number that is not known is not zero.
    """

    event: Literal["imagegate.exchange_finished"] = "imagegate.exchange_finished"
    outcome: Literal["unknown"] = "unknown"


Written: TypeAlias = Record | SinkRecord
"""What can be a line."""


def unknown_end(decision: Record) -> UnknownCompletion:
    """Close a decision whose completion will never come."""
    common = {name: getattr(decision, name) for name in Record.__struct_fields__}
    common["event"] = COMPLETION
    return UnknownCompletion(**common)
