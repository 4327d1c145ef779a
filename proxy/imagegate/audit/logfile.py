"""One file of the journal: whole lines or none, locked for as long as it is open.

A file is created under a hidden name, locked, and then renamed, so that nobody ever
sees it unlocked before it has been closed. A file that can be locked has lost its
process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import threading
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, TypeAlias

NAME: Final = re.compile(
    r"(?P<time>[0-9]{8}T[0-9]{6}\.[0-9]{6}Z)-(?P<instance>[0-9a-f]{16})\.jsonl"
)
PLAIN: Final = ".jsonl"
PACKED: Final = ".zst"
"""What is added to the name of a file that was compressed."""
CROWDED: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""Of these errors it is not the file's fault: there is no descriptor to be had."""
_PIECE: Final = 1 << 20
_FLAGS: Final = os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW

State: TypeAlias = Literal["ours", "moved", "deleted", "altered", "failed"]


class PartlyWrittenError(OSError):
    """An append failed, and what it had written could not be taken back.

    Attributes:
        lines: How many of the lines are in the file nevertheless.
    """

    def __init__(self, cause: OSError, lines: int) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.lines = lines


def new_name(instance: str, nanoseconds: int) -> str:
    """Name a file so that names sort by time."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    whole = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    return f"{whole}.{rest // 1000:06d}Z-{instance}.jsonl"


def instance_of(path: Path) -> str | None:
    """Return whose file it is by its name; None when it is none of a journal."""
    found = NAME.fullmatch(path.name.removesuffix(PACKED))
    return found["instance"] if found else None


def files_in(directory: Path) -> list[Path]:
    """Return the files of journals in a directory, plain and packed, by time."""
    return list(filter(instance_of, readable_in(directory)))


def readable_in(directory: Path) -> list[Path]:
    """Return what may hold records, whoever named it, by name and so by time.

    Of a file that is there twice the plain one comes last: anybody may have packed a
    part of it, and of a copy that nothing is removed from it was made first.
    """
    named = (
        each
        for each in directory.iterdir()
        if each.name.endswith((PLAIN, PLAIN + PACKED))
    )
    return sorted((each for each in named if each.is_file()), key=_place)


def _place(path: Path) -> tuple[str, bool]:
    return path.name.removesuffix(PACKED), not path.name.endswith(PACKED)


def sync_directory(directory: Path) -> None:
    """Make what was created, renamed or deleted in a directory last."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Torn:
    """Bytes that are no line: how many, and their hash; not the bytes themselves."""

    def __init__(self, data: bytes = b"") -> None:
        self.size = 0
        self._digest = sha256()
        self.add(data)

    def add(self, data: bytes) -> None:
        """Take more of them."""
        self.size += len(data)
        self._digest.update(data)

    def copy(self) -> Torn:
        """Return the same, to go on with."""
        other = Torn()
        other.size, other._digest = self.size, self._digest.copy()
        return other

    @property
    def hash(self) -> str | None:
        """SHA-256 of them; None when there are none."""
        return self._digest.hexdigest() if self.size else None


