"""One WebSocket between a client and a provider: many exchanges, one beside another.

Each `response.create` is an exchange, judged like a request; so is what steers a
response, or is injected into one. A shell moves the messages; this says whose each
one is:

    judge -> Judged       a client's message: its exchange, and what becomes of it
    sent                  the message goes on; the provider will answer
    hear -> Heard         a provider's message: whose it is, and which ones it ends

The connection itself is an exchange too, from its handshake to its end.
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from imagegate.engine.decision import Rewrite
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.exchange import NOTHING, Exchange, Fed, Ruling
from imagegate.engine.fingerprint import Fingerprints
from imagegate.engine.frames import Sent, read_told
from imagegate.engine.gate import Context, Gate
from imagegate.engine.lanes import Kind, Lanes, Turn
from imagegate.engine.quota import NOWHERE, Standing

_STEER: Final = "response.steer"
_INJECT: Final = "response.inject"
_MEMBERS: Final = {
    _STEER: frozenset({"type", "stream_id", "previous_response_id", "input"}),
    _INJECT: frozenset({"type", "stream_id", "response_id", "input"}),
}
"""All that those may say that add to a response; the rest is inherited."""
_NO_FINGERPRINTS: Final = Fingerprints()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may be open on a connection.

    Attributes:
        lanes: With the one without a name; the provider has as many.
        exchanges: The provider makes 16 at a time and queues the rest.
    """

    lanes: int = 33
    exchanges: int = 128


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A client's message.

    Attributes:
        exchange: Its exchange.
        ruling: What becomes of it.
        data: What goes on in its place; nothing if it is refused.
    """

    exchange: Exchange
    ruling: Ruling
    data: bytes = b""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a message of the provider's; it goes on whole.

    Attributes:
        exchange: Whose it is.
        fed: To be done before it goes on.
        over: The exchanges that are over when it has gone on.
    """

    exchange: Exchange
    fed: Fed
    over: tuple[Exchange, ...] = ()


