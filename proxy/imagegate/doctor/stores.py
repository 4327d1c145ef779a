"""Where counters and judgements are kept, and what workers share: can it be written?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from imagegate.doctor.finding import Finding
from imagegate.gateway.folder import NOWHERE
from imagegate.settings import Settings

AREA: Final = "stores"
_BYTES: Final = 65_536
"""What a file of SQLite takes from the start."""


def examine_stores(settings: Settings) -> Iterator[Finding]:
    """Write where the gateway will; it does not start where it cannot."""
    for section, file in (
        ("state", settings.state.file),
        ("quotas", settings.quotas.file),
    ):
        if file is not None and file.parent.is_dir():  # else the settings say so
            yield from _kept(section, file)
    if settings.listen.workers > 1:
        yield from _shared()


def _kept(section: str, file: Path) -> Iterator[Finding]:
    """Begin no file: it would be that of whoever looks."""
    problem, why = _written(file.parent), ""
    if file.exists() and not os.access(file, os.R_OK | os.W_OK):
        why = f"{file} cannot be read and written"
    elif problem is not None:
        why = f"{file.parent} cannot be written to: {problem}"
    if why:
        yield Finding(
            weight="broken",
            area=AREA,
            found=f"`{section}.file`: {why}",
            better="the gateway does not start: give its user the file and its "
            "directory",
        )


def _shared() -> Iterator[Finding]:
    problem = _written(None)
    if problem:
        yield Finding(
            weight="broken",
            area=AREA,
            found=f"workers share files, and there is no place for them: {problem}",
            better=NOWHERE,
        )


def _written(directory: Path | None) -> str | None:
    """Say why a few bytes cannot be written; without a directory, to the system's."""
    try:
        with tempfile.TemporaryFile(dir=directory, prefix=".imagegate-doctor-") as file:
            os.write(file.fileno(), bytes(_BYTES))
    except OSError as error:
        return error.strerror
    return None
