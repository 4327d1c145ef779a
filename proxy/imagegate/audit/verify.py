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
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from imagegate.audit.chain import NO_LINE
from imagegate.audit.events import CheckpointRecord, RetiredFile
from imagegate.audit.logfile import PACKED, files_in, instance_of
from imagegate.audit.proof import BrokenError, FileProof, Kind, Wanted, missing

State: TypeAlias = Literal["closed", "open", "continued", "unclosed", "broken"]
_GOES_ON: Final = frozenset({"size", "age", "moved"})
_Chain: TypeAlias = Sequence[FileProof]

_read_checkpoint = msgspec.json.Decoder(CheckpointRecord).decode


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that is wrong with a chain.

    Attributes:
        kind: What is wrong, by a stable name.
        instance: Whose chain it is.
        file: Where; None when a whole chain is missing.
        line: Its number in the file, from 1; None when it is none in particular.
        says: What was found there.
    """

    kind: Kind
    instance: str
    file: Path | None = None
    line: int | None = None
    says: str


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a file, up to the first problem.

    Attributes:
        state: `closed` with a last line that says so, `open` when a process writes
            it now, `continued` when the chain goes on in another file, `unclosed`
            when it simply ends: its process died, or its end was cut off; `broken`
            when something is wrong in it, and so it was not read to its end.
    """

    file: Path
    instance: str
    lines: int
    first_seq: int
    last_seq: int
    last_hash: str
    state: State


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was proved, and what cannot be.

    Attributes:
        problems: The first of each chain; empty when all chains hold.
        unfinished: Decisions without a completion, in chains that have ended.
        notes: What is out of the ordinary and accounted for in the log itself.
        unseen: What these files and checkpoints cannot show.
    """

    files: tuple[FileReport, ...]
    lines: int
    instances: int
    unfinished: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every chain holds."""
        return not self.problems


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
    return _Chains(files, taken, partial=partial).report()


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


class _Retired(NamedTuple):
    """What a record says that retention took, and whether a checkpoint covers it."""

    instance: str
    file: RetiredFile
    vouched: bool


