"""How it is noticed that nobody takes a request which the kernel has taken from us."""

from __future__ import annotations

from typing import Final

LOOKS: Final = 12
"""So many in vain, spread over the time, say that nothing was taken in it. Looks are
counted, and no seconds: a process that stood still has not looked meanwhile."""


class Standstill:
    """Compares how much is left from look to look."""

    __slots__ = ("_left", "_vain")

    def __init__(self) -> None:
        self._left = self._vain = 0

    @property
    def begun(self) -> bool:
        """Whether nothing was taken between the last two looks."""
        return self._vain > 0

    def look(self, left: int) -> bool:
        """Take how much is left now; tell whether none of it was taken for too long."""
        moved, self._left = left != self._left, left
        self._vain = 0 if moved or not left else self._vain + 1
        return self._vain >= LOOKS
