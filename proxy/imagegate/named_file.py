"""A file that an operator names: read whole, without waiting for ever.

A policy or settings may come out of a pipe, as `<(…)` and /dev/stdin do. One that
says nothing, or never ends, gets its time and no more. What is read anew while a
gateway runs has to be a regular file: a pipe gives what it has only once.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import Final

PIPE_SECONDS = 30.0
"""What a pipe may take to its end."""
SETTLED: Final = 2_000_000_000
"""Nanoseconds after which a file system tells a second writing by its time."""
_PIECE: Final = 65_536
_TRIES: Final = 20
_BETWEEN: Final = 0.005
"""How often, and how many seconds apart, a file is read that changes meanwhile."""


def read_named(file: Path, most: int) -> bytes:
    """Read a file or a pipe to its end, or as many bytes as are wanted.

    Raises:
        OSError: When it cannot be read, or does not end.
    """
    with open(file, "rb", opener=open_at_once) as opened:
        if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            return _at_one_moment(opened.fileno(), most)
        return _drained(opened.fileno(), most)


def read_lasting(file: Path, most: int = -1) -> bytes:
    """Read a file that can be read again: no pipe and no device.

    Raises:
        OSError: When it cannot be read, or is something else.
    """
    with open(file, "rb", opener=open_at_once) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file, as a pipe is not")
        return _at_one_moment(opened.fileno(), most)


def writing_of(file: Path) -> tuple[int, ...] | None:
    """Tell one writing of a file from another; None while it is too young for that.

    Raises:
        OSError: When there is no such file.
    """
    found = os.stat(file)  # noqa: PTH116 - the cheaper spelling, for each request
    changed = max(found.st_mtime_ns, found.st_ctime_ns)
    if time.time_ns() - changed <= SETTLED:
        return None
    return changed, found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


def open_at_once(path: str, flags: int) -> int:
    """Open a file; not even a pipe that nobody writes into is waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def _at_one_moment(descriptor: int, most: int) -> bytes:
    """Read a regular file as it is, not half before and half after it was written."""
    for _ in range(_TRIES):
        before = _state(descriptor)
        data = _from_the_start(descriptor, most)
        if _state(descriptor) == before:
            return data
        time.sleep(_BETWEEN)
    raise BlockingIOError(errno.EAGAIN, "it changes while it is read")


def _state(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_size, found.st_mtime_ns


def _from_the_start(descriptor: int, most: int) -> bytes:
    data = bytearray()
    while len(data) != most:
        left = _PIECE if most < 0 else min(_PIECE, most - len(data))
        piece = os.pread(descriptor, left, len(data))
        if not piece:
            break
        data += piece
    return bytes(data)


def _drained(descriptor: int, most: int) -> bytes:
    """Read what comes, for as long as it may take."""
    over = time.monotonic() + PIPE_SECONDS
    data = bytearray()
    while len(data) < most:
        _await(descriptor, over)
        piece = os.read(descriptor, min(_PIECE, most - len(data)))
        if not piece:
            break
        data += piece
    return bytes(data)


def _await(descriptor: int, over: float) -> None:
    """Wait until there is something, or its end; who types may take any time."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    left = None if os.isatty(descriptor) else max(0.0, over - time.monotonic())
    if not ready.poll(left and left * 1_000):
        took = f"it is a pipe that did not end within {PIPE_SECONDS:g} seconds"
        raise TimeoutError(errno.ETIMEDOUT, took)
