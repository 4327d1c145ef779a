"""The file of keys on disk: who may read it, and how it is changed.

It holds no key, but whoever can write to it can let anybody in, so it must be the
owner's alone to write. A change is written beside it, synced, and renamed over it,
under a lock: a reader sees the file before or after, and of two administrators one
waits for the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from imagegate.identity.apikey import Keys, KeysError, dump_keys, load_keys
from imagegate.identity.secret import mint_hash_key
from imagegate.named_file import open_at_once

MOST_BYTES: Final = 64 * 1024 * 1024
_LOCK_SECONDS: Final = 10.0
_OPEN: Final = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP


class BusyError(Exception):
    """Somebody else changes the file, and does not come to an end."""


def read_keys(file: Path) -> Keys:
    """Read a file of keys.

    Raises:
        OSError: When it cannot be read.
        KeysError: When others could have written it, or it holds something else.
    """
    with open(file, "rb", opener=open_at_once) as opened:
        found = os.fstat(opened.fileno())
        problem = why_open(found)
        if problem is not None:
            raise KeysError([problem])
        return load_keys(opened.read(MOST_BYTES))


def why_open(found: os.stat_result) -> str | None:
    """Say who else could write to a file, or read it; a group may read."""
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    if os.geteuid() and found.st_uid not in {0, os.geteuid()}:
        return "it belongs to another user, who could add keys: chown it"
    if mode & _OPEN:
        return (
            f"it is open to others (mode {mode:04o}): chmod 600, or 640 for a "
            "gateway that reads it by its group"
        )
    return None


def change_keys(file: Path, change: Callable[[Keys], Keys]) -> None:
    """Change a file of keys, or begin one.

    Args:
        file: The file; a link stays one.
        change: Returns the new keys, given those that are there now.

    Raises:
        OSError: When it cannot be read or written.
        KeysError: When what is there is no such file.
        BusyError: When somebody else holds the lock.
    """
    file = Path(os.path.realpath(file))
    with _locked(file):
        try:
            before = file.stat()
            keys = read_keys(file)
        except FileNotFoundError:
            before, keys = None, Keys(mint_hash_key())
        _replace(file, dump_keys(change(keys)), before)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock of a file: one of its own, for the file itself is replaced."""
    lock = file.with_name(f".{file.name}.lock")
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + _LOCK_SECONDS
        while not _lock(fd):
            if time.monotonic() > end:
                raise BusyError(f"{lock} is held by another process")
            time.sleep(0.02)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(file: Path, data: bytes, before: os.stat_result | None) -> None:
    """Write a file anew, with the owner and the mode that it had."""
    fd, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 0600
    try:
        with open(fd, "wb") as opened:  # noqa: PTH123 - what `mkstemp` opened
            opened.write(data)
            if before is not None:
                _keep_owner(fd, before)
            opened.flush()
            os.fsync(fd)
        os.replace(name, file)  # noqa: PTH105 - both are names here
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - the same
        raise
    _sync_directory(file.parent)


def _keep_owner(fd: int, before: os.stat_result) -> None:
    """Give a file to whom its forerunner belonged; a gateway may read it by its group.

    Raises:
        OSError: When that cannot be: the gateway might not be able to read it.
    """
    made = os.fstat(fd)
    if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(fd, before.st_uid, before.st_gid)
    os.fchmod(fd, stat.S_IMODE(before.st_mode))


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
