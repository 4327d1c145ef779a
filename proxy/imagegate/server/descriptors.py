"""How many descriptors a process may have, and how many clients they carry.

Most systems give a process a thousand by default, and more to who asks. A server that
gives all of them to its clients has none left to ask the providers with.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from typing import Final

from imagegate.server.listener import CannotListenError

OTHERS: Final = 160
"""What a process has open besides connections: files, libraries, the loop's own; and
clients at the door, and those who are told that it is full."""
_FEWEST: Final = 10


def ask_for(connections: int) -> None:
    """Let this process, and those that it starts, carry so many clients, or most.

    Raises:
        CannotListenError: When it may have too few to carry any worth the name.
    """
    soft, hard = _granted()
    most = min(needed(connections), hard)
    if soft < most:
        _, said = resource.getrlimit(resource.RLIMIT_NOFILE)
        # A kernel may grant less than it says.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, said))
    if carried(connections) < min(connections, _FEWEST):
        raise CannotListenError(
            f"cannot listen with {hard} descriptors, {OTHERS} of which are for files; "
            "raise the limit (LimitNOFILE=, ulimit -n)"
        )


def carried(connections: int) -> int:
    """Return how many clients can be carried at once, of so many at most."""
    soft, _ = _granted()
    return min(connections, (soft - OTHERS) // 2)


def fewest(connections: int) -> int:
    """Return with how many descriptors it still starts, if it is to carry so many."""
    return needed(min(connections, _FEWEST))


def needed(connections: int) -> int:
    """Return how many descriptors so many clients take: each one, and a provider's."""
    return 2 * connections + OTHERS


def _granted() -> tuple[int, int]:
    """Return how many there may be, and how many may be asked for."""
    soft, hard = (
        sys.maxsize if most == resource.RLIM_INFINITY else most
        for most in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return soft, hard
