"""Compressing closed files."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from imagegate.audit.logfile import PACKED, LogFile, sync_directory
from imagegate.audit.reading import open_log
from imagegate.zstd import zstd

_PIECE: Final = 1 << 16
_OPTIONS: Final[dict[int, int]] = {
    zstd.CompressionParameter.checksum_flag: 1,
    # Records resemble the last hundred. The usual 2 MB would find no more in
    # them, and stay with the process.
    zstd.CompressionParameter.window_log: 18,
}


def pack(file: LogFile, *, stop: Callable[[], bool]) -> bool:
    """Put a compressed file in the place of one that is claimed.

    The file goes only after what replaces it is on the disk and has been read back.

    Args:
        file: Closed, and held by its lock.
        stop: Asked now and then whether to give up.

    Returns:
        Whether it was done.

    Raises:
        OSError: When it could not be done; the file is as it was.
    """
    packed = file.path.with_name(file.path.name + PACKED)
    hidden = file.path.with_name(f".{packed.name}.new")
    try:
        digest = _compress(file.path, hidden, stop)
        if digest is None or digest != _digest_of(hidden, stop):
            return False
        times = file.path.stat()
        os.utime(hidden, ns=(times.st_atime_ns, times.st_mtime_ns))
        hidden.replace(packed)
    finally:
        hidden.unlink(missing_ok=True)
    sync_directory(packed.parent)
    file.path.unlink()
    return True


def is_superfluous(path: Path) -> bool:
    """Tell whether what is packed beside a file is the file, to its last byte.

    Who looks after the machine may have packed it too, while it was written, or on a
    disk that was full.
    """
    packed = path.with_name(path.name + PACKED)
    with contextlib.suppress(OSError, EOFError, zstd.ZstdError), path.open("rb") as raw:
        return (
            _digest_of(packed, lambda: False)
            == hashlib.file_digest(raw, "sha256").digest()
        )
    return False


def _compress(path: Path, to: Path, stop: Callable[[], bool]) -> bytes | None:
    to.unlink(missing_ok=True)
    fd = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    digest = sha256()
    with open_log(path) as source, os.fdopen(fd, "wb") as raw:
        with zstd.ZstdFile(raw, "w", options=_OPTIONS) as target:
            while piece := source.read(_PIECE):
                if stop():
                    return None
                digest.update(piece)
                target.write(piece)
        raw.flush()
        os.fsync(raw.fileno())
    return digest.digest()


def _digest_of(path: Path, stop: Callable[[], bool]) -> bytes | None:
    digest = sha256()
    with zstd.open(path, "rb") as source:
        while piece := source.read(_PIECE):
            if stop():
                return None
            digest.update(piece)
    return digest.digest()
