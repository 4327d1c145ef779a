"""How a process that serves treats memory: it keeps what it will need again.

glibc takes every block over 128 KB from the kernel and gives it back when it is free,
and so pays for its pages each time; it learns better only when a larger block has
been freed. Reads of a stream are such blocks, and so are bodies. Told at the start,
it costs a fifth less for each megabyte. And what exists when serving begins is there
to stay: no collection needs to look at it, which would hold every stream meanwhile.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_ON_HEAP: Final = 32 * 1024 * 1024  # the most that glibc takes
_KEPT_AT_MOST: Final = 64 * 1024 * 1024
"""What may lie free at the end of the heap before the kernel gets it back."""


_YOUNG: Final = 5_000
"""How many more objects there may be than at the last collection. By default it is 700:
with some dozens of requests under way each would pay for a look at all the others."""


def keep_blocks() -> bool:
    """Let freed blocks be used again; tell whether this is a libc that can."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # musl, macOS, Windows: they have ways of their own
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    done = mallopt(_MMAP_THRESHOLD, _LARGEST_ON_HEAP)
    return bool(done and mallopt(_TRIM_THRESHOLD, _KEPT_AT_MOST))


def settle() -> None:
    """Take what exists now for what will always exist."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)
