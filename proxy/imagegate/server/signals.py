"""Being told to end before there is anything that could be ended.

Left alone, a process dies of SIGTERM until somebody sees to it, as the first one of a
container does not even then, and SIGINT leaves a traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Final, NoReturn

ENDS: Final = (signal.SIGINT, signal.SIGTERM)
"""What tells a server to end."""


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """End at once, and well, when told to: nothing has begun."""
    before = {number: signal.signal(number, _leave) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is _leave:
                signal.signal(number, handler)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(0)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold back what tells to end, until whoever sees to it lets it through."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """Take what tells to end, from now on and since it was held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
