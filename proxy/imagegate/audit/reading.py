"""Reading files of a journal, plain or compressed, in bounded memory."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from imagegate.audit.logfile import PACKED
from imagegate.zstd import zstd

LONGEST: Final = 16 << 20
"""More than any record takes; what has no newline within it comes in pieces."""
_BUFFER: Final = 1 << 18
_TAIL: Final = 4096
"""More than the last line of a closed file takes."""


class UnreadableError(Exception):
    """A compressed file cannot be decompressed any further."""


def open_log(path: Path) -> BinaryIO:
    """Open a file for reading, whatever its form."""
    if not path.name.endswith(PACKED):
        return path.open("rb", buffering=_BUFFER)
    return io.BufferedReader(cast("io.RawIOBase", zstd.ZstdFile(path)), _BUFFER)


def lines_in(stream: BinaryIO) -> Iterator[bytes]:
    """Yield lines with their newline; the last may have none.

    Raises:
        UnreadableError: When the stream is compressed and broken.
    """
    try:
        yield from iter(partial(stream.readline, LONGEST), b"")
    except (zstd.ZstdError, EOFError) as error:
        raise UnreadableError(str(error)) from error


def last_line(path: Path) -> bytes:
    """Return the last line, if it is short, or of a compressed file in any case.

    Raises:
        UnreadableError: When the file is compressed and broken.
    """
    with open_log(path) as stream:
        if path.name.endswith(PACKED):
            return next(iter(deque(lines_in(stream), maxlen=1)), b"")
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - _TAIL))
        found = stream.read().splitlines(keepends=True)
    return found[-1] if found and (size <= _TAIL or len(found) > 1) else b""
