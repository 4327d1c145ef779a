"""What verifying finds: per file, per chain, and what it cannot show."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from imagegate.audit.proof import Kind

State: TypeAlias = Literal["closed", "open", "continued", "unclosed", "broken"]


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