class _Chains:
    """Files, put together into the chains of their instances."""

    def __init__(
        self,
        files: Sequence[FileProof],
        checkpoints: Sequence[CheckpointRecord],
        *,
        partial: bool,
    ) -> None:
        self._files = files
        self._partial = partial
        self._unseen: list[str] = []
        self._known: dict[str, int] = {}
        for known in self._expected(checkpoints):
            seq = self._known.get(known.chain, -1)
            self._known[known.chain] = max(seq, known.last_seq)
        chains: dict[str, list[FileProof]] = defaultdict(list)
        for file in files:
            if file.first is not None or file.broken is not None:
                chains[file.instance].append(file)
        self._chains = {
            each: _without_copies(_in_order(some)) for each, some in chains.items()
        }
        vouched = {each: _vouched(chain) for each, chain in self._chains.items()}
        self._retired = [
            _Retired(
                instance_of(Path(gone.file)) or "",
                gone,
                vouched=seq <= vouched[file.instance],
            )
            for file in files
            for seq, gone in file.retired
        ]

    def _expected(
        self, checkpoints: Sequence[CheckpointRecord]
    ) -> Sequence[CheckpointRecord]:
        """Return the checkpoints up to which there have to be lines."""
        if not self._partial:
            return checkpoints
        here = {file.path.name.removesuffix(PACKED) for file in self._files}
        here |= {file.opened.file for file in self._files if file.opened}
        expected = [each for each in checkpoints if each.file in here]
        if gone := len(checkpoints) - len(expected):
            says = f"{gone} checkpoints from elsewhere are of files that are not here"
            self._unseen.append(says)
        return expected

    def report(self) -> Report:
        """Compare the files with each other and with the checkpoints."""
        problems = list(self._problems())
        files = tuple(
            _file_report(file, file is chain[-1])
            for chain in self._chains.values()
            for file in chain
        )
        return Report(
            files=files,
            lines=sum(file.lines for file in files),
            instances=len(self._chains),
            unfinished=sum(map(_unfinished, self._chains.values())),
            problems=tuple(problems),
            notes=tuple(
                f"{file.path.name}: {note}"
                for file in self._files
                for note in file.notes
            ),
            unseen=(*self._unseen, *self._unvouched()),
        )

    def _problems(self) -> Iterator[Problem]:
        for instance, chain in self._chains.items():
            try:
                self._prove(chain)
            except _FoundError as found:
                yield found.problem
            else:
                yield from self._seek_end(instance, chain[-1])
        for instance in self._known.keys() - self._chains.keys():
            # Records that do not say how far a file went excuse its chain, as they did.
            if not self._took(instance, self._known[instance], untold=True):
                says = "checkpoints from elsewhere name it, and no file is here"
                yield Problem(kind="missing", instance=instance, says=says)

    def _prove(self, chain: _Chain) -> None:
        """Prove that the files of a chain hold, and hold together."""
        before: FileProof | None = None
        for file in chain:
            if file.first is not None and before is None:
                self._check_start(file)
            elif before is not None:
                self._check_follows(before, file)
            if file.broken is not None:
                raise _found(file, file.broken)
            before = file
        if before is not None and before.foreign and not before.held:
            raise _found(before, before.unaccounted)

    def _took(self, instance: str, known: int, *, untold: bool) -> bool:
        """Tell whether retention has taken the lines of a chain, up to one."""
        says = [
            each.vouched
            for each in self._retired
            if each.instance == instance
            and (untold if each.file.last_seq is None else each.file.last_seq >= known)
        ]
        return self._excused(says, f"lines of {instance} up to seq {known}")

    def _took_before(self, file: FileProof) -> bool:
        """Tell whether retention has taken the file before one."""
        before = file.opened.previous_hash if file.opened else None
        says = [x.vouched for x in self._retired if x.file.last_hash == before]
        return self._excused(says, f"what comes before {file.path.name}")

    def _excused(self, says: Sequence[bool], what: str) -> bool:
        """Tell whether records excuse what is not here, though anybody can write some.

        Whoever can write the files can delete one, and forge a record of that.
        """
        if says and self._known and not any(says):
            self._unseen.append(
                f"whether retention took {what}: no checkpoint from elsewhere vouches"
                " for the record that says so"
            )
        return bool(says)

    def _check_start(self, file: FileProof) -> None:
        if file.first is None or not file.first.seq:
            return
        if not self._took_before(file):
            self._miss(file)

    def _miss(self, file: FileProof) -> None:
        """Say that the file before one is not here."""
        name = file.opened.previous_file if file.opened else None
        says = f"the file before it is not here: {name}"
        if not self._partial:
            raise _found(file, BrokenError("missing", 1, says))
        self._unseen.append(f"{file.path.name}: {says}")

    def _check_follows(self, before: FileProof, file: FileProof) -> None:
        """Check that a file goes on where the one before it ends."""
        if file.first is None:
            return
        expected = before.seq + 1
        opened = file.opened
        if before.foreign:
            note = msgspec.to_builtins(opened) if opened else {}
            if not before.foreign.is_told_in(note):
                raise _found(before, before.unaccounted)
        follows = (file.first.seq, file.first.prev) == (expected, before.hash)
        if not follows and opened and opened.previous_hash == before.hash:
            says = "it does not go on where the file before it ends"
            raise _found(file, BrokenError("edited", 1, says))
        if file.first.seq < expected:
            says = f"it goes on from seq {file.first.seq}, which is in {before.path}"
            raise _found(file, BrokenError("forked", 1, says))
        if file.first.seq > expected:
            self._check_gap(before, file, file.first.seq - expected)
        elif file.first.prev != before.hash:
            says = "its hash is not the one that the next file states"
            raise _found(before, BrokenError("edited", before.number, says))

    def _check_gap(self, before: FileProof, file: FileProof, count: int) -> None:
        if self._took_before(file):
            return
        name = file.opened.previous_file if file.opened else None
        if name == before.path.name.removesuffix(PACKED):
            says = missing(count, "at its end")
            raise _found(before, BrokenError("truncated", before.number + 1, says))
        self._miss(file)

    def _seek_end(self, instance: str, last: FileProof) -> Iterator[Problem]:
        """Find out whether a chain is shorter than it was known to be elsewhere."""
        known = self._known.get(instance, -1)
        if known > last.seq and not self._took(instance, known, untold=False):
            yield Problem(
                kind="truncated",
                instance=instance,
                file=last.path,
                line=last.number + 1,
                says=f"it ends with seq {last.seq}; a checkpoint from elsewhere"
                f" has seen seq {known}",
            )

    def _unvouched(self) -> Iterator[str]:
        empty = [file for file in self._files if not file.number]
        for file in empty:
            if not (file.held or file.broken):
                yield f"{file.path.name} is empty: its process died, or it was cut off"
        begun = {file.instance for file in empty}
        unvouched: list[str] = []
        for instance, chain in self._chains.items():
            last, vouched = chain[-1], _vouched(chain)
            if not last.closed and not last.held and last.broken is None:
                yield (
                    f"{last.path.name} ends without being closed: its process died,"
                    " or its end was cut off"
                )
            if last.ending in _GOES_ON and instance not in begun:
                yield f"{last.path.name}: the file behind it, for there was one"
            if vouched < 0 and instance:  # without one there was no line
                unvouched.append(f"{instance}: lines from the first to {last.seq}")
            elif vouched < last.seq:
                yield _anew(f"{instance}: lines behind seq {vouched} to {last.seq}")
        if len(unvouched) > 1:
            yield _anew(f"all lines of {len(unvouched)} processes")
        else:
            yield from map(_anew, unvouched)
        yield (
            "a process whose files are all gone, unless a checkpoint from elsewhere"
            " names it"
        )


