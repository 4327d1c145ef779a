"""What retention accounts for: lines that are not here, because a record says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from imagegate.audit.events import RetiredFile
from imagegate.audit.proof import FileProof


class Retired(NamedTuple):
    """What a record says that retention took, and whether a checkpoint covers it."""

    instance: str
    file: RetiredFile
    vouched: bool


class Excuses:
    """The records of what retention took, held against what is not here.

    Args:
        retired: What the records say.
        doubted: Checkpoints from elsewhere are here, which should vouch for them.
        tell: Takes what cannot be seen.
    """

    def __init__(
        self, retired: Sequence[Retired], *, doubted: bool, tell: Callable[[str], None]
    ) -> None:
        self._retired = retired
        self._doubted = doubted
        self._tell = tell

    def cover(self, instance: str, known: int, *, untold: bool) -> bool:
        """Tell whether retention has taken the lines of a chain, up to one."""
        says = [
            each.vouched
            for each in self._retired
            if each.instance == instance
            and (untold if each.file.last_seq is None else each.file.last_seq >= known)
        ]
        return self._excused(says, f"lines of {instance} up to seq {known}")

    def cover_before(self, file: FileProof) -> bool:
        """Tell whether retention has taken the file before one."""
        before = file.opened.previous_hash if file.opened else None
        says = [x.vouched for x in self._retired if x.file.last_hash == before]
        return self._excused(says, f"what comes before {file.path.name}")

    def _excused(self, says: Sequence[bool], what: str) -> bool:
        """Tell whether records excuse what is not here, though anybody can write some.

        Whoever can write the files can delete one, and forge a record of that.
        """
        if says and self._doubted and not any(says):
            self._tell(
                f"whether retention took {what}: no checkpoint from elsewhere vouches"
                " for the record that says so"
            )
        return bool(says)
