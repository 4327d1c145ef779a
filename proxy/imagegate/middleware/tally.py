"""What a request uses up of the quotas: asked before it is decided, settled behind it.

An image counts when it starts. Until then a request that may start one holds a place;
the place becomes a count, or is given back when the answer ends. What is made in the
background keeps its place until somebody reads how it ended.

What an image costs is known when its answer has ended. It counts as well when it
starts, for the most that it may cost, so that nothing that befalls a gateway makes it
free; then the difference is counted.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Final

import msgspec

from imagegate.engine.allowance import MOST_IMAGES, counts_images
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
        self._gate = setup.gate
        self._context = context
        self._requests: tuple[Slot, ...] = ()  # where it is counted already
        self._images: tuple[Counter, ...] = ()
        self._places: list[str] = []
        self._counted = 0
        self._price = 0  # of one image at most, where money is counted
        self._begun: dict[tuple[Slot, ...], int] = {}  # images counted for that

    # -- before -----------------------------------------------------------------

    async def stand(
        self,
        body: Body | None,
        headers: tuple[tuple[str, str], ...] = (),
        seen: frozenset[str] = frozenset(),
        *,
        inherits: bool | None = None,
    ) -> Standing:
        """Take what the request may use up, and say where the counters stood.

        Args:
            body: As it was read.
            headers: Those that may choose something.
            seen: The ids of state that were judged here before.
            inherits: Whether that state holds an image tool.
        """
        match = self._context.match
        if match is None:
            return NOWHERE
        request = self._context.asks(match, body, headers, seen)
        again = tells_again(match.door)
        if self._tells or request.is_message or (body is not None and not again):
            # An image that nobody could expect counts like any other.
            self._images = counts_images(self._gate.decider.book, request)
        claim = self._gate.claim(request, inherits=inherits)
        if any(counter.quota.what == "cost" for counter in self._images):
            known = claim.price if claim.images else None
            fares = self._gate.fares
            self._price = fares.any_of(match) if known is None else known
        if not claim.counters:
            return NOWHERE
        decision_id = self._context.decision_id
        places = [f"{decision_id}.{number}" for number in range(claim.images)]
        counts = await self._take(claim.counters, places)
        return Standing(
            counts=counts,
            inherits=inherits,
            outage=self._outage,
            price=None if claim.price is None else claim.price * claim.images,
            currency=self._gate.fares.currency,
        )

    async def _take(
        self, counters: Sequence[Counter], places: list[str]
    ) -> dict[Counter, Count]:
        now = datetime.datetime.now(tz=datetime.UTC)
        slots = tuple(slot_of(counter, now, self._price) for counter in counters)
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
            await self._give_back()

    async def undo(self) -> None:
        """Take everything back: the request does not go on."""
        requests, self._requests = self._requests, ()
        if requests:
            now = datetime.datetime.now(tz=datetime.UTC).timestamp()
            await self._store.settle(Step(slots=requests, add=-1), now)
        if self._places:
            await self._give_back()

    async def began(self, started: int) -> None:
        """Count the images that the answer has started by now."""
        fresh = started - self._counted
        if fresh <= 0 or not self._images or self._tells:
            return
        self._counted = started
        taken, self._places = self._places[:fresh], self._places[fresh:]
        now = datetime.datetime.now(tz=datetime.UTC)
        if money := self._money(now):
            self._begun[money] = self._begun.get(money, 0) + fresh
        drop = tuple(taken)
        await self._settle(now, Step(drop=drop, add=fresh, unpaid=fresh))

    async def close(self, exchange: Exchange) -> None:
        """Settle what is left when the answer has ended."""
        if self._tells:
            await self._told(exchange)
            return
        await self.began(exchange.started)
        if (exchange.unseen or exchange.unnamed) and self._places:
            # Nobody knows what was made: it is taken for what was asked for.
            await self.began(self._counted + len(self._places))
        now = datetime.datetime.now(tz=datetime.UTC)
        name = exchange.response_id if exchange.pending else None
        if name is not None and (self._places or self._counted):
            await self._wait(_waiting(self._key(name)), now)
            return
        paid, unpaid = await self._priced(exchange, now)
        if self._places or paid or unpaid:
            await self._settle(now, Step(drop=self._all(), paid=paid, unpaid=unpaid))

    async def _wait(self, places: tuple[str, ...], now: datetime.datetime) -> None:
        """Hold a place for what goes on, until somebody reads how it ended.

        What it costs counts when that is known. Until then money is held for what has
        begun, too: a count might be corrected in another window than it was made in,
        and make room there for what others spend.
        """
        begun, drop = min(self._counted, MOST_IMAGES), self._all()
        if money := self._money(now):
            back = -self._begun.pop(money, 0)
            step = Step(drop=drop, hold=places[: begun + 1], unpaid=back)
            await self._settle(now, step, only=money)
            await self._take_back(now)
        if counts := tuple(each for each in self._slots(now) if each.price is None):
            await self._settle(now, Step(drop=drop, hold=(places[begun],)), only=counts)

    async def _priced(
        self, exchange: Exchange, now: datetime.datetime
    ) -> tuple[int, int]:
        """Return what the images cost that were counted, and how many less count.

        It counts when it is on record: what was counted in a window that is over is
        taken back there.
        """
        if not self._begun:
            return 0, 0
        paid, unpaid = exchange.spent
        unpaid += self._counted - exchange.started
        unpaid -= self._begun.pop(self._money(now), 0)
        await self._take_back(now)
        return paid, unpaid

    async def _take_back(self, now: datetime.datetime) -> None:
        """Take back what was counted in windows that are over."""
        for slots, number in self._begun.items():
            await self._settle(now, Step(unpaid=-number), only=slots)

    def _money(self, now: datetime.datetime) -> tuple[Slot, ...]:
        return tuple(slot for slot in self._slots(now) if slot.price is not None)

    def _slots(self, now: datetime.datetime) -> tuple[Slot, ...]:
        return tuple(slot_of(each, now, self._price) for each in self._images)

    async def _told(self, exchange: Exchange) -> None:
        """Count what was made in the background, the first time that it is told."""
        name = exchange.response_id
        if name is not None and exchange.over:
            drop, (paid, unpaid) = _waiting(self._key(name)), exchange.spent
            now = datetime.datetime.now(tz=datetime.UTC)
            add = exchange.started
            step = Step(drop=drop, add=add, if_held=True, paid=paid, unpaid=unpaid)
            await self._settle(now, step)

    async def _settle(
        self,
        now: datetime.datetime,
        change: Step,
        *,
        only: tuple[Slot, ...] | None = None,
    ) -> None:
        slots = self._slots(now) if only is None else only
        step = msgspec.structs.replace(change, slots=slots)
        if slots:
            await self._store.settle(step, now.timestamp())

    async def _give_back(self) -> None:
        now = datetime.datetime.now(tz=datetime.UTC)
        await self._settle(now, Step(drop=self._all()))

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
