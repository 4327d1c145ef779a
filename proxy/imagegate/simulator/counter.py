"""Ids and times that are the same in every run."""

from __future__ import annotations

import hashlib

# 2026-11-18, when the contract that is simulated was current.
_START = 1_795_000_000


class Counter:
    """Numbers what is made; the number gives the id and the time."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0

    def next(self) -> int:
        """Return one more than the last time."""
        self._count += 1
        return self._count

    def ident(self, prefix: str, number: int) -> str:
        """Return an id that looks as the provider's do."""
        return f"{prefix}_{derived(f'{self._seed}/{number}')}"


def derived(text: str) -> str:
    """Return the 50 hexadecimal digits that follow from a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:50]


def time_of(number: int) -> int:
    """Return the second at which that number was counted."""
    return _START + number
