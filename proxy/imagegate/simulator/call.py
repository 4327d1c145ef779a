"""A request on its way to whoever answers it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec

from imagegate.simulator.behaviour import Behaviour
from imagegate.simulator.dialect import Place
from imagegate.simulator.received import Received


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """The request, where it leads, and how it is to be answered.

    Attributes:
        ident: What the path names; an item within it is `item`.
        held: The response that its connection still holds, stored or not.
    """

    received: Received
    place: Place
    behaviour: Behaviour
    body: dict[str, Any]
    ident: str = ""
    item: str = ""
    held: str | None = None

    def query(self, name: str) -> str | None:
        """Return a parameter of the query; of several, the last."""
        values = parse_qs(self.received.query).get(name)
        return values[-1] if values else None
