"""Which files a command is to read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import typer

from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain

PLAIN: Final = ".jsonl"
PACKED: Final = ".jsonl.zst"


def trail_files(named: Iterable[Path]) -> Sequence[Path]:
    """Return the files that were named, and those in the folders that were.

    Raises:
        typer.Exit: When one is not there, or there is nothing to read.
    """
    found: list[Path] = []
    for path in named:
        if path.is_dir():
            found += inside(path)
            for each in path.glob(f"[!.]*{PLAIN}.*"):
                if not each.name.endswith(PACKED):
                    complain(f"{each.name} is not read: unpack it")
        elif path.is_file():
            found.append(path)
        else:
            complain(f"there is no file or folder {str(path)!r}")
            raise typer.Exit(Exit.USAGE)
    if not found:
        complain(f"no files of an audit trail there (*{PLAIN}, *{PACKED})")
        raise typer.Exit(Exit.USAGE)
    return found


def inside(folder: Path) -> list[Path]:
    """Return a folder's trail files, the oldest first: their names sort by time.

    A file may be there twice: packed and not yet removed, or, in a copy that nothing is
    removed from, packed, and as it was when the copy was made first.
    """
    return sorted(
        each for each in folder.iterdir() if each.name.endswith((PLAIN, PACKED))
    )
