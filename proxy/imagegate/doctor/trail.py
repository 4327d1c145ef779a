"""Where records go: whether they can be written, how fast, and for how long."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from imagegate.audit.logfile import sync_directory
from imagegate.doctor.finding import Finding
from imagegate.settings import AuditSettings

AREA: Final = "records"
_SYNCS: Final = 5
_SLOW: Final = 0.02
_LITTLE: Final = 2_000_000_000


def examine_trail(settings: AuditSettings) -> Iterator[Finding]:
    """Look at the directory of the records."""
    directory = settings.directory
    if settings.mode == "batch":
        yield Finding(
            weight="open",
            area=AREA,
            found="`audit.mode = batch`: a request may go on before it is recorded, "
            "and a crash or a full disk loses what waits",
            better="`blocking` refuses what cannot be recorded",
        )
    if directory is None:
        yield Finding(
            weight="advice",
            area=AREA,
            found="records go to standard output only, where nothing proves that none "
            "is missing",
            better="name `audit.directory`",
        )
        return
    if settings.stdout == "nothing":
        yield Finding(
            weight="advice",
            area=AREA,
            found="nobody vouches for the end of the files: it could be cut off unseen",
            better="`audit.stdout = checkpoints`, kept on another machine",
        )
    yield from _access(directory)
    yield from _writing(directory, strict=settings.mode == "blocking-strict")
    yield from _space(settings, directory)


def _access(directory: Path) -> Iterator[Finding]:
    if directory.exists() and directory.stat().st_mode & stat.S_IRWXO:
        yield Finding(
            weight="danger",
            area=AREA,
            found=f"every user of this machine may look into {directory}",
            better=f"chmod o= {directory}",
        )


def _writing(directory: Path, *, strict: bool) -> Iterator[Finding]:
    """Write a few bytes where the files will be, lock them, and sync them."""
    near = directory if directory.exists() else directory.parent
    took: list[float] = []
    try:
        with tempfile.TemporaryFile(dir=near, prefix=".imagegate-doctor-") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            if near == directory:
                sync_directory(directory)
            for _ in range(_SYNCS):
                begun = time.perf_counter()
                os.write(file.fileno(), bytes(512))
                os.fsync(file.fileno())
                took.append(time.perf_counter() - begun)
    except OSError as error:
        yield Finding(
            weight="broken",
            area=AREA,
            found=f"{near} cannot be written to, locked and synced: {error.strerror}",
            better="requests would be refused: give the gateway's user the directory, "
            "on a disk of the machine",
        )
        return
    median = statistics.median(took)
    slow = strict and median > _SLOW
    yield Finding(
        weight="advice" if slow else "fine",
        area=AREA,
        found=f"{near} takes a record, and syncs it in {median * 1000:.1f} ms",
        better="each request waits for that under `blocking-strict`" if slow else "",
    )


def _space(settings: AuditSettings, directory: Path) -> Iterator[Finding]:
    near = directory if directory.exists() else directory.parent
    try:
        free = shutil.disk_usage(near).free
    except OSError:
        return  # told above
    files = settings.files
    needed = 2 * files.rotate_bytes
    if free < needed:
        yield Finding(
            weight="broken",
            area=AREA,
            found=f"{free / 1e6:,.0f} MB are free at {near}, two files take "
            f"{needed / 1e6:,.0f} MB",
            better="make room: when it is full, requests are refused",
        )
    elif files.keep_bytes is not None and free < files.keep_bytes - _size(directory):
        yield Finding(
            weight="danger",
            area=AREA,
            found=f"{free / 1e9:,.1f} GB are free at {near}, less than the files may "
            "still grow by `audit.files.keep_bytes`",
            better="make room, or keep less",
        )
    elif files.keep_bytes is None and files.keep_seconds is None:
        yield Finding(
            weight="danger" if free < _LITTLE else "advice",
            area=AREA,
            found=f"nothing ends the growth of {directory}; "
            f"{free / 1e9:,.1f} GB are free",
            better="set `audit.files.keep_seconds` or `keep_bytes`",
        )


def _size(directory: Path) -> int:
    if not directory.exists():
        return 0
    return sum(file.stat().st_size for file in directory.iterdir() if file.is_file())
