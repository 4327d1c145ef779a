"""What an image costs at most that a request may make, before it is made.

The settings are those that are sent, as they were decided on. What came along from
earlier turns shows none, and is taken for the dearest that is known of its provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import msgspec

from imagegate.engine.allowance import Claim, brings, claim_of
from imagegate.engine.decide import Decider
from imagegate.engine.decision import Block, Decision, JudgedTool
from imagegate.engine.models import row_of
from imagegate.engine.prices import Prices
from imagegate.engine.quota import millionths
from imagegate.engine.request import Request
from imagegate.engine.scene import Scene
from imagegate.engine.surface import Match


class Fares:
    """A policy's models and a price table; safe to share.

    Args:
        decider: The policy.
        prices: What images cost; without, no price is known.
    """

    def __init__(self, decider: Decider, prices: Prices | None) -> None:
        self._decider = decider
        self._prices = prices

    @property
    def currency(self) -> str:
        """The currency of the table."""
        return "" if self._prices is None else self._prices.currency

    def claim(
        self,
        request: Request,
        decide: Callable[[Request], Decision],
        *,
        inherits: bool | None = None,
    ) -> Claim:
        """Say what a request would use up, and what an image of it may cost.

        Args:
            request: The request, with its headers.
            decide: Says what becomes of it as far as nothing is counted.
            inherits: Whether what it refers to holds an image tool, as far as is known.
        """
        claim = claim_of(self._decider.book, request, inherits=inherits)
        if not any(each.quota.what == "cost" for each in claim.counters):
            return claim
        price = self._price(request, decide(request), inherits=inherits)
        return msgspec.structs.replace(claim, price=price)

    def _price(
        self, request: Request, decision: Decision, *, inherits: bool | None
    ) -> int | None:
        """Return what one image may cost in millionths; None if no price is known."""
        if self._prices is None:
            return None
        if isinstance(decision, Block):
            return 0
        sent = tuple(tool for tool in decision.tools if tool.sent)
        found = [*self._of_tools(self._prices, request, sent)]
        body = request.body
        if not sent or body is None or brings(request, body, inherits=inherits):
            found.append(self._prices.dearest(request.match.family.provider))
        known = [price for price in found if price is not None]
        return millionths(max(known), up=True) if len(known) == len(found) else None

    def any_of(self, match: Match) -> int:
        """Return what an image is counted for of which nobody knows the settings.

        Where its provider has no prices, the dearest of any stands for it: what was
        made is never nothing.
        """
        if self._prices is None:
            return 0
        own = self._prices.dearest(match.family.provider)
        others = (self._prices.dearest(each) for each in self._prices.models)
        known = [price for price in others if price is not None]
        return millionths(own or max(known, default=Decimal(0)), up=True)

    def _of_tools(
        self, prices: Prices, request: Request, tools: tuple[JudgedTool, ...]
    ) -> Iterator[Decimal | None]:
        page = self._decider.book.page(request.principal, request.date)
        scene = self._decider.scene(page.acting, request.match, mapped=False)
        provider = request.match.family.provider
        for tool in tools:
            models = self._models(scene, tool.enforced.get("model"))
            made = tool.enforced.get("quality"), tool.enforced.get("size")
            yield prices.dearest(provider, models, made)

    def _models(self, scene: Scene, said: object) -> tuple[str, ...] | None:
        """Return the names of the model that draws; None where nobody knows which."""
        name = said if isinstance(said, str) else None
        if scene.provider.name == "azure" and name is not None:
            name = self._decider.policy.deployments.get(name, name)
        if name is None and not scene.images_api:
            name = scene.provider.default_model
        row = row_of(scene, name)
        names = (name, None if row is None else row.name)
        return tuple(each for each in names if each is not None) or None