def _anew(what: str) -> str:
    return (
        f"{what} could have been written anew with all their hashes, and more could"
        " have been cut off; no checkpoint from elsewhere vouches for them"
    )


class _FoundError(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.says)
        self.problem = problem


def _found(file: FileProof, error: BrokenError) -> _FoundError:
    return _FoundError(
        Problem(
            kind=error.kind,
            instance=file.instance,
            file=file.path,
            line=error.line,
            says=str(error),
        )
    )


def _in_order(files: _Chain) -> _Chain:
    """Put files in order: by their names, or if those were changed by their lines."""
    if all(instance_of(file.path) for file in files):
        return sorted(files, key=lambda file: file.path.name)
    return sorted(files, key=lambda file: file.first.seq if file.first else -1)


def _without_copies(files: _Chain) -> list[FileProof]:
    """Leave out a file of which another has every line.

    It is there twice: compressed and not yet removed, or copied while it was written.
    """
    kept: list[FileProof] = []
    for file in files:
        if kept and file.has(kept[-1]):
            kept[-1] = file
        elif not (kept and kept[-1].has(file)):
            kept.append(file)
    return kept


def _vouched(chain: _Chain) -> int:
    """Return the last line for which a checkpoint from elsewhere vouches, or -1."""
    return max(file.vouched for file in chain)


def _unfinished(chain: _Chain) -> int:
    """Count the decisions without a completion in a chain that has ended."""
    if chain[-1].held or not chain[-1].closed:
        return 0
    open_now: set[str] = set()
    for file in chain:
        open_now = (open_now - file.ended) | file.decided
    return len(open_now)


def _file_report(file: FileProof, last: bool) -> FileReport:  # noqa: FBT001 - private
    state: State = "continued"
    if file.broken is not None:
        state = "broken"
    elif file.closed:
        state = "closed"
    elif file.held:
        state = "open"
    elif last:
        state = "unclosed"
    return FileReport(
        file=file.path,
        instance=file.instance,
        lines=file.number,
        first_seq=file.first.seq if file.first else -1,
        last_seq=file.seq,
        last_hash=file.hash,
        state=state,
    )
