"""Records on standard output or another stream, one JSON object a line.

What cannot block is written at once: a file, memory. A pipe, a socket and a terminal
are written by a thread, because a reader that stands still must not stop the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec
import structlog

from imagegate.audit.chain import encode, stamp
from imagegate.audit.events import GapRecord, Written
from imagegate.audit.flusher import tell
from imagegate.audit.pipe import PipeWriter
from imagegate.audit.sink import AuditUnavailableError
from imagegate.engine.records import CompletionRecord, DecisionRecord, Record

QUEUE_RECORDS: Final = 10_000
QUEUE_BYTES: Final = 16 << 20


class StreamAudit:
    """One JSON object a line, rendered by structlog, with `time` and no chain.

    In `blocking` a record counts as written when the stream has taken it, and as
    failed when that takes longer than `patience`; in `batch` nobody waits, and what
    does not fit into the queue is lost and counted. What was lost is recorded when
    the stream takes records again.
    """

    def __init__(
        self,
        stream: BinaryIO | None = None,
        *,
        mode: Literal["blocking", "batch"] = "blocking",
        patience: float = 5.0,
    ) -> None:
        """Take a stream, which is never closed; standard output unless told."""
        self._stream = stream or _standard_output()
        self._stream.flush()
        self._mode = mode
        self._patience = patience
        self._error: str | None = None
        self._lost = 0
        self._unreported = 0
        self._since: str | None = None
        self._torn = False
        self._lock = threading.Lock()
        self._log = structlog.wrap_logger(
            structlog.ReturnLogger(),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                structlog.processors.JSONRenderer(serializer=_encode),
            ],
        )
        fd = _may_block(self._stream)
        self._pipe: PipeWriter | None = None
        if fd is not None:
            self._pipe = PipeWriter(fd, records=QUEUE_RECORDS, size=QUEUE_BYTES)

    async def write(self, records: Iterable[Written]) -> None:
        """Write records down; return when the stream has taken them.

        Raises:
            AuditUnavailableError: When one of them could not be written, or not in
                time. In `batch` never.
        """
        batch = tuple(records)
        try:
            if self._pipe is None:
                self._write_now(batch)
            elif self._mode == "batch":
                self._send(self._pipe, batch, lambda _: None)
            else:
                await self._write_and_wait(self._pipe, batch)
        except AuditUnavailableError:
            if self._mode == "blocking":
                raise

    def post(self, record: Written) -> None:
        """Write a record down soon, from any thread and without waiting.

        Raises:
            AuditUnavailableError: When it is known already that it cannot be.
        """
        if self._pipe is None:
            self._write_now((record,))
        else:
            self._send(self._pipe, (record,), lambda _: None)

    @property
    def problem(self) -> str | None:
        """Why records cannot be taken now; None when they can.

        Asking tries the stream again, if it has failed.
        """
        stuck = self._pipe.stuck_for if self._pipe else 0.0
        if stuck > self._patience:
            return f"the stream has taken nothing for {stuck:.0f} seconds"
        if self._error is not None:
            self._try_again()
        return self._error if self._mode == "blocking" else None

    @property
    def lost(self) -> int:
        """How many records were lost so far, whatever the reason."""
        return self._lost

    @property
    def queued(self) -> int:
        """How many writes wait for the thread."""
        return len(self._pipe) if self._pipe else 0

    async def close(self) -> None:
        """Write down what waits, as long as the stream takes it."""
        if self._pipe is None:
            return
        left = await asyncio.to_thread(self._pipe.stop, self._patience)
        for job in left:
            job.told(OSError("the stream did not take it in time"))

    # -- at once ----------------------------------------------------------------

    def _write_now(self, batch: Sequence[Written]) -> None:
        with self._lock:
            gap = self._gap()
            lines = [self._render(each) for each in (*gap, *batch)]
            try:
                for line in lines:
                    self._put(line)
            except (OSError, ValueError) as error:
                self._unreported += sum(each.lost for each in gap)
                self._fail(batch, str(error))
                raise AuditUnavailableError(self._error) from error
            self._took(gap)

    def _put(self, line: bytes) -> None:
        """Write a line without the stream's buffer, which would keep what failed."""
        data = b"\n" + line if self._torn else line
        fd = _descriptor(self._stream)
        if fd is None:
            self._stream.write(data)
            self._stream.flush()
            return
        written = 0
        try:
            while written < len(data):
                written += os.write(fd, data[written:])
        finally:
            if written:
                self._torn = written < len(data)

    # -- by the thread ----------------------------------------------------------

    async def _write_and_wait(self, pipe: PipeWriter, batch: Sequence[Written]) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def told(error: OSError | None) -> None:
            failed = None if error is None else AuditUnavailableError(str(error))
            tell(loop, [done], failed)

        try:
            withdraw = self._send(pipe, batch, told)
            await asyncio.wait([done], timeout=self._patience)
            if not done.done():
                # A completion stays: nobody can be refused any more for its sake.
                if not _ends(batch):
                    withdraw()
                raise AuditUnavailableError("the stream does not take it in time")
            done.result()
        finally:
            done.cancel()  # what is told to it later interests nobody

    def _send(
        self,
        pipe: PipeWriter,
        batch: Sequence[Written],
        told: Callable[[OSError | None], None],
    ) -> Callable[[], None]:
        """Hand records to the thread, and return how to take them back."""
        with self._lock:
            gap = self._gap()
            lines = [self._render(each) for each in (*gap, *batch)]

        def went(error: OSError | None) -> None:
            with self._lock:
                if error is None:
                    self._took(gap)
                else:
                    self._unreported += sum(each.lost for each in gap)
                    self._fail(batch, str(error))
            told(error)

        stuck = pipe.stuck_for > self._patience and self._mode == "blocking"
        waits = not stuck or _ends(batch)
        job = pipe.put(lines, went) if waits else None
        if job is None:
            why = "the stream does not take records"
            went(OSError(why))
            raise AuditUnavailableError(why)

        def withdraw() -> None:
            if pipe.withdraw(job):
                went(OSError("the stream does not take records in time"))

        return withdraw

    # -- what was lost ----------------------------------------------------------

    def _gap(self) -> tuple[GapRecord, ...]:
        """Return what there is to say of records that were lost."""
        if not self._unreported:
            return ()
        lost, self._unreported = self._unreported, 0
        why, since = self._error or "", self._since or stamp()
        return (GapRecord(lost=lost, since=since, reason=why),)

    def _fail(self, batch: Sequence[Written], why: str) -> None:
        lost = sum(isinstance(record, Record) for record in batch)
        self._error = why
        self._since = self._since or stamp()
        self._lost += lost
        self._unreported += lost

    def _took(self, gap: Sequence[GapRecord]) -> None:
        self._error = None
        if gap:
            self._since = None

    def _try_again(self) -> None:
        """Write down what was lost, if the stream takes records again."""
        with contextlib.suppress(AuditUnavailableError):
            if self._pipe is None:
                self._write_now(())
            elif not len(self._pipe):
                self._send(self._pipe, (), lambda _: None)

    def _render(self, record: Written) -> bytes:
        fields = msgspec.to_builtins(record)
        line: bytes = self._log.info(fields.pop("event"), **fields)
        return line + b"\n"


def _encode(value: object, **_: object) -> bytes:
    return encode(value)


def _ends(batch: Sequence[Written]) -> bool:
    """Tell whether records are the end of an exchange that was let go on."""
    begins = any(isinstance(record, DecisionRecord) for record in batch)
    ends = any(isinstance(record, CompletionRecord) for record in batch)
    return ends and not begins


def _standard_output() -> BinaryIO:
    """Return standard output; where it was closed before the start, what takes nothing.

    So no record counts as written, and with files beside it nothing is missing.
    """
    return sys.stdout.buffer if sys.stdout else Path(os.devnull).open("rb")


def _descriptor(stream: BinaryIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _may_block(stream: BinaryIO) -> int | None:
    """Return the descriptor of a stream that waits for its reader."""
    fd = _descriptor(stream)
    if fd is None:
        return None
    mode = os.fstat(fd).st_mode
    device = stat.S_ISCHR(mode) and not os.isatty(fd)
    return None if stat.S_ISREG(mode) or device else fd
