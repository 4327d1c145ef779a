"""`imagegate audit tail`: the trail as it grows, a line for each record."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.text import Text

from imagegate.audit.chain import NO_LINE
from imagegate.audit.logfile import PACKED, readable_in
from imagegate.audit.reading import LONGEST, UnreadableError, lines_in, open_log
from imagegate.cli.audit.files import trail_files
from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain, print_text, write

_PAUSE: Final = 0.25
_STYLES: Final = {
    "request_forwarded": "green",
    "request_rewritten": "yellow",
    "request_blocked": "red",
    "request_malformed": "red",
    "echo_contradicted": "bold red",
    "audit_gap": "bold red",
}


def read_line(line: bytes) -> dict[str, Any] | None:
    """Read a record; None when a line is none."""
    try:
        found: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except NO_LINE:
        return None
    return found if isinstance(found.get("event"), str) else None


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to show; None lets all through.

    Attributes:
        event: A part of the event's name.
        decision: The beginning of a decision id.
    """

    event: str | None = None
    team: str | None = None
    principal: str | None = None
    decision: str | None = None
    outcome: str | None = None

    def admit(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a record is wanted."""
        return (
            (self.event or "") in record["event"]
            and str(record.get("decision_id", "")).startswith(self.decision or "")
            and (self.team is None or self.team in _teams(record))
            and self.principal in (None, record.get("principal_id"))
            and self.outcome in (None, record.get("outcome"))
        )

    def admit_line(self, line: bytes) -> bool:
        """Tell whether a line is wanted; one that is no record always is."""
        record = read_line(line)
        return record is None or self.admit(record)


def run(
    named: Sequence[Path], filters: Filters, *, last: int, follow: bool, as_json: bool
) -> Exit:
    """Print the last records, and go on with those to come."""
    followers = [Follower(file) for file in trail_files(named)]
    for line in _latest(followers, filters, last):
        _show(line, as_json=as_json)
    folders = [path for path in named if path.is_dir()]
    by_form = sorted(followers, key=lambda each: each.packed, reverse=True)
    growing = {each.name: each for each in by_form}  # the plain one, if there are both
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_PAUSE)
            for file in (each for folder in folders for each in readable_in(folder)):
                growing.setdefault(_plain(file), Follower(file))
            for follower in growing.values():
                for line in filter(filters.admit_line, follower.lines()):
                    _show(line, as_json=as_json)
    return Exit.FINE


def _latest(
    followers: Sequence[Follower], filters: Filters, last: int
) -> Sequence[bytes]:
    """Return the last lines that are wanted, in the order of their time.

    Files that still grow are all read, for several processes may write at once; of
    the packed ones, the newest first, only as many as it takes.
    """
    found: list[tuple[str, bytes]] = []
    for each in sorted(followers, key=lambda each: each.packed, reverse=True)[::-1]:
        if each.packed and len(found) >= last:
            each.skip()
            continue
        lines = filter(filters.admit_line, each.lines())
        found[:0] = collections.deque(_timed(lines), maxlen=last)
    found = list(dict.fromkeys(found))  # of a file that is there twice
    found.sort(key=lambda timed: timed[0])
    return [line for _, line in found[-last:]] if last else ()


def _timed(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield lines with their times; what stands behind another is never before it."""
    now = ""
    for line in lines:
        record = read_line(line)
        now = max(now, str(record.get("time", ""))) if record else now
        yield now, line


class Follower:
    """A file that others write to, read as far as its lines are whole.

    One that is done with is packed, and goes: what was not read yet is read there.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = 0
        self._over = False

    @property
    def name(self) -> Path:
        """The file's name before it is packed."""
        return _plain(self._file)

    @property
    def packed(self) -> bool:
        """Whether it was packed when it was found, and so is complete."""
        return self._file.name.endswith(PACKED)

    def skip(self) -> None:
        """Read no more of it."""
        self._over = True

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that came since the last call."""
        if self._over:
            return
        try:
            yield from self._lines(self._file, packed=self.packed)
            self._over = self.packed
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                file = self.name.with_name(self.name.name + PACKED)
                yield from self._lines(file, packed=True)
                self._over = True

    def _lines(self, file: Path, *, packed: bool) -> Iterator[bytes]:
        with open_log(file) as stream:
            at = 0 if packed else stream.seek(self._at)
            try:
                for line in lines_in(stream):
                    if not (packed or line.endswith(b"\n") or len(line) >= LONGEST):
                        return
                    at += len(line)
                    if at > self._at:
                        self._at = at
                        yield line
            except UnreadableError:
                complain(f"{file.name} cannot be decompressed any further")


def _plain(file: Path) -> Path:
    """Return the name of a file before it is packed."""
    return file.with_name(file.name.removesuffix(PACKED))


def _show(line: bytes, *, as_json: bool) -> None:
    record = read_line(line)
    try:
        told = None if record is None else _line(record)
    except (AttributeError, KeyError, TypeError):
        told = None  # somebody's JSON
    if told is None:
        complain(f"a line of {len(line):,} bytes is no record")
    elif as_json:
        write(line.decode())
    else:
        print_text(told)


def _teams(record: Mapping[str, Any]) -> Sequence[str]:
    """Return the teams of who asked; what the log says of itself has none."""
    teams = record.get("principal_team")
    return teams if isinstance(teams, list) else ()


def _line(record: Mapping[str, Any]) -> Text:
    """Tell a record in one line: when, what, whose, and how it went."""
    event = str(record.get("event", "")).removeprefix("imagegate.")
    who = "+".join(_teams(record)) or record.get("principal_id", "")
    parts = [
        (str(record.get("time", ""))[:23].replace("T", " "), "dim"),
        (f"  {event:<18}", _STYLES.get(event, "")),
        (f"  {str(record.get('decision_id', ''))[:8]:<8}", "cyan"),
        (f"  {who:<14}", ""),
        (f"  {' '.join(_story(record))}", ""),
    ]
    return Text.assemble(*parts)


_TOLD: Final = (
    "door",
    "reason",
    "sequence_number",
    "item_id",
    "quality",
    "size",
    "dimensions",
    "outcome",
    "status",
    "images",
    "duration_ms",
)


def _story(record: Mapping[str, Any]) -> Iterator[str]:
    for finding in record.get("changes", ()):
        before, after = _value(finding, "before"), _value(finding, "after")
        yield f"{finding['field']}: {before} → {after} ({finding['rule']})"
    for finding in record.get("violations", ()):
        # What is about the whole request, such as a key, has no field and no value.
        field, before = finding["field"], _value(finding, "before")
        asked = f"{field}: {before} " if field else ""
        yield f"{asked}✗ ({finding['rule']})"
    for name in _TOLD:
        if record.get(name) is not None:
            yield f"{name}={record[name]}"


def _value(finding: Mapping[str, Any], name: str) -> object:
    value = finding.get(name)
    return "–" if value is None else value
