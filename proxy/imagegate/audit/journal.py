"""The journal: records as chained lines in files, delivered as the operator chose."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from imagegate.audit.chain import Entry, entries_of
from imagegate.audit.events import Written
from imagegate.audit.flusher import Flusher
from imagegate.audit.keeper import Keeper
from imagegate.audit.ledger import ELSEWHERE, Ledger, Witness
from imagegate.audit.options import Mode, Options
from imagegate.audit.passes import Passes
from imagegate.audit.recovery import recover, tidy
from imagegate.audit.sink import AuditUnavailableError

_AT_ONCE: Final = 256  # records of the queue that are written together


class Journal:
    """An audit on disk. It belongs to one process and may be used by any of its loops.

    Attributes:
        instance: The name of this start of the process, in each of its lines.
    """

    def __init__(
        self, directory: Path, ledger: Ledger, mode: Mode, options: Options
    ) -> None:
        """Use `open`."""
        self.instance = ledger.instance
        self._mode = mode
        self._ledger = ledger
        self._closed = False
        self._passes = Passes(self._append)
        self._queue = _Queue(options)
        strict = mode == "blocking-strict"
        self._flusher = Flusher(
            self._drain if mode == "batch" else ledger.sync,
            pause=0.0 if strict else options.sync_seconds,
        )
        self._keeper = Keeper(directory, ledger, options, self._tick)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        mode: Mode = "blocking",
        options: Options | None = None,
        witness: Witness | None = None,
    ) -> Journal:
        """Open a journal: recover what others left, begin a file, start the threads.

        It may read large files and so block; on a loop use `asyncio.to_thread`. It
        does not fail when the sink does: `problem` then says why, and records are
        refused until it is back.

        Args:
            directory: Where the files are; created if its parent exists.
            mode: When a record counts as written.
            options: How files are kept, and how much may wait.
            witness: Takes checkpoints to another place, from any thread, without
                blocking: `StreamAudit.post`, for instance.
        """
        options = options or Options()
        ledger = Ledger(directory, options, witness)
        try:
            tidy(directory)
            unrecovered = recover(directory, by=ledger.instance)
        except OSError as error:
            unrecovered = [str(error)]
        with contextlib.suppress(AuditUnavailableError):
            ledger.tick()
        journal = cls(directory, ledger, mode, options)
        journal._keeper.unrecovered = unrecovered
        return journal

    async def write(self, records: Iterable[Written]) -> None:
        """Write records down, as the mode says; what is written stays, if cancelled.

        Raises:
            AuditUnavailableError: When one of them could not be written. In `batch`
                what is lost is counted, and this is raised only in a process that
                was forked off since, where nobody would write.
        """
        batch = tuple(records)
        if not batch:
            return
        if self._mode == "blocking":
            waiting = self._passes.write(batch)
            if waiting is not None:
                await waiting
        elif self._mode == "batch":
            if self._ledger.elsewhere:
                raise AuditUnavailableError(ELSEWHERE)
            if refused := self._queue.put(entries_of(batch)):
                why = "the journal is closed" if self._closed else "the queue is full"
                self._ledger.miss(refused, why)
            self._flusher.wake()
        else:
            self._ledger.append(entries_of(batch))
            await self._flusher.done()

    @property
    def problem(self) -> str | None:
        """Why records cannot be taken now; None when they can.

        In `batch` they always can, until the journal is closed; `failing` tells more.
        """
        if self._closed:
            return "the journal is closed"
        if self._ledger.elsewhere:
            return ELSEWHERE
        return None if self._mode == "batch" else self._ledger.problem

    @property
    def failing(self) -> str | None:
        """Why the last record could not be written, whatever the mode makes of it."""
        return self._ledger.problem

    @property
    def unrecovered(self) -> list[str]:
        """Files of earlier processes that could not be closed yet, and why."""
        return self._keeper.unrecovered

    @property
    def file(self) -> Path | None:
        """The file that is written now."""
        return self._ledger.file

    @property
    def lost(self) -> int:
        """How many records are not in the files and will not be."""
        return self._ledger.lost

    @property
    def queued(self) -> int:
        """How many records wait to be written."""
        return len(self._queue) + self._ledger.held

    @property
    def unwitnessed(self) -> int:
        """How many checkpoints could not be taken elsewhere."""
        return self._ledger.unwitnessed

    async def close(self) -> None:
        """Write what waits, close open decisions as unknown, and close the file."""
        try:
            await asyncio.to_thread(self.close_now)
        except RuntimeError:  # there may be no more threads
            self.close_now()

    def close_now(self) -> None:
        """Do the same from where there is no loop."""
        if self._closed:
            return
        self._closed = True
        self._queue.shut()
        self._passes.finish()
        self._flusher.stop()
        self._ledger.miss(self._queue.clear(), self._ledger.problem or "closed")
        self._ledger.close()
        self._keeper.stop()

    def _append(self, entries: list[Entry], *, keep: bool = False) -> None:
        """Write entries, and have them synced soon."""
        self._ledger.append(entries, keep=keep)
        self._flusher.wake()

    def _tick(self) -> None:
        if len(self._queue):
            self._flusher.wake()
        self._ledger.tick()

    def _drain(self) -> None:
        """Write what is in the queue; what cannot be written stays in it."""
        while entries := self._queue.take(_AT_ONCE):
            try:
                self._ledger.append(entries, keep=True)
            finally:
                self._queue.give_back(entries)
        self._ledger.sync()


class _Queue:
    """Entries on their way to the thread that writes them, within bounds."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._taken = 0
        self._shut = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries) + self._taken

    def put(self, entries: list[Entry]) -> int:
        """Take what there is room for, and return how many there was none for."""
        limits = self._options
        with self._lock:
            for number, entry in enumerate(entries):
                size = self._bytes + len(entry.body)
                full = len(self) >= limits.queue_records or size > limits.queue_bytes
                if self._shut or full:
                    return len(entries) - number
                self._entries.append(entry)
                self._bytes = size
        return 0

    def take(self, most: int) -> list[Entry]:
        """Take some out, for the time being."""
        with self._lock:
            count = min(most, len(self._entries))
            taken = [self._entries.popleft() for _ in range(count)]
            self._taken = count
            self._bytes -= _size(taken)
        return taken

    def give_back(self, entries: list[Entry]) -> None:
        """Put back what could not be written; the rest has left."""
        with self._lock:
            self._taken = 0
            self._entries.extendleft(reversed(entries))
            self._bytes += _size(entries)

    def shut(self) -> None:
        """Take no more."""
        with self._lock:
            self._shut = True

    def clear(self) -> int:
        """Give up what is left, and return how many that is."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
        return count


def _size(entries: Iterable[Entry]) -> int:
    return sum(len(entry.body) for entry in entries)
