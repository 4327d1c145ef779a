"""How many connections there may be, in all and from one address."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

_NETWORK: Final = 64
"""Bits of an address of IPv6 by which clients are told apart: whoever has one address
usually has as many as he likes."""
_STANDING: Final = 32
"""Clients that are told at once that there is no seat, before the first has to go."""


class Seats:
    """The connections that are open; one for a process.

    A connection keeps its seat when it becomes a WebSocket. Who comes for encryption
    has one from the door on.

    Args:
        most: Connections in all.
        each: From one address; None for as many as there can be.
        tell: Called with a word for whatever the server refuses by itself.
        watch: Called with the number of connections whenever it changes.
    """

    def __init__(
        self,
        most: int,
        each: int | None = None,
        *,
        tell: Callable[[str], None] = lambda _: None,
        watch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.tell = tell
        self._most = most
        self._each = each
        self._watch = watch
        self._taken: dict[object, str] = {}
        self._of: Counter[str] = Counter()
        self._standing: dict[object, Callable[[], object]] = {}

    def __len__(self) -> int:
        """Count the connections."""
        return len(self._taken)

    def take(self, transport: asyncio.Transport) -> str | None:
        """Take a seat for a connection; where there is none, say why."""
        peer = transport.get_extra_info("peername")
        return self.sit(transport, peer, transport.abort)

    def sit(self, who: object, peer: object, abort: Callable[[], object]) -> str | None:
        """Take a seat for somebody; where there is none, say why.

        Args:
            who: By what he is known.
            peer: The address from which he comes, as sockets name it.
            abort: Called when he has to go.
        """
        place = address_of(peer)
        if len(self._taken) >= self._most:
            return self._stand(who, abort, "too_many_connections")
        if self._each is not None and place and self._of[place] >= self._each:
            return self._stand(who, abort, "too_many_connections_of_address")
        self._taken[who] = place
        self._of[place] += 1
        self._watch(len(self._taken))
        return None

    def leave(self, who: object) -> None:
        """Give a seat back, if it was taken."""
        self._standing.pop(who, None)
        place = self._taken.pop(who, None)
        if place is None:
            return
        self._of[place] -= 1
        if not self._of[place]:
            del self._of[place]
        self._watch(len(self._taken))

    def _stand(self, who: object, abort: Callable[[], object], why: str) -> str:
        """Let one stand who has no seat; who stood longest was told long ago."""
        self._standing[who] = abort
        if len(self._standing) > _STANDING:
            longest = next(iter(self._standing))
            self._standing.pop(longest)()
        return why


def address_of(peer: Any) -> str:  # noqa: ANN401 - what sockets have for a name
    """Return the address by which a client is counted; nothing for a local socket."""
    if not isinstance(peer, tuple):
        return ""
    try:
        found = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _NETWORK), strict=False))
