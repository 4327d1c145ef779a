"""`imagegate audit tail`: the trail as it grows, a line for each record."""

from __future__ import annotations

import collections
import contextlib
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.text import Text

from imagegate.cli.audit.files import inside, trail_files
from imagegate.cli.exits import Exit
from imagegate.cli.screen import complain, print_text, write
from imagegate.zstd import zstd

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
    except msgspec.MsgspecError:
        return None
    return found


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
            (self.event or "") in record.get("event", "")
            and str(record.get("decision_id", "")).startswith(self.decision or "")
            and (self.team is None or self.team in record.get("principal_team", ()))
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
    files = trail_files(named)
    growing = {file: Follower(file) for file in files if file.suffix == ".jsonl"}
    latest = _latest(files, growing, filters, last)
    for line in latest:
        _show(line, as_json=as_json)
    folders = [path for path in named if path.is_dir()]
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_PAUSE)
            for file in (each for folder in folders for each in inside(folder)):
                if file.suffix == ".jsonl" and file not in growing:
                    growing[file] = Follower(file)
            for follower in growing.values():
                for line in filter(filters.admit_line, follower.lines()):
                    _show(line, as_json=as_json)
    return Exit.FINE


def _latest(
    files: Sequence[Path],
    growing: Mapping[Path, Follower],
    filters: Filters,
    last: int,
) -> Sequence[bytes]:
    """Return the last lines that are wanted, in the order of their time.

    Files that still grow are all read, for several processes may write at once; of
    the packed ones, the newest first, only as many as it takes.
    """
    found: list[bytes] = []
    for file in growing:
        lines = filter(filters.admit_line, growing[file].lines())
        found += collections.deque(lines, maxlen=last)
    for file in reversed(files):
        if file not in growing and len(found) < last:
            lines = filter(filters.admit_line, _packed(file))
            found += collections.deque(lines, maxlen=last - len(found))
    found.sort(key=_when)
    return found[-last:] if last else ()


def _when(line: bytes) -> str:
    record = read_line(line)
    return str(record.get("time", "")) if record else ""


class Follower:
    """A file that others write to, read as far as its lines are whole."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = 0

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that came since the last call."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._at)
                for line in stream:
                    if not line.endswith(b"\n"):
                        return
                    self._at += len(line)
                    yield line
        except FileNotFoundError:
            return


def _packed(file: Path) -> Iterator[bytes]:
    with zstd.open(file, "rb") as stream:
        yield from io.BufferedReader(stream)


def _show(line: bytes, *, as_json: bool) -> None:
    record = read_line(line)
    if record is None:
        complain(f"a line of {len(line):,} bytes is no record")
    elif as_json:
        write(line.decode())
    else:
        print_text(_line(record))


def _line(record: Mapping[str, Any]) -> Text:
    """Tell a record in one line: when, what, whose, and how it went."""
    event = str(record.get("event", "")).removeprefix("imagegate.")
    who = "+".join(record.get("principal_team", ())) or record.get("principal_id", "")
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
