"""Files that hold a secret: closed to everybody else, and not empty."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from imagegate.named_file import read_lasting
from imagegate.settings.problems import Found


def check_secret(
    file: Path, path: str, read: Callable[[Path], object], what: str
) -> Found:
    """Check that a file is closed to others, and holds what it is for.

    Args:
        file: The file.
        path: The setting that names it.
        read: Reads it; raises `ValueError` for what is none.
        what: What it is for: a key.
    """
    found = list(check_closed(file, path))
    yield from found
    try:
        if not found:
            read(file)
    except ValueError as error:
        yield "no-credential", path, f"{file} holds no {what}: {error}"


def check_closed(file: Path, path: str) -> Found:
    """Check that a file can be read, and not by everybody."""
    try:
        read_lasting(file, 1)
        mode = file.stat().st_mode
    except OSError as error:
        yield "unreadable-file", path, f"{file} cannot be read: {error.strerror}"
        return
    if mode & stat.S_IRWXO:
        yield (
            "open-secret",
            path,
            (
                f"{file} is open to every user of this machine (mode "
                f"{stat.S_IMODE(mode):04o}): chmod o= {file}; in Kubernetes, say "
                "defaultMode: 0440 for the volume"
            ),
        )
