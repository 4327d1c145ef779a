"""Files put together into the chains of their processes, and these held together.

A chain holds when each file goes on where the one before it ends, when retention
accounts for what is not here, and when it is no shorter than it was known elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from imagegate.audit.events import CheckpointRecord
from imagegate.audit.excuses import Excuses, Retired
from imagegate.audit.logfile import PACKED, instance_of
from imagegate.audit.proof import BrokenError, FileProof, missing
from imagegate.audit.report import FileReport, Problem, Report, State

_GOES_ON: Final = frozenset({"size", "age", "moved"})
_Chain: TypeAlias = Sequence[FileProof]


class Chains:
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
        self._excuses = Excuses(
            [
                Retired(
                    instance_of(Path(gone.file)) or "",
                    gone,
                    vouched=seq <= vouched[file.instance],
                )
                for file in files
                for seq, gone in file.retired
            ],
            doubted=bool(self._known),
            tell=self._unseen.append,
        )

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
            if not self._excuses.cover(instance, self._known[instance], untold=True):
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

    def _check_start(self, file: FileProof) -> None:
        if file.first is None or not file.first.seq:
            return
        if not self._excuses.cover_before(file):
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
        if self._excuses.cover_before(file):
            return
        name = file.opened.previous_file if file.opened else None
        if name == before.path.name.removesuffix(PACKED):
            says = missing(count, "at its end")
            raise _found(before, BrokenError("truncated", before.number + 1, says))
        self._miss(file)

    def _seek_end(self, instance: str, last: FileProof) -> Iterator[Problem]:
        """Find out whether a chain is shorter than it was known to be elsewhere."""
        known = self._known.get(instance, -1)
        if known > last.seq and not self._excuses.cover(instance, known, untold=False):
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
