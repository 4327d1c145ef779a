"""Verify: prove the chains of files, or name the first line that breaks one.

What a chain shows: that no line was changed, taken out, put in or moved. What it
cannot show by itself is its own end: whoever can write the files can cut them off,
or compute all hashes behind a point anew. A checkpoint that was taken elsewhere
closes that up to its line. What remains unseen is said in the report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from imagegate.audit.chain import NO_LINE
from imagegate.audit.chains import Chains
from imagegate.audit.events import CheckpointRecord
from imagegate.audit.logfile import PACKED, files_in
from imagegate.audit.proof import FileProof, Wanted
from imagegate.audit.report import Report

_read_checkpoint: Final = msgspec.json.Decoder(CheckpointRecord).decode


def verify(
    paths: Iterable[Path],
    *,
    checkpoints: Iterable[CheckpointRecord] = (),
    partial: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Prove the chains of files, in any order, plain or compressed, at any size.

    Args:
        paths: Files, or directories of them.
        checkpoints: Such as were taken elsewhere: see `read_checkpoints`.
        partial: Whether files were left out knowingly; then it is no problem that
            they are not here, but said to be unseen.
        progress: Told now and then how many more lines have been read.

    Raises:
        OSError: When a path is not there, or cannot be read.
    """
    taken = list(checkpoints)
    wanted: dict[tuple[str, int], set[str]] = defaultdict(set)
    for each in taken:
        wanted[each.chain, each.last_seq].add(each.last_hash)
    wanted = dict(wanted)  # no longer one that grows when it is asked
    files = list(_read(list(expand(paths)), wanted, progress or (lambda _: None)))
    return Chains(files, taken, partial=partial).report()


def _read(
    paths: Sequence[Path], wanted: Wanted, progress: Callable[[int], None]
) -> Iterator[FileProof]:
    """Read files; what is retired meanwhile is as if it had been before.

    Raises:
        OSError: When one went that no line says to be retired.
    """
    gone: dict[str, OSError] = {}
    told: set[str] = set()
    for path in paths:
        file = FileProof(path, wanted)
        try:
            file.read(progress)
        except FileNotFoundError as error:
            gone[path.name.removesuffix(PACKED)] = error
        else:
            told |= {each.file for _, each in file.retired}
            yield file
    for name in gone.keys() - told:
        raise gone[name]


def expand(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are meant, and those of the directories that are."""
    for path in paths:
        if path.is_dir():
            yield from files_in(path)
        else:
            yield path


def read_checkpoints(lines: Iterable[bytes]) -> Iterator[CheckpointRecord]:
    """Find checkpoints in the lines of another log; anything else is stepped over."""
    for line in lines:
        if b"imagegate.audit_checkpoint" in line:
            with suppress(*NO_LINE):
                yield _read_checkpoint(line)
