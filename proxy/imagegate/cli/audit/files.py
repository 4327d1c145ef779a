"""Which files a command is to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from imagegate.audit.logfile import PACKED, PLAIN, readable_in
from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain


def trail_files(named: Iterable[Path]) -> Sequence[Path]:
    """Return the files that were named, and those in the folders that were.

    Raises:
        typer.Exit: When one is not there, or there is nothing to read.
    """
    found: list[Path] = []
    for path in named:
        if path.is_dir():
            found += readable_in(path)
            for each in path.glob(f"[!.]*{PLAIN}.*"):
                if not each.name.endswith(PLAIN + PACKED):
                    complain(f"{each.name} is not read: unpack it")
        elif path.is_file():
            found.append(path)
        else:
            complain(f"there is no file or folder {str(path)!r}")
            raise typer.Exit(Exit.USAGE)
    if not found:
        complain(f"no files of an audit trail there (*{PLAIN}, *{PLAIN}{PACKED})")
        raise typer.Exit(Exit.USAGE)
    return found
