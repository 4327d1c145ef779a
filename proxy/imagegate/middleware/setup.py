"""What a middleware is made of: fixed for a request, shared by all of one time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import msgspec
from starlette.types import ASGIApp, Scope

from imagegate.audit import Audit
from imagegate.engine.errors import Unidentified
from imagegate.engine.gate import Gate
from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.engine.quota import Outage
from imagegate.gates import Edition, Gates
from imagegate.middleware.load import Load
from imagegate.quotas import Quotas
from imagegate.seen import Seen

Identify = Callable[[Scope], Awaitable[Principal]]
"""Says who asks, from the head of a request; raises `MalformedRequest` to refuse.

Of a WebSocket it is asked again at each message that the client sends, so that who is
not known any more is not served any more.
"""


Way: TypeAlias = Literal["http", "in_process"]
"""How requests come, for the records: from a server, or from a client in here."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a request is taken, and how long things may take.

    Attributes:
        body: Bytes of the body, before and after decoding. The API takes 50 MB
            of images; base64 makes 67 of them.
        seconds: From the first to the last byte of the body.
        rate: Bytes of the body that come in a second at least, behind the first ten.
        headers: Header lines. nginx takes as many as fit, Apache 100.
        head: Bytes of all headers; nginx's default is 32 KB too.
        answer: Bytes of an encoded answer, decoded to be observed; five images at
            their largest. It bounds what a bomb costs: what is relayed has no limit.
        waiting: Bytes of a WebSocket's messages that wait for their turn.
        exchanges: How many there may be at once. An open WebSocket is one; the first
            message under way on it goes in its place.
        exchanges_each: How many of one principal; as many as there can be if None.
        bodies: Bytes of requests that are held at once, until they have been sent on:
            a fraction of what the machine has.
        grace: Seconds in which an application that knows that its client left, or
            that its answer was cut, may stop by itself before it is cancelled.
    """

    body: int = 72 * 1024 * 1024
    seconds: float = 120.0
    rate: int = 1024
    headers: int = 100
    head: int = 32 * 1024
    answer: int = 256 * 1024 * 1024
    waiting: int = 96 * 1024 * 1024
    exchanges: int = 2_000
    exchanges_each: int | None = None
    bodies: int = 512 * 1024 * 1024
    grace: float = 1.0


def load_of(limits: Limits) -> Load:
    """Return what counts what is under way at once; one for a process."""
    return Load(limits.exchanges, limits.exchanges_each, limits.bodies)


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a middleware, and the edition that one request is judged by.

    Attributes:
        gates: What holds now, to be asked by `up_to_date` alone.
        edition: What holds for whoever has these parts, whatever holds now.
        outage: What is done where the counters of quotas cannot be asked.
        realm: Within which a provider's names mean something.
    """

    app: ASGIApp
    gates: Gates
    edition: Edition
    audit: Audit
    identify: Identify
    limits: Limits
    seen: Seen
    quotas: Quotas
    load: Load
    outage: Outage = "refuse"
    way: Way = "http"
    realm: str = ""

    def key(self, name: str) -> str:
        """Name what a provider calls so, apart from what another one does.

        Some let their clients choose what a response is called.
        """
        plain = not self.realm and "\n" not in name
        return name if plain else f"{self.realm}\n{name}"

    @property
    def gate(self) -> Gate:
        """The policy that acts."""
        return self.edition.gate

    def up_to_date(self) -> Setup:
        """Return the parts with what holds now."""
        edition = self.gates.current
        if edition is self.edition:
            return self
        return msgspec.structs.replace(self, edition=edition)


async def anonymous(scope: Scope) -> Principal:
    """Identify nobody."""
    del scope
    return ANONYMOUS


def nobody(error: Unidentified) -> Principal:
    """Name who was not taken for whom they said, for the record alone.

    It has no source, like all of whom nothing is known.
    """
    return Principal(id=error.principal_id or ANONYMOUS.id, proof=error.proof)
