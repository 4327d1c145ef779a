"""What is kept of a judged request, and what is asked of a store of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

import msgspec

from imagegate.engine.policy import Principal
from imagegate.engine.records import Settings

DAYS: Final = 30
"""How long providers keep a response unless told otherwise."""


class Sight(msgspec.Struct, frozen=True):
    """What state at the provider is known to hold.

    Attributes:
        rules: The name of those that it was judged by.
        tools: The settings of its image tools as they were sent, those that it
            inherited included.
    """

    rules: str = msgspec.field(name="digest")  # as it has always been kept
    tools: tuple[Settings, ...] = ()


class SightLost(Exception):  # noqa: N818 - a fact: whoever asks goes on without
    """The store could not be asked, or could not take something."""


class Seen(Protocol):
    """Keeps sights by principal and id."""

    async def note(self, who: Principal, ids: Iterable[str], sight: Sight) -> None:
        """Keep what the state under these ids holds, beside what it held before.

        Raises:
            SightLost: When it could not be kept; the ids then stay unseen.
        """

    async def find(self, who: Principal, ids: Iterable[str]) -> Mapping[str, Sight]:
        """Return what is known of these ids for this principal.

        Raises:
            SightLost: When the store could not be asked.
        """

    async def close(self) -> None:
        """Let go of the store."""


def owner_of(who: Principal) -> str:
    """Name a principal within a store: its identity, and how that was established.

    The parts are kept apart, so that no name can be made to look like another.
    """
    return f"{len(who.source)}:{who.source}{who.id}"


def joined(known: Sight, fresh: Sight) -> Sight:
    """Add what a request leaves to what state was known to hold.

    Two that go on at once in one conversation know nothing of each other. What the
    other one left was judged by nobody together with this: it is judged again, unless
    both were judged by the same rules.
    """
    missing = tuple(tool for tool in known.tools if tool not in fresh.tools)
    if not missing:
        return fresh
    rules = fresh.rules if fresh.rules == known.rules else ""
    return Sight(rules, (*fresh.tools, *missing))


def allowed(
    sights: Mapping[str, Sight],
    rules: str,
    passes: Callable[[tuple[Settings, ...]], bool],
) -> frozenset[str]:
    """Return the ids whose state may be referred to under today's rules.

    Args:
        sights: What is known.
        rules: The name of today's; what was judged by them needs no second look.
        passes: Whether tools with these settings would pass unchanged.
    """
    return frozenset(
        name
        for name, sight in sights.items()
        if sight.rules == rules or passes(sight.tools)
    )
