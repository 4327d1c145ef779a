"""The one writer of a process: its chain, its current file, and what it still owes.

Everything here is synchronous, behind one lock, and callable from any thread. What
the delivery modes make of it is in `journal`.

What cannot be written is counted. A completion that cannot be is held, because
nobody can be refused any more for its sake, and written when the sink is back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final, TypeAlias

from imagegate.audit.chain import (
    Entry,
    Head,
    entries_of,
    entry_of,
    first_head,
    genesis,
    link,
    new_instance,
    stamp,
)
from imagegate.audit.events import (
    Began,
    CheckpointRecord,
    ClosedRecord,
    Ended,
    GapRecord,
    OpenedRecord,
    RetiredRecord,
    SinkRecord,
    UnknownCompletion,
    unknown_end,
)
from imagegate.audit.logfile import (
    CROWDED,
    LogFile,
    PartlyWrittenError,
    State,
    Torn,
    new_name,
    sync_directory,
)
from imagegate.audit.options import Options
from imagegate.audit.sink import AuditUnavailableError
from imagegate.engine.records import CompletionRecord, DecisionRecord, Record

Witness: TypeAlias = Callable[[CheckpointRecord], None]
"""Takes checkpoints to another place. It must neither block nor raise anything but
`OSError`, and may be called from any thread."""

ELSEWHERE: Final = "the journal was opened in another process"
_PATIENT: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EAGAIN, errno.EINTR}
)
"""What passes without another file. A new file would not fare better."""
_ENDS: Final = (CompletionRecord, UnknownCompletion)
_HELD: Final = 10_000
_LOOK: Final = 1.0  # seconds between two looks at the file's name
_MICROSECOND: Final = 1000  # of nanoseconds: what a file's name tells apart


class Ledger:
    """Appends records to the files of one process.

    Attributes:
        instance: The name of this start of the process.
        problem: Why the last record could not be written; None when it was.
        lost: Records that are not in the files and will not be.
        unwitnessed: Checkpoints that could not be taken elsewhere.
        finished: Files that are done with, to be made to last and let go of.
    """

    def __init__(
        self, directory: Path, options: Options, witness: Witness | None = None
    ) -> None:
        self.instance = new_instance()
        self.problem: str | None = None
        self.lost = 0
        self.unwitnessed = 0
        self.finished: SimpleQueue[LogFile] = SimpleQueue()
        self._directory = directory
        self._options = options
        self._witness = witness
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._closed = False
        self._head = first_head(self.instance)
        self._open: dict[str, DecisionRecord] = {}
        self._held: dict[str, Entry] = {}
        self._unreported = 0
        self._since: str | None = None
        self._why = ""
        self._dirty: dict[LogFile, None] = {}  # in order: none lasts before another
        self._file: LogFile | None = None
        self._named = 0
        self._began: Began = "started"
        self._previous: str | None = None
        self._behind = Torn()
        self._lines = 0
        self._served = 0
        self._opened_at = self._look_at = self._rotate_at = self._begin_at = 0.0
        self._distrusted_at = float("-inf")
        self._unchecked = 0
        self._checked_at = time.monotonic()

    # -- what is asked of it ----------------------------------------------------

    @property
    def file(self) -> Path | None:
        """The file that is written now."""
        return self._file.path if self._file else None

    @property
    def elsewhere(self) -> bool:
        """Whether this is another process, forked off since: its threads are not."""
        return os.getpid() != self._pid

    @property
    def held(self) -> int:
        """How many completions wait for the sink to come back."""
        return len(self._held)

    def append(self, entries: list[Entry], *, keep: bool = False) -> None:
        """Append entries, and first what is owed; those written leave the list.

        Args:
            entries: What to write; none only tries whether the sink is there.
            keep: Whether the caller tries the rest again; otherwise it is lost.

        Raises:
            AuditUnavailableError: When not all of them could be written.
        """
        with self._lock:
            now = time.monotonic()
            try:
                self._check_usable()
                self._put(self._ready(now), entries)
            except OSError as error:
                self._fail(entries, error, keep=keep)
                raise AuditUnavailableError(self.problem) from error
            self.problem = None
            if not self._unreported:
                self._since = None
            self._checkpoint_if_due(now)

    def miss(self, count: int, why: str) -> None:
        """Count records that never came this far."""
        with self._lock:
            if count:
                self._lose(count, why)

    def tick(self) -> None:
        """Do what is due though nothing is written: come back, check, rotate.

        Raises:
            AuditUnavailableError: When the sink is still not there.
        """
        self.append([])

    def sync(self) -> None:
        """Make all that was appended last.

        Raises:
            AuditUnavailableError: When it could not be made to.
        """
        with self._lock:
            dirty, self._dirty = self._dirty, {}
        failed: OSError | None = None
        for file in dirty:
            try:
                file.sync()
            except OSError as error:
                self._distrust(file, error)
                failed = error
        if failed is not None:
            raise AuditUnavailableError(self.problem) from failed

    def close(self) -> None:
        """Close open decisions as unknown, and the file; the first call alone."""
        with self._lock:
            if self._closed:
                return
            try:
                self._check_usable()
                self._begin_at = 0.0
                self._finish()
                self.problem = "closed"
            except OSError as error:
                self._fail([], error, keep=True)
            self._closed = True
            file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.sync()
            file.close()

    # -- writing ----------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the journal is closed")
        if self.elsewhere:
            raise OSError(errno.EBADF, ELSEWHERE)

    def _put(self, file: LogFile, entries: list[Entry]) -> None:
        """Write to a file, or to another one if this one turns out to be broken."""
        try:
            self._put_once(file, entries)
        except OSError as error:
            if error.errno in _PATIENT:
                raise
            self._leave(file, "failed")
            self._put_once(self._ready(), entries)

    def _put_once(self, file: LogFile, entries: list[Entry]) -> None:
        if file.torn.size:
            file.mend()
        due = self._due(file)
        everything = [*due, *entries] if due else entries
        lines, heads = link(self._head, self.instance, everything)
        try:
            if lines:
                file.append(lines)
        except PartlyWrittenError as error:
            self._settle(file, everything[: error.lines], heads)
            del entries[: max(0, error.lines - len(due))]
            raise
        self._settle(file, everything, heads)
        entries.clear()

    def _due(self, file: LogFile) -> list[Entry]:
        """Return what has to be written before anything else."""
        owes = self._unreported or self._held or file.torn.size
        owes = owes or self.problem is not None
        if file.size and not owes:
            return []
        due: list[SinkRecord] = []
        if not file.size:
            due.append(self._opening(file))
        if owes:
            due.append(self._gap(file))
        return [*entries_of(due), *self._held.values()]

    def _opening(self, file: LogFile) -> OpenedRecord:
        return OpenedRecord(
            reason=self._began,
            file=file.path.name,
            genesis=genesis(self.instance),
            previous_file=self._previous,
            previous_hash=self._head.hash if self._head.seq else None,
            open_decisions=len(self._open),
            torn_bytes=self._behind.size,
            torn_hash=self._behind.hash,
        )

    def _gap(self, file: LogFile) -> GapRecord:
        return GapRecord(
            lost=self._unreported,
            late=len(self._held),
            since=self._since or stamp(),
            reason=self._why,
            torn_bytes=file.torn.size,
            torn_hash=file.torn.hash,
        )

    def _settle(
        self, file: LogFile, entries: Sequence[Entry], heads: Sequence[Head]
    ) -> None:
        """Take note of what is in the file now."""
        if not entries:
            return
        first = not self._head.seq
        self._head = heads[len(entries) - 1]
        self._lines += len(entries)
        self._dirty[file] = None
        served = 0
        for entry in entries:
            record = entry.record
            if isinstance(record, Record):
                served += 1
            elif isinstance(record, RetiredRecord):
                self._unchecked += 1  # whoever deletes files can write one as well
            if isinstance(record, DecisionRecord):
                self._open[record.decision_id] = record
            elif isinstance(record, _ENDS):
                self._open.pop(record.decision_id, None)
                self._held.pop(record.decision_id, None)
            elif isinstance(record, GapRecord):
                self._unreported -= record.lost
                self._since = self.problem = None
        self._served += served
        self._unchecked += served
        if first:
            self._bear_witness()

    # -- what could not be written ----------------------------------------------

    def _fail(self, entries: list[Entry], error: OSError, *, keep: bool) -> None:
        self.problem = f"{self._directory}: {error.strerror or error}"
        self._since = self._since or stamp()
        self._why = error.strerror or str(error)
        if keep:
            return
        for entry in entries:
            record = entry.record
            if (
                isinstance(record, CompletionRecord)
                and record.decision_id in self._open
                and len(self._held) < _HELD
                and not self._closed
            ):
                self._held[record.decision_id] = entry
            elif isinstance(record, Record):
                self._lose(1, self._why)

    def _lose(self, count: int, why: str) -> None:
        self._since = self._since or stamp()
        self._why = why
        self.lost += count
        self._unreported += count

    def _distrust(self, file: LogFile, error: OSError) -> None:
        """Go on in another file after a sync that failed."""
        with self._lock:
            self._fail([], error, keep=True)
            if error.errno in CROWDED:
                self._dirty = {file: None, **self._dirty}
            elif file is self._file:
                now = time.monotonic()
                if now - self._distrusted_at < _LOOK:
                    self._begin_at = now + _LOOK  # or each sync would leave a file
                self._distrusted_at = now
                self._leave(file, "failed")

    # -- files ------------------------------------------------------------------

    def _ready(self, now: float | None = None) -> LogFile:
        """Return a file that can be written to: this one, or the next."""
        now = time.monotonic() if now is None else now
        file = self._file
        if file is not None:
            state = file.state()
            if state == "ours" and now >= self._look_at:
                self._look_at = now + _LOOK
                state = file.place()
            if state != "ours":
                self._leave(file, state)
            elif now >= self._rotate_at and (reason := self._rotation(file, now)):
                self._rotate(file, reason, now)
        return self._file or self._begin(self._create())

    def _create(self) -> LogFile:
        if time.monotonic() < self._begin_at:
            raise OSError(errno.EIO, self._why)
        # Names sort as the files follow, also where the clock is set back.
        self._named = max(time.time_ns(), self._named + _MICROSECOND)
        path = self._directory / new_name(self.instance, self._named)
        try:
            return LogFile.create(path)
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(PermissionError):  # it may be made, not read
                sync_directory(self._directory.parent)
            return LogFile.create(path)

    def _begin(self, file: LogFile) -> LogFile:
        self._file = file
        self._lines = self._served = 0
        self._opened_at = time.monotonic()
        self._look_at = self._opened_at + _LOOK
        return file

    def _leave(self, file: LogFile, state: State) -> None:
        """Go on in another file, because something befell this one."""
        if state == "moved":
            with contextlib.suppress(OSError):
                self._end(file, "moved")
        self._file = None
        unused = not (file.size or file.torn.size)
        if unused and state == "failed" and file.place() == "ours":
            file.discard()  # or each attempt on a broken disk would leave one
            return
        self._began = "failed" if state == "ours" else state
        self._previous, self._behind = file.path.name, file.torn
        self.finished.put(file)

    def _rotation(self, file: LogFile, now: float) -> Ended | None:
        if file.size >= self._options.rotate_bytes:
            return "size"
        old = now - self._opened_at >= self._options.rotate_seconds
        return "age" if old and self._served else None

    def _rotate(self, file: LogFile, reason: Ended, now: float) -> None:
        """Close a file and begin the next one; later, if that cannot be done now."""
        try:
            following = self._create()
        except OSError:
            self._rotate_at = now + _LOOK
            return
        try:
            self._end(file, reason)
        except OSError:
            self._rotate_at = now + _LOOK
            following.discard()
            return
        self._began = "size" if reason == "size" else "age"
        self._previous, self._behind = file.path.name, Torn()
        self._begin(following)
        self.finished.put(file)

    def _end(self, file: LogFile, reason: Ended) -> None:
        """Write the last line of a file."""
        due = self._due(file)
        closing = ClosedRecord(
            reason=reason,
            lines=self._lines + len(due) + 1,
            open_decisions=len(self._open),
            lost=self.lost,
        )
        self._put_once(file, [entry_of(closing)])

    def _finish(self) -> None:
        self._put(self._ready(), [])
        for decision in list(self._open.values()):
            self._put(self._ready(), [entry_of(unknown_end(decision))])
        self._checkpoint()
        self._end(self._ready(), "shutdown")
        self._bear_witness()

    # -- checkpoints ------------------------------------------------------------

    def _checkpoint_if_due(self, now: float) -> None:
        limits = self._options
        late = now - self._checked_at >= limits.checkpoint_seconds
        if self._unchecked >= limits.checkpoint_records or (late and self._unchecked):
            # What fails here fails the next record too, and is told there.
            with contextlib.suppress(OSError):
                self._checkpoint()

    def _checkpoint(self) -> None:
        file = self._ready()
        self._put(file, [entry_of(self._mark())])
        self._unchecked, self._checked_at = 0, time.monotonic()
        self._bear_witness()

    def _mark(self) -> CheckpointRecord:
        name = self._file.path.name if self._file else self._previous or ""
        return CheckpointRecord(
            chain=self.instance,
            file=name,
            last_seq=self._head.seq - 1,
            last_hash=self._head.hash,
        )

    def _bear_witness(self) -> None:
        if self._witness is None:
            return
        try:
            self._witness(self._mark())
        except (OSError, AuditUnavailableError):
            self.unwitnessed += 1
