"""What a request uses up of the quotas: asked before it is decided, settled behind it.

An image counts when it starts. Until then a request that may start one holds a place;
the place becomes a count, or is given back when the answer ends. What is made in the
background keeps its place until somebody reads how it ended.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

from imagegate.engine.allowance import MOST_IMAGES, claim_of, counts_images
from imagegate.engine.body import Body
from imagegate.engine.decision import Rewrite
from imagegate.engine.exchange import Exchange, Ruling
from imagegate.engine.gate import Context, tells_again
from imagegate.engine.quota import NOWHERE, Count, Counter, Standing, window
from imagegate.middleware.setup import Setup
from imagegate.quotas import QuotasLost, Reading, Slot, Step, slot_of

_TELLING: Final = frozenset({"responses.retrieve", "responses.cancel"})
"""Doors at which somebody learns how a response ended that was made before."""
_BY: Final = "quotas."


class Tally:
    """What one request uses up; one use.

    Args:
        setup: The middleware's parts.
        context: Who asks, when, and through which door.
    """

    def __init__(self, setup: Setup, context: Context) -> None:
        self._store, self._key = setup.quotas, setup.key
        self._outage = setup.outage
        self._book = setup.gate.decider.book
        self._context = context
        self._requests: tuple[Slot, ...] = ()  # where it is counted already
        self._images: tuple[Counter, ...] = ()
        self._places: list[str] = []
        self._counted = 0

    # -- before -----------------------------------------------------------------

    async def stand(
        self,
        body: Body | None,
        seen: frozenset[str] = frozenset(),
        *,
        inherits: bool | None = None,
    ) -> Standing:
        """Take what the request may use up, and say where the counters stood.

        Args:
            body: As it was read.
            seen: The ids of state that were judged here before.
            inherits: Whether that state holds an image tool.
        """
        match = self._context.match
        if match is None:
            return NOWHERE
        request = self._context.asks(match, body, seen=seen)
        again = tells_again(match.door)
        if self._tells or request.is_message or (body is not None and not again):
            # An image that nobody could expect counts like any other.
            self._images = counts_images(self._book, request)
        claim = claim_of(self._book, request, inherits=inherits)
        if not claim.counters:
            return NOWHERE
        decision_id = self._context.decision_id
        places = [f"{decision_id}.{number}" for number in range(claim.images)]
        counts = await self._take(claim.counters, places)
        return Standing(counts=counts, inherits=inherits, outage=self._outage)

    async def _take(
        self, counters: Sequence[Counter], places: list[str]
    ) -> dict[Counter, Count]:
        now = datetime.datetime.now(tz=datetime.UTC)
        slots = tuple(slot_of(counter, now) for counter in counters)
        readings: Sequence[Reading | None] = [None] * len(slots)
        try:
            readings = await self._store.take(slots, places, now.timestamp())
        except QuotasLost:
            pass  # it was told where it was found out
        else:
            self._places = places
            self._requests = tuple(slot for slot in slots if not slot.holds)
        pairs = zip(counters, readings, strict=True)
        return {counter: _count(counter, found, now) for counter, found in pairs}

    # -- behind -----------------------------------------------------------------

    async def decided(self, ruling: Ruling) -> None:
        """Give the places back of a request that goes on without the tool."""
        decision = ruling.decision
        changes = decision.changes if isinstance(decision, Rewrite) else ()
        if any(change.field == "tool" and _BY in change.by.rule for change in changes):
            await self._settle(drop=self._all())

    async def undo(self) -> None:
        """Take everything back: the request does not go on."""
        requests, self._requests = self._requests, ()
        if requests:
            now = datetime.datetime.now(tz=datetime.UTC).timestamp()
            await self._store.settle(Step(slots=requests, add=-1), now)
        if self._places:
            await self._settle(drop=self._all())

    async def began(self, started: int) -> None:
        """Count the images that the answer has started by now."""
        fresh = started - self._counted
        if fresh <= 0 or not self._images or self._tells:
            return
        self._counted = started
        taken, self._places = self._places[:fresh], self._places[fresh:]
        await self._settle(drop=tuple(taken), add=fresh)

    async def close(self, exchange: Exchange) -> None:
        """Settle what is left when the answer has ended."""
        if self._tells:
            await self._told(exchange)
            return
        await self.began(exchange.started)
        unknown = exchange.unseen or exchange.unnamed
        if unknown and self._places and not self._counted:
            # Nobody knows what was made; one image is the least that was asked for.
            await self.began(1)
        name = exchange.response_id if exchange.pending else None
        hold: tuple[str, ...] = ()
        if name is not None and (self._places or self._counted):
            hold = (_waiting(self._key(name))[min(self._counted, MOST_IMAGES)],)
        if self._places or hold:
            await self._settle(drop=self._all(), hold=hold)

    async def _told(self, exchange: Exchange) -> None:
        """Count what was made in the background, the first time that it is told."""
        name = exchange.response_id
        if name is not None and exchange.over:
            drop = _waiting(self._key(name))
            await self._settle(drop=drop, add=exchange.started, if_held=True)

    async def _settle(
        self,
        *,
        drop: tuple[str, ...] = (),
        add: int = 0,
        hold: tuple[str, ...] = (),
        if_held: bool = False,
    ) -> None:
        now = datetime.datetime.now(tz=datetime.UTC)
        slots = tuple(slot_of(counter, now) for counter in self._images)
        step = Step(slots=slots, drop=drop, add=add, hold=hold, if_held=if_held)
        if slots:
            await self._store.settle(step, now.timestamp())

    def _all(self) -> tuple[str, ...]:
        places, self._places = tuple(self._places), []
        return places

    @property
    def _tells(self) -> bool:
        match = self._context.match
        return match is not None and match.door.name in _TELLING


def _waiting(name: str) -> tuple[str, ...]:
    """Return the places of a response in the background, by what it began in sight."""
    return (name, *(f"{name}+{number}" for number in range(1, MOST_IMAGES + 1)))


def _count(counter: Counter, found: Reading | None, now: datetime.datetime) -> Count:
    span = window(counter.quota.per, now)
    return Count(
        used=None if found is None else found.used,
        held=0 if found is None else found.held,
        since=span.begin.strftime("%Y-%m-%dT%H:%M:%SZ"),
        resets_in=max(1, int((span.end - now).total_seconds()) + 1),
    )


def tally_of(setup: Setup, context: Context) -> Tally | None:
    """Return a tally, where the policy has quotas."""
    return Tally(setup, context) if setup.gate.quotas else None
