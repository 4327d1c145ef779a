"""What an operator may say about the journal."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

Mode: TypeAlias = Literal["blocking", "blocking-strict", "batch"]
"""How records are delivered; the names are those of the Kubernetes audit log.

`blocking`: in the file, by one write, before anything goes on. Survives the death of
the process; the power may fail for the moment that a sync takes to come.
`blocking-strict`: on the disk before anything goes on.
`batch`: in a bounded queue. Traffic never waits and records may be lost; how many is
counted, and recorded when the sink is back.
"""
DAY: Final = 86_400.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How files are kept, and how much may wait.

    Attributes:
        rotate_bytes: A file that is larger is closed and the next one begun.
        rotate_seconds: The same for a file that is older and has records.
        compress: Whether closed files are compressed.
        keep_bytes: How much all files may take; the oldest closed ones go first.
        keep_seconds: How old closed files may become.
        checkpoint_records: A checkpoint follows at the latest after so many records.
        checkpoint_seconds: The same in time.
        queue_records: How many records may wait in `batch`.
        queue_bytes: How large they may be together.
        sync_seconds: How soon a sync follows a write in `blocking` and `batch`.
        tick_seconds: How often the journal looks after itself: sinks that failed,
            files that are old, checkpoints that are due.
    """

    rotate_bytes: int = 64 << 20
    rotate_seconds: float = DAY
    compress: bool = True
    keep_bytes: int | None = None
    keep_seconds: float | None = None
    checkpoint_records: int = 1000
    checkpoint_seconds: float = 60.0
    queue_records: int = 10_000
    queue_bytes: int = 16 << 20
    sync_seconds: float = 0.02
    tick_seconds: float = 1.0