class LogFile:
    """A file that is open for appending, with an exclusive lock.

    Attributes:
        size: Up to the end of the last whole line.
        torn: What a failed append left behind that; normally nothing.
    """

    def __init__(self, path: Path, fd: int) -> None:
        """Take over a descriptor that is locked already."""
        found = os.fstat(fd)
        self.path = path
        self.fd = fd
        self.size = found.st_size
        self.torn = Torn()
        self._whole = True
        self._identity = (found.st_dev, found.st_ino)
        self._io = threading.Lock()
        self._unsynced: OSError | None = None
        self._fresh = self.size == 0

    @classmethod
    def create(cls, path: Path) -> LogFile:
        """Create a file; nobody else sees it before it is locked.

        Raises:
            OSError: When it cannot be created, or is there already.
        """
        hidden = path.with_name(f".{path.name}.new")
        fd = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                raise FileExistsError(errno.EEXIST, "exists", str(path))
            hidden.rename(path)
        except OSError:
            with contextlib.suppress(OSError):
                hidden.unlink()
            os.close(fd)
            raise
        return cls(path, fd)

    @classmethod
    def claim(cls, path: Path) -> LogFile | None:
        """Take over a file that nobody holds; None when somebody does, or it went.

        Raises:
            OSError: When it cannot be opened.
        """
        try:
            fd = os.open(path, os.O_RDWR | _FLAGS)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        file = cls(path, fd)
        if file.state() != "ours" or file.place() != "ours":
            file.close()
            return None
        return file

    # -- writing ----------------------------------------------------------------

    def append(self, lines: Sequence[bytes]) -> None:
        """Append lines, all or none.

        Raises:
            PartlyWrittenError: When some are in the file and could not be taken out.
            OSError: When none is.
        """
        start = b"" if self._whole and not self.torn.size else b"\n"
        data = start + b"".join(lines)
        written = 0
        try:
            while written < len(data):
                written += os.write(self.fd, data[written:] if written else data)
        except OSError as error:
            if written and not self._cut_to(self.size + self.torn.size):
                kept = self._account(data[:written], start, lines)
                raise PartlyWrittenError(error, kept) from error
            raise
        self.size += self.torn.size + len(data)
        self._whole = True
        if self.torn.size:
            self.torn = Torn()

    def mend(self) -> None:
        """Try once more to take back what a failed append left."""
        if self.torn.size and self._cut_to(self.size):
            self.torn = Torn()

    def end_at(self, size: int, *, whole: bool) -> None:
        """Take what is behind `size` for torn; `mend` cuts it off.

        Args:
            size: Where the last line ends.
            whole: Whether that line has its newline.
        """
        self.size, self._whole, self.torn = size, whole, Torn()
        with open(self.fd, "rb", closefd=False) as stream:
            stream.seek(size)
            while piece := stream.read(_PIECE):
                self.torn.add(piece)

    def _cut_to(self, size: int) -> bool:
        try:
            os.ftruncate(self.fd, size)
        except OSError:
            return False
        return True

    def _account(self, data: bytes, start: bytes, lines: Sequence[bytes]) -> int:
        """Account for what an append wrote before it failed, and say which lines.

        A file with the append-only attribute cannot be cut: whole lines stay, and
        the rest of a line is ended by a newline before the next one.
        """
        before = self.size + self.torn.size
        kept, end = 0, len(start)
        # The newline alone may be what is missing; the line itself is whole.
        while kept < len(lines) and end + len(lines[kept]) - 1 <= len(data):
            end += len(lines[kept])
            kept += 1
        if kept:
            self.size, self.torn = before + min(end, len(data)), Torn(data[end:])
            self._whole = end <= len(data)
        elif start and not self.torn.size:
            self.size, self.torn, self._whole = before + 1, Torn(data[1:]), True
        else:
            self.torn.add(data)
        return kept

    # -- what befalls it --------------------------------------------------------

    def state(self) -> State:
        """Tell whether the descriptor still is the file that it was."""
        try:
            found = os.fstat(self.fd)
        except OSError:
            return "failed"
        if (found.st_dev, found.st_ino) != self._identity:
            return "failed"  # closed by somebody, and the number used again
        if not found.st_nlink:
            return "deleted"
        if found.st_size != self.size + self.torn.size:
            return "altered"
        return "ours"

    def place(self) -> State:
        """Tell whether the file still has its name."""
        try:
            found = self.path.lstat()
        except OSError:
            return "moved"
        same = (found.st_dev, found.st_ino) == self._identity
        return "ours" if same else "moved"

    # -- making it last ---------------------------------------------------------

    def sync(self) -> None:
        """Make what was appended last; from any thread.

        After a failure the kernel may have dropped the pages and say so only once,
        so the file is never trusted again.

        Raises:
            OSError: When it could not be, now or before.
        """
        with self._io:
            if self._unsynced is not None:
                raise self._unsynced
            if self.fd < 0:
                return
            try:
                os.fdatasync(self.fd)
                if self._fresh:
                    sync_directory(self.path.parent)
                    self._fresh = False
            except OSError as error:
                # What was deleted with its directory has nothing to last in, and
                # what has no descriptor left for it was not tried.
                if error.errno not in (errno.ENOENT, *CROWDED):
                    self._unsynced = error
                raise

    def close(self) -> None:
        """Let go of the file and its lock."""
        with self._io:
            # Of a number that is another file's by now, nothing may be closed.
            if self.fd >= 0 and self.state() != "failed":
                os.close(self.fd)
            self.fd = -1

    def discard(self) -> None:
        """Take back the creation of a file that nothing was written to."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.close()
