"""The thread that looks after the journal: ticks, compression, retention."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Empty
from typing import Final, Literal, NamedTuple

from imagegate import log
from imagegate.audit.chain import NO_LINE, entries_of, hash_of, read_line
from imagegate.audit.events import RetiredFile, RetiredRecord
from imagegate.audit.ledger import Ledger
from imagegate.audit.logfile import PACKED, LogFile, files_in, instance_of
from imagegate.audit.options import Options
from imagegate.audit.packing import pack
from imagegate.audit.reading import UnreadableError, last_line
from imagegate.audit.recovery import is_closed, recover
from imagegate.audit.sink import AuditUnavailableError

_ROUND: Final = 60.0  # seconds between two looks at all the files
_AT_ONCE: Final = 32  # files in one record


class _Old(NamedTuple):
    path: Path
    size: int
    reason: Literal["age", "size"]


class Keeper:
    """Looks after a ledger and its directory until it is stopped."""

    def __init__(
        self,
        directory: Path,
        ledger: Ledger,
        options: Options,
        tick: Callable[[], None],
    ) -> None:
        """Start the thread; `tick` is called every `options.tick_seconds`."""
        self._directory = directory
        self._ledger = ledger
        self._options = options
        self._tick = tick
        self._stop = threading.Event()
        self._round_at = time.monotonic()
        self.trouble: str | None = None
        self.unrecovered: list[str] = []
        self._thread = threading.Thread(
            target=self._run, name="imagegate-audit-keeper", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread; compression that is under way is given up."""
        self._stop.set()
        self._thread.join()
        self._let_go()

    def _run(self) -> None:
        while not self._stop.wait(self._options.tick_seconds):
            with contextlib.suppress(AuditUnavailableError):
                self._tick()
            if self._let_go() or time.monotonic() >= self._round_at:
                self._round_at = time.monotonic() + _ROUND
                self._look_around()

    def _look_around(self) -> None:
        try:
            if self.unrecovered:
                self.unrecovered = recover(self._directory, by=self._ledger.instance)
            if self._options.compress:
                self._pack_closed()
            self._retire()
        except Exception as error:  # noqa: BLE001 - the edge of a thread: it must go on
            trouble = str(error) or repr(error)
            if trouble != self.trouble:
                cause = error.__cause__ or error
                reason = getattr(cause, "strerror", None)
                log.warning(
                    "imagegate.audit_not_kept", reason=reason, **log.place_of(cause)
                )
            self.trouble = trouble
        else:
            self.trouble = None

    def _let_go(self) -> bool:
        """Make files last that are done with, and give up their locks."""
        some = False
        with contextlib.suppress(Empty):
            while True:
                file = self._ledger.finished.get_nowait()
                with contextlib.suppress(OSError):
                    file.sync()
                file.close()
                some = True
        return some

    # -- compression ------------------------------------------------------------

    def _pack_closed(self) -> None:
        paths = files_in(self._directory)
        latest = {instance_of(path): path for path in paths}
        for path in paths:
            if path.name.endswith(PACKED) or self._stop.is_set():
                continue
            if is_closed(path) or latest[instance_of(path)] != path:
                self._pack(path)

    def _pack(self, path: Path) -> None:
        file = LogFile.claim(path)
        if file is None:
            return
        try:
            pack(file, stop=self._stop.is_set)
        finally:
            file.close()

    # -- retention --------------------------------------------------------------

    def _retire(self) -> None:
        """Delete what is too old or too much, and record it before.

        Neither an open file nor one that was not closed is ever among them.
        """
        old = list(self._old())
        while old and not self._stop.is_set():
            some, old = old[:_AT_ONCE], old[_AT_ONCE:]
            with contextlib.ExitStack() as locks:
                held = [each for each in some if _hold(each.path, locks)]
                self._delete([each for each in held if _is_done(each.path)])

    def _old(self) -> Iterator[_Old]:
        """Yield what has to go, the oldest first."""
        keep, age = self._options.keep_bytes, self._options.keep_seconds
        if keep is None and age is None:
            return
        files = list(states_of(files_in(self._directory)))
        total = sum(each.st_size for _, each in files)
        for path, found in files:
            if not _is_done(path):
                continue  # it counts, but cannot go
            if age is not None and time.time() - found.st_mtime > age:
                yield _Old(path, found.st_size, "age")
            elif keep is not None and total > keep:
                yield _Old(path, found.st_size, "size")
            else:
                continue
            total -= found.st_size

    def _delete(self, files: list[_Old]) -> None:
        for reason in ("age", "size"):
            some = [each for each in files if each.reason == reason]
            if not some:
                continue
            retired = tuple(map(_retired, some))
            self._ledger.append(
                entries_of([RetiredRecord(reason=reason, files=retired)])
            )
            self._ledger.sync()
            for each in some:
                each.path.unlink(missing_ok=True)


def states_of(paths: Iterable[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield files and what is known of them; another process may have packed one."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            yield path, path.stat()


def _is_done(path: Path) -> bool:
    return path.name.endswith(PACKED) or is_closed(path)


def _retired(old: _Old) -> RetiredFile:
    name = old.path.name.removesuffix(PACKED)
    with contextlib.suppress(UnreadableError, *NO_LINE):
        line = last_line(old.path)
        return RetiredFile(
            file=name,
            bytes=old.size,
            last_seq=read_line(line).seq,
            last_hash=hash_of(line),
        )
    return RetiredFile(file=name, bytes=old.size, last_seq=-1, last_hash="")


def _hold(path: Path, locks: contextlib.ExitStack) -> bool:
    """Lock a file if nobody holds it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        locks.callback(os.close, fd)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(fd).st_nlink > 0
