"""What was waited for when a wait was cut off.

A deadline over several steps tells that it has passed, and not in which of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def meanwhile(lacking: str) -> Iterator[None]:
    """Say what is lacking when what is done here is cut off."""
    try:
        yield
    except asyncio.CancelledError as cut:
        cut.args = (lacking,)
        raise


def lacked(error: TimeoutError) -> str | None:
    """Return what was lacking when a deadline passed, if somebody said so."""
    cut = error.__cause__  # where `asyncio.timeout` leaves it
    return str(cut.args[0]) if cut is not None and cut.args else None
