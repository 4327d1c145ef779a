"""One file, read line by line up to the first thing that is wrong with it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NoReturn, TypeAlias

import msgspec

from imagegate.audit.chain import NO_LINE, Line, genesis, hash_of, read_line
from imagegate.audit.events import (
    CLOSED,
    COMPLETION,
    DECISIONS,
    ClosedRecord,
    Ended,
    OpenedRecord,
    RetiredFile,
    RetiredRecord,
)
from imagegate.audit.logfile import PACKED, Torn, instance_of
from imagegate.audit.reading import UnreadableError, lines_in, open_log

Kind: TypeAlias = Literal[
    "not-json",
    "torn",
    "edited",
    "missing",
    "reordered",
    "repeated",
    "foreign",
    "after-the-end",
    "not-the-beginning",
    "unreadable",
    "truncated",
    "forked",
]
"""What is wrong at a line; the names are stable."""
Wanted: TypeAlias = Mapping[tuple[str, int], set[str]]
"""Hashes that were taken elsewhere, by instance and number of the line."""

_STEP: Final = 10_000  # lines between two reports of progress
_OPENED: Final = "imagegate.audit_opened"
_NOTES: Final = frozenset({"imagegate.audit_gap", "imagegate.audit_recovered"})
_ENVELOPE: Final = frozenset({"time", "instance", "seq", "prev", "schema", "event"})
_read_note = msgspec.json.Decoder(dict[str, Any]).decode
_read_opened = msgspec.json.Decoder(OpenedRecord).decode
_read_closed = msgspec.json.Decoder(ClosedRecord).decode
_read_retired = msgspec.json.Decoder(RetiredRecord).decode


def missing(count: int, where: str) -> str:
    """Say how many lines are gone."""
    return (
        f"1 line {where} is missing"
        if count == 1
        else (f"{count} lines {where} are missing")
    )


class BrokenError(Exception):
    """A line is wrong."""

    def __init__(self, kind: Kind, line: int, says: str) -> None:
        super().__init__(says)
        self.kind = kind
        self.line = line


class Foreign:
    """Bytes in a file that are no line: where, how many, and their hash."""

    def __init__(self) -> None:
        self.at = 0
        self.ends = True
        self._whole = Torn()
        self._bare = Torn()

    def __bool__(self) -> bool:
        return self.at > 0

    def add(self, raw: bytes, at: int) -> None:
        """Take what stands where a line should be."""
        self.at = self.at or at
        self.ends = raw.endswith(b"\n")
        self._whole.add(raw.removesuffix(b"\n"))
        self._bare = self._whole.copy()
        if self.ends:
            self._whole.add(b"\n")

    def is_told_in(self, note: Mapping[str, Any]) -> bool:
        """Tell whether a note is about these bytes, with or without a last newline."""
        told = (note.get("torn_bytes"), note.get("torn_hash"))
        ours = [(each.size, each.hash) for each in (self._whole, self._bare)]
        return told[0] != 0 and told in ours


class FileProof:
    """What a file shows, up to the first thing that is wrong with it.

    Attributes:
        held: Whether a process has it open for writing.
        number: How many lines were read.
        first: Its first line, and `seq` and `hash` are those of its last.
        ending: Why it was ended, as its last line says.
        foreign: What is no line and nothing has accounted for yet.
        vouched: The last line for which a checkpoint from elsewhere vouches.
        retired: What retention took, and in which line that stands.
        decided: Decisions without a completion in the file.
        ended: Completions without a decision in the file.
    """

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self.path = path
        self.held = not path.name.endswith(PACKED) and is_held(path)
        self.number = 0
        self.instance = instance_of(path) or ""
        self.first: Line | None = None
        self.opened: OpenedRecord | None = None
        self.seq = -1
        self.hash = ""
        self.closed = False
        self.ending: Ended | None = None
        self.vouched = -1
        self.foreign = Foreign()
        self.decided: set[str] = set()
        self.ended: set[str] = set()
        self.retired: list[tuple[int, RetiredFile]] = []
        self.notes: list[str] = []
        self.broken: BrokenError | None = None
        self._wanted = wanted

    def read(self, progress: Callable[[int], None]) -> None:
        """Read the file; what is wrong with it is in `broken` afterwards."""
        try:
            with self._stream() as stream:
                self._read(lines_in(stream), progress)
        except UnreadableError as error:
            says = f"what follows cannot be decompressed: {error}"
            self.broken = BrokenError("unreadable", self.number + 1, says)
        except BrokenError as error:
            self.broken = error
        if self.broken is not None and self.foreign:
            self.broken = self.unaccounted  # it comes before what was found

    def has(self, part: FileProof) -> bool:
        """Tell whether it has all the lines of another file, and that nothing else."""
        wrong = self.broken or part.broken or part.foreign
        if wrong or part.first is None or part.first != self.first:
            return False
        return part.seq <= self.seq and part.hash == self._hash_at(part.seq)

    def _hash_at(self, seq: int) -> str:
        if seq == self.seq:
            return self.hash
        with self._stream() as stream:
            return next(hash_of(x) for x in lines_in(stream) if _seq_of(x) == seq)

    def _stream(self) -> BinaryIO:
        """Open the file, or what it has been compressed to since it was listed."""
        try:
            return open_log(self.path)
        except FileNotFoundError:
            if self.path.name.endswith(PACKED):
                raise
            self.path = self.path.with_name(self.path.name + PACKED)
            return open_log(self.path)

    def _read(self, lines: Iterator[bytes], progress: Callable[[int], None]) -> None:
        for raw in lines:
            self.number += 1
            self._take(raw, lines)
            if not self.number % _STEP:
                progress(_STEP)
        progress(self.number % _STEP)
        if self.first is None and self.number and not self.held:
            says = "there is no line of a journal in it"
            self._complain("not-the-beginning", says, at=1)

    @property
    def unaccounted(self) -> BrokenError:
        """Say that something is in the file that is no line."""
        at = self.foreign.at
        if at == self.number and not self.foreign.ends:
            return BrokenError("torn", at, "the file ends within this line")
        says = "it is no line of a journal, and nothing accounts for it"
        return BrokenError("not-json", at, says)

    def _complain(self, kind: Kind, says: str, *, at: int | None = None) -> NoReturn:
        raise BrokenError(kind, self.number if at is None else at, says)

    # -- one line ---------------------------------------------------------------

    def _take(self, raw: bytes, rest: Iterator[bytes]) -> None:
        try:
            line = read_line(raw)
        except NO_LINE:
            self._take_foreign(raw)
            return
        if raw[-1:] != b"\n":
            if self.held:
                return  # it is being written
            self._complain("torn", "the file ends before the end of this line")
        if self.first is None:
            self._begin(line)
        elif line.prev != self.hash or line.seq != self.seq + 1 or self.closed:
            self._explain(line, raw, rest)
        self.seq, self.hash = line.seq, sha256(raw[:-1]).hexdigest()
        self._note(line, raw)

    def _take_foreign(self, raw: bytes) -> None:
        """Keep what is no line; it may be torn, and a later line account for it."""
        if self.held and raw[-1:] != b"\n":
            return
        if self.closed:
            self._complain("after-the-end", "it stands behind the end of the file")
        self.foreign.add(raw, self.number)

    def _begin(self, line: Line) -> None:
        if line.event != _OPENED:
            says = f"the first line is {line.event!r}, not {_OPENED!r}"
            self._complain("not-the-beginning", says)
        if self.instance not in ("", line.instance):
            says = f"it is a line of {line.instance}, which the file is not named after"
            self._complain("foreign", says)
        if not line.seq and line.prev != genesis(line.instance):
            says = "the chain does not begin as that of its instance"
            self._complain("edited", says)
        self.first, self.instance = line, line.instance

    def _explain(self, line: Line, raw: bytes, rest: Iterator[bytes]) -> None:
        """Say what is wrong with a line that does not follow from the one before."""
        expected = self.seq + 1
        if line.instance != self.instance:
            says = f"it is a line of {line.instance}, in a file of {self.instance}"
            self._complain("foreign", says)
        if line.seq < expected:
            says = f"seq {line.seq} where {expected} has to follow"
            self._complain("repeated", says)
        if self.closed:
            self._complain("after-the-end", "it stands behind the end of the file")
        if line.seq == expected:
            self._explain_hash(raw, rest)
        if any(_seq_of(each) == expected for each in rest):
            self._complain("reordered", f"seq {line.seq} stands before {expected}")
        says = f"{missing(line.seq - expected, 'before it')}, from seq {expected}"
        self._complain("missing", says)

    def _explain_hash(self, raw: bytes, rest: Iterator[bytes]) -> NoReturn:
        """Say which of two lines was changed: the next one vouches for its own."""
        following = next(rest, b"")
        vouched = True
        with suppress(*NO_LINE):
            vouched = not following or read_line(following).prev == hash_of(raw)
        if vouched:
            says = "its hash is not the one that the next line states"
            self._complain("edited", says, at=self.number - 1)
        self._complain("edited", "it vouches for no line before, and none for it")

    def _note(self, line: Line, raw: bytes) -> None:
        """Take note of what a line says."""
        event = line.event
        if event in DECISIONS:
            self.decided.add(line.decision_id or "")
        elif event == COMPLETION:
            if line.decision_id in self.decided:
                self.decided.discard(line.decision_id)
            else:
                self.ended.add(line.decision_id or "")
        elif line.decision_id is None:
            self._read_own(event, raw)
        if self._wanted and (hashes := self._wanted.get((self.instance, self.seq))):
            if hashes != {self.hash}:
                self._complain("edited", "a checkpoint from elsewhere says otherwise")
            self.vouched = self.seq

    def _read_own(self, event: str, raw: bytes) -> None:
        """Read what a sink says about itself."""
        if event == CLOSED:
            self._close(raw)
        elif event == _OPENED:
            with suppress(*NO_LINE):
                self.opened = _read_opened(raw)
        elif event == "imagegate.audit_retired":
            with suppress(*NO_LINE):
                self.retired += [(self.seq, x) for x in _read_retired(raw).files]
        elif event in _NOTES:
            with suppress(*NO_LINE):
                self._take_note(_read_note(raw))

    def _close(self, raw: bytes) -> None:
        self.closed = True
        first = self.first.seq if self.first else 0
        with suppress(*NO_LINE):
            said = _read_closed(raw)
            self.ending = said.reason
            if said.lines != self.seq - first + 1:
                says = "it states another number of lines than there are"
                self._complain("edited", says)

    def _take_note(self, note: Mapping[str, Any]) -> None:
        if self.foreign.is_told_in(note):
            self.foreign = Foreign()
        about = {k: v for k, v in note.items() if k not in _ENVELOPE and v}
        fields = ", ".join(f"{name} {value}" for name, value in about.items())
        event = str(note["event"]).removeprefix("imagegate.")
        self.notes.append(f"{event} at {note['time']}: {fields}")


def is_held(path: Path) -> bool:
    """Tell whether a process has a file open for writing."""
    with suppress(OSError), path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _seq_of(raw: bytes) -> int | None:
    with suppress(*NO_LINE):
        return read_line(raw).seq
    return None
