"""Recovery: files whose process is gone, and which it did not close.

A start claims them by their lock, takes care of a torn last line, closes the
decisions that will never see their completion, and closes the file; all of that in
the chain of the process that is gone. Nothing is read into memory whole.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from imagegate.audit.chain import (
    NO_LINE,
    Head,
    Line,
    entries_of,
    first_head,
    genesis,
    hash_of,
    link,
    read_line,
)
from imagegate.audit.events import (
    CLOSED,
    COMPLETION,
    DECISIONS,
    ClosedRecord,
    OpenedRecord,
    RecoveredRecord,
    Written,
    unknown_end,
)
from imagegate.audit.logfile import PACKED, LogFile, files_in, instance_of
from imagegate.audit.packing import is_superfluous
from imagegate.audit.reading import UnreadableError, last_line, lines_in, open_log
from imagegate.engine.records import Record

_STALE: Final = 60.0  # seconds after which a hidden file is nobody's any more
_read_record = msgspec.json.Decoder(Record).decode
_read_opened = msgspec.json.Decoder(OpenedRecord).decode


@dataclass
class Contents:
    """What a file holds, as far as recovery needs it.

    Attributes:
        head: Where its chain goes on; None when it has no line.
        size: Up to the end of the last line.
        whole: Whether that line has its newline.
        lines: How many there are.
        event: Of the last line.
        carried: Open decisions of earlier files when it was begun.
        open: Decisions in it without a completion in it.
        ended: Completions in it of decisions in earlier files.
    """

    head: Head | None = None
    size: int = 0
    whole: bool = True
    lines: int = 0
    event: str = ""
    carried: int = 0
    open: dict[str, Record] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def take(self, raw: bytes, line: Line) -> None:
        """Take a line."""
        self.head = Head(line.seq + 1, hash_of(raw))
        self.whole = raw.endswith(b"\n")
        self.lines += 1
        self.event = line.event
        if line.event in DECISIONS:
            record = _read_record(raw)
            self.open[record.decision_id] = record
        elif line.event == COMPLETION and line.decision_id is not None:
            if self.open.pop(line.decision_id, None) is None:
                self.ended.add(line.decision_id)
        elif line.event == "imagegate.audit_opened":
            self.carried = _read_opened(raw).open_decisions


def read_contents(path: Path) -> Contents:
    """Read a file through; what is no line is stepped over."""
    found, at = Contents(), 0
    with open_log(path) as stream, contextlib.suppress(UnreadableError):
        for raw in lines_in(stream):
            at += len(raw)
            with contextlib.suppress(*NO_LINE):
                line = read_line(raw)
                found.size = at
                found.take(raw, line)
    return found


def recover(directory: Path, *, by: str) -> list[str]:
    """Close what other processes left open, and say what could not be closed.

    Several may do so at once: each file is claimed by its lock.

    Args:
        directory: Where the files are.
        by: The instance that does it.
    """
    troubles = []
    for path in orphans(directory):
        try:
            _recover(path, by)
        except OSError as error:
            troubles.append(f"{path}: {error.strerror or error}")
    return troubles


def orphans(directory: Path) -> Iterator[Path]:
    """Yield files that are not closed and do not go on elsewhere."""
    try:
        paths = files_in(directory)
    except FileNotFoundError:
        return
    latest = {instance_of(path): path for path in paths}
    for path in latest.values():
        if not path.name.endswith(PACKED) and not is_closed(path):
            yield path


def is_closed(path: Path) -> bool:
    """Tell whether the last line of a file says that it is closed."""
    try:
        return read_line(last_line(path)).event == CLOSED
    except (OSError, UnreadableError, *NO_LINE):
        return False


def tidy(directory: Path) -> None:
    """Remove what a process left that died while it created or packed a file."""
    if not directory.exists():
        return  # the first start
    for path in directory.glob(".*.new"):
        meant = path.with_name(path.name[1:].removesuffix(".new"))
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > _STALE and instance_of(meant):
                path.unlink()
    for path in files_in(directory):
        if path.name.endswith(PACKED):
            _remove_original(path.with_name(path.name.removesuffix(PACKED)))


def _remove_original(path: Path) -> None:
    """Remove a file of which the compressed form holds all."""
    if path.exists() and (file := LogFile.claim(path)) is not None:
        if is_superfluous(path):
            path.unlink(missing_ok=True)
        file.close()


def _recover(path: Path, by: str) -> None:
    file = LogFile.claim(path)
    if file is None:
        return
    try:
        if not is_closed(path):  # it may have been until the lock was had
            _close(file, by)
            file.sync()
    finally:
        file.close()


def _close(file: LogFile, by: str) -> None:
    found = read_contents(file.path)
    file.end_at(found.size, whole=found.whole)
    torn = file.torn
    file.mend()
    records: list[Written] = []
    if found.head is None:
        found, opened = _begin_again(file.path)
        records.append(opened)
    missing = _gather_earlier(file.path, found)
    records += map(unknown_end, found.open.values())
    records.append(
        RecoveredRecord(
            recovered_by=by,
            torn_bytes=torn.size,
            torn_hash=torn.hash,
            torn_cut=torn.size > file.torn.size,
            decisions_closed=len(found.open),
            decisions_missing=missing,
        )
    )
    count = found.lines + len(records) + 1
    records.append(ClosedRecord(reason="recovered", lines=count))
    instance = instance_of(file.path) or ""
    lines, _ = link(found.head or first_head(instance), instance, entries_of(records))
    file.append(lines)


def _begin_again(path: Path) -> tuple[Contents, OpenedRecord]:
    """Write the first line of a file whose process did not come to it."""
    instance = instance_of(path) or ""
    found = Contents()
    opened = OpenedRecord(reason="recovered", file=path.name, genesis=genesis(instance))
    earlier = next(_earlier(path), None)
    if earlier is None:
        return found, opened
    before = read_contents(earlier)
    found.head = before.head
    found.carried = before.carried + len(before.open) - len(before.ended)
    return found, msgspec.structs.replace(
        opened,
        previous_file=earlier.name.removesuffix(PACKED),
        previous_hash=before.head.hash if before.head else None,
        open_decisions=found.carried,
    )


def _gather_earlier(path: Path, found: Contents) -> int:
    """Find the open decisions of earlier files; return how many are not there."""
    missing, ended = found.carried - len(found.ended), set(found.ended)
    for earlier in _earlier(path):
        if missing <= 0:
            break
        before = read_contents(earlier)
        still = {each: before.open[each] for each in before.open.keys() - ended}
        missing -= len(still)
        found.open.update(still)
        ended |= before.ended
    return max(0, missing)


def _earlier(path: Path) -> Iterator[Path]:
    """Yield the earlier files of the same process, the newest first."""
    seen = {path.name}
    for each in reversed(files_in(path.parent)):
        name = each.name.removesuffix(PACKED)
        if instance_of(each) == instance_of(path) and name < path.name:
            if name not in seen:
                yield each
            seen.add(name)
