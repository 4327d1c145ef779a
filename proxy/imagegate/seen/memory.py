"""Sights in memory, for one process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from imagegate.engine.policy import Principal
from imagegate.seen.store import Sight, joined, owner_of


class MemorySeen:
    """Keeps the latest; an id that is pushed out is unseen again."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[str, str], Sight] = OrderedDict()

    async def note(self, who: Principal, ids: Iterable[str], sight: Sight) -> None:
        """Keep what the state under these ids holds, beside what it held before."""
        owner = owner_of(who)
        for name in ids:
            known = self._kept.get((owner, name))
            self._kept[owner, name] = joined(known, sight) if known else sight
            self._kept.move_to_end((owner, name))
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    async def find(self, who: Principal, ids: Iterable[str]) -> Mapping[str, Sight]:
        """Return what is known of these ids for this principal."""
        owner = owner_of(who)
        found = {name: self._kept.get((owner, name)) for name in ids}
        return {name: sight for name, sight in found.items() if sight is not None}

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""
