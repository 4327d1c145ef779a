"""A thread that writes lines to what may block: a pipe, a socket, a terminal."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

Told = Callable[[OSError | None], None]


class Job:
    """Lines on their way; withdrawn as long as none of them was begun."""

    def __init__(self, lines: Sequence[bytes], told: Told) -> None:
        self.lines = lines
        self.size = sum(map(len, lines))
        self.told = told


class PipeWriter:
    """Writes jobs one after the other, as long as it takes.

    Each line is one write where the reader keeps up. Several processes may share a
    pipe; a line above PIPE_BUF (4096 bytes) may then be torn by another's, which
    nothing on this side can prevent: give each process its own, or use files.
    """

    def __init__(self, fd: int, *, records: int, size: int) -> None:
        """Take a descriptor; the thread starts with the first job.

        Args:
            fd: Where to write; it may be closed while this goes on.
            records: How many jobs may wait.
            size: How large they may be together, in bytes.
        """
        self._fd = os.dup(fd)  # whoever closes theirs may give the number to others
        self._limits = (records, size)
        self._jobs: deque[Job] = deque()
        self._size = 0
        self._began: float | None = None
        self._torn = False
        self._stopping = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pid = 0

    def __len__(self) -> int:
        return len(self._jobs) + (self._began is not None)

    @property
    def stuck_for(self) -> float:
        """How long the current job has taken so far, in seconds."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def put(self, lines: Sequence[bytes], told: Told) -> Job | None:
        """Take lines, and tell from the thread how it went; None if too many wait."""
        job = Job(lines, told)
        records, size = self._limits
        with self._changed:
            if (
                len(self._jobs) >= records
                or self._size + job.size > size
                or self._stopping
            ):
                return None
            try:
                self._start()
            except RuntimeError:  # there may be no more threads, for now
                return None
            self._jobs.append(job)
            self._size += job.size
            self._changed.notify()
        return job

    def _start(self) -> None:
        """Start the thread, and again in a process that was forked off since."""
        if self._pid == os.getpid():
            return
        self._began = None
        thread = threading.Thread(
            target=self._run, name="imagegate-audit-pipe", daemon=True
        )
        thread.start()
        self._thread, self._pid = thread, os.getpid()

    def withdraw(self, job: Job) -> bool:
        """Take a job back, unless it was begun."""
        with self._changed:
            if job not in self._jobs:
                return False
            self._jobs.remove(job)
            self._size -= job.size
        return True

    def stop(self, patience: float) -> list[Job]:
        """Write what waits, for a while, and return what could not be written."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(patience)
            if self._thread.is_alive():
                return self._give_up()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return self._give_up()

    def _give_up(self) -> list[Job]:
        with self._changed:
            left, self._jobs = list(self._jobs), deque()
        return left

    def _run(self) -> None:
        while (job := self._next()) is not None:
            error: OSError | None = None
            try:
                for line in job.lines:
                    self._write(line)
            except OSError as why:
                error = why
            self._began = None
            job.told(error)

    def _next(self) -> Job | None:
        with self._changed:
            while not self._jobs and not self._stopping:
                self._changed.wait()
            if not self._jobs:
                return None
            job = self._jobs.popleft()
            self._size -= job.size
            self._began = time.monotonic()
        return job

    def _write(self, line: bytes) -> None:
        data = b"\n" + line if self._torn else line
        written = 0
        try:
            while written < len(data):
                written += self._write_some(data[written:])
                self._began = time.monotonic()
        finally:
            if written:
                self._torn = written < len(data)

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:  # somebody else made it non-blocking
            waiting = select.poll()
            waiting.register(self._fd, select.POLLOUT)
            waiting.poll()
            return 0