class Connection:
    """The exchanges of one connection; one use.

    Args:
        gate: The policy, laid out.
        exchange: The connection's own, of its handshake.
        headers: Of the handshake, in lower case: they go with every message.
        limits: How much may be open.

    Attributes:
        gate: What the next message is judged by; a shell may put another there
            between two messages. What is under way ends under the one it has.
        headers: Those that go with every message.
    """

    def __init__(
        self,
        gate: Gate,
        exchange: Exchange,
        headers: tuple[tuple[str, str], ...] = (),
        limits: Limits | None = None,
    ) -> None:
        self.gate = gate
        self._own = exchange
        self.headers = headers
        self._limits = limits or Limits()
        self._lanes = Lanes(exchange)
        self._turns: dict[Exchange, Turn] = {}  # judged, and not on their way yet

    @property
    def open(self) -> tuple[Exchange, ...]:
        """The exchanges that the provider has not ended, and the connection's own."""
        return (*self._lanes, self._own)

    # -- from the client --------------------------------------------------------

    def lane_of(self, sent: Sent) -> str | None:
        """Return the lane on which the answer to a message comes."""
        made = self._lanes.made.get(self._target(sent) or "")
        return sent.stream_id if made is None else made.lane

    def judge(  # noqa: PLR0913 - what is known of a message
        self,
        context: Context,
        sent: Sent,
        fingerprints: Fingerprints = _NO_FINGERPRINTS,
        seen: frozenset[str] = frozenset(),
        standing: Standing = NOWHERE,
        *,
        inherits: bool = False,
    ) -> Judged:
        """Judge a message.

        Args:
            context: Who asks, and when; with the lane that `lane_of` returned.
            sent: The message.
            fingerprints: What `Gate.fingerprint` gave, where it was asked for.
            seen: The ids of state that were judged elsewhere for this principal.
            standing: Where the counters stand that `claim_of` named.
            inherits: What it goes on from was made elsewhere, and holds an image tool.
        """
        exchange = Exchange(self.gate, context)
        fault = self._fault(sent, context.stream_id, exchange.rules)
        if fault is not None:
            return Judged(exchange=exchange, ruling=exchange.malformed(fault))
        target = self._target(sent)
        made = self._lanes.made.get(target or "")
        ruling = exchange.request(
            sent.body,
            self.headers,
            seen=seen | self.judged(exchange.rules),
            fingerprints=fingerprints,
            standing=standing,
            inherited=made.tools if made is not None and sent.type == _STEER else (),
        )
        if ruling.refusal is not None:
            return Judged(exchange=exchange, ruling=ruling)
        self._turns[exchange] = Turn(
            exchange,
            lane=context.stream_id,
            kind=cast("Kind", sent.type),
            target=target,
            inherits=inherits or bool(self.inherits(sent)),
        )
        decision = ruling.decision
        edits = decision.edits if isinstance(decision, Rewrite) else ()
        data = bytes(sent.body.rewritten(edits))
        return Judged(exchange=exchange, ruling=ruling, data=data)

    def malformed(self, context: Context, fault: MalformedRequest) -> Judged:
        """Refuse a message that could not be read."""
        exchange = Exchange(self.gate, context)
        return Judged(exchange=exchange, ruling=exchange.malformed(fault))

    def sent(self, exchange: Exchange) -> None:
        """Take word that a message goes to the provider."""
        self._lanes.add(self._turns.pop(exchange))

    def unsent(self, exchange: Exchange) -> None:
        """Take word that a message does not go after all."""
        self._turns.pop(exchange, None)
        self._lanes.remove(exchange)

    def judged(self, rules: str) -> frozenset[str]:
        """Return the responses that were made here under the same rules."""
        made = self._lanes.made.items()
        return frozenset(ident for ident, each in made if each.rules == rules)

    def inherits(self, sent: Sent) -> bool | None:
        """Tell whether the response that a message goes on from holds an image tool.

        None where it was not made on this connection.
        """
        made = self._lanes.made.get(sent.text("previous_response_id") or "")
        return None if made is None else made.holds

    def _target(self, sent: Sent) -> str | None:
        """Name the response that a message adds to."""
        if sent.type == _STEER:
            return sent.text("previous_response_id")
        return sent.text("response_id") if sent.type == _INJECT else None

    def _fault(
        self, sent: Sent, lane: str | None, rules: str
    ) -> MalformedRequest | None:
        """Say what no connection takes, whatever the policy says."""
        background = sent.body.get("background")
        if background is not None and background.plain():
            said = "nothing is made in the background of a connection"
            return MalformedRequest("background", said, pointer="/background")
        known = _MEMBERS.get(sent.type or "")
        strange = known and next(
            (key for key in sent.body.members if key not in known), None
        )
        if strange:
            said = f"this takes {', '.join(sorted(known or ()))} and nothing else"
            return MalformedRequest("unknown_member", said, pointer=f"/{strange}")
        if sent.type == _STEER and self._target(sent) not in self.judged(rules):
            return MalformedRequest(
                "steering_unjudged",
                "the successor takes over settings that were not judged on this "
                "connection, or not by these rules; send response.create",
                pointer="/previous_response_id",
                status=403,
            )
        return self._excess(lane)

    def _excess(self, lane: str | None) -> MalformedRequest | None:
        names = self._lanes.names | {turn.lane for turn in self._turns.values()}
        if lane not in names and len(names) >= self._limits.lanes:
            said = f"{self._limits.lanes} lanes are open on this connection"
            return MalformedRequest("too_many_lanes", said, status=429)
        if len(self._lanes) + len(self._turns) >= self._limits.exchanges:
            said = f"{self._limits.exchanges} requests are open on this connection"
            return MalformedRequest("too_many_requests", said, status=429)
        return None

    # -- from the provider ------------------------------------------------------

    def hear(self, data: bytes) -> Heard:
        """Take a message of the provider's."""
        told = read_told(data)
        belongs = self._lanes.place(told)
        if belongs.exchange is None:
            return Heard(exchange=self._own, fed=NOTHING)
        fed = belongs.exchange.message(data, told.events)
        return Heard(exchange=belongs.exchange, fed=fed, over=belongs.over)
