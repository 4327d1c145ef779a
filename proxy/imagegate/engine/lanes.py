"""Which exchange a message of the provider's belongs to.

Messages of a WebSocket carry no id of the request that they answer. A lane is
served first in, first out, so what comes on it belongs to the exchange at its head,
from `response.created` to the end of that response. Two kinds of message only add to
a response that is being made: what is injected is acknowledged and no more; what
steers is followed by a response of its own, which nobody asks for again, and which
comes next on the lane.

What belongs to nobody is told to the connection's own exchange: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from imagegate.engine.decision import JudgedTool
from imagegate.engine.exchange import Exchange
from imagegate.engine.frames import Told
from imagegate.engine.records import Outcome

Kind: TypeAlias = Literal["response.create", "response.steer", "response.inject"]

_CREATED: Final = "response.created"
_ENDS: Final = frozenset(
    {"response.completed", "response.failed", "response.incomplete"}
)
_INJECTED: Final = "response.inject.created"
_REMEMBERED: Final = 1_000
"""Responses of one connection; the provider ends it after an hour."""


class Turn:
    """An exchange in its place.

    Attributes:
        exchange: The exchange.
        lane: The lane.
        kind: The type of the client's message.
        target: The response that it adds to.
        inherits: What it goes on from holds an image tool.
        steer_id: What the provider calls it, if it steers.
        response_id: The response that it earned, as soon as that is known.
    """

    def __init__(
        self,
        exchange: Exchange,
        *,
        lane: str | None,
        kind: Kind,
        target: str | None = None,
        inherits: bool = False,
    ) -> None:
        self.exchange = exchange
        self.lane = lane
        self.kind = kind
        self.target = target
        self.inherits = inherits
        self.steer_id: str | None = None
        self.response_id: str | None = None


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A response that was made on this connection.

    Attributes:
        lane: Where.
        rules: The name of those that it was judged by.
        tools: The image tools that it had, as they were sent.
        holds: It has one, or goes on from a response that does.
    """

    lane: str | None
    rules: str
    tools: tuple[JudgedTool, ...]
    holds: bool


class Belongs(msgspec.Struct, frozen=True, kw_only=True):
    """Whose a message is.

    Attributes:
        exchange: None when it only repeats what was told of one that is over.
        over: The exchanges that end with it.
    """

    exchange: Exchange | None
    over: tuple[Exchange, ...] = ()


class Lanes:
    """The exchanges of one connection that are not over.

    Args:
        connection: The connection's own exchange.
    """

    def __init__(self, connection: Exchange) -> None:
        self.made: dict[str, Made] = {}
        self._connection = connection
        self._lanes: dict[str | None, list[Turn]] = {}
        self._waiting: list[Turn] = []  # what adds to a response
        self._errors: dict[str | None, int] = {}  # that may be for a later turn

    def __len__(self) -> int:
        """Count the exchanges."""
        return len(self._waiting) + sum(map(len, self._lanes.values()))

    def __iter__(self) -> Iterator[Exchange]:
        """Yield the exchanges, oldest first on each lane."""
        for turns in (*self._lanes.values(), self._waiting):
            yield from (turn.exchange for turn in turns)

    @property
    def names(self) -> frozenset[str | None]:
        """The lanes on which something is open."""
        return frozenset(self._lanes)

    def add(self, turn: Turn) -> None:
        """Take an exchange whose message goes to the provider."""
        if turn.kind == "response.create":
            self._lanes.setdefault(turn.lane, []).append(turn)
        else:
            self._waiting.append(turn)

    def remove(self, exchange: Exchange) -> None:
        """Forget one whose message did not go."""
        for turn in self._turns():
            if turn.exchange is exchange:
                self._drop(turn)

    # -- what the provider tells ------------------------------------------------

    def place(self, told: Told) -> Belongs:
        """Say whose a message is, and move on."""
        kind = told.type or ""
        if kind.startswith("response.inject."):
            return self._injected(told)
        if kind.startswith("response.steer."):
            return self._steered(told)
        lane = self._lane(told)
        if kind == _CREATED and lane not in self._lanes:
            self._seat([turn for turn in self._steering() if turn.lane == lane][:1])
        turns = self._lanes.get(lane, [])
        if kind in _ENDS and self._is_repeated(told, turns):
            return Belongs(exchange=None)
        if not turns:
            return Belongs(exchange=self._connection)
        return self._on_lane(kind, told, turns)

    def _on_lane(self, kind: str, told: Told, turns: list[Turn]) -> Belongs:
        if kind == _CREATED:
            return self._created(told, turns)
        if kind in _ENDS:
            return self._ended(told, turns)
        if kind == "error":
            return self._failed(turns)
        return Belongs(exchange=turns[0].exchange)

    def _lane(self, told: Told) -> str | None:
        made = self.made.get(told.response_id or "")
        if made is not None:
            return made.lane
        if told.stream_id is None and None not in self._lanes and len(self._lanes) == 1:
            return next(iter(self._lanes))
        return told.stream_id

    def _is_repeated(self, told: Told, turns: list[Turn]) -> bool:
        """Whether a response that is over ends once more, as behind an error."""
        known = told.response_id in self.made
        return known and not (turns and turns[0].response_id == told.response_id)

    def _created(self, told: Told, turns: list[Turn]) -> Belongs:
        over: list[Exchange] = []
        head = turns[0]
        if head.response_id not in (None, told.response_id):
            # It did not say that it is over.
            over += self._end(head, self._promoted(head))
            if not turns:
                return Belongs(exchange=self._connection, over=tuple(over))
            head = turns[0]
        head.response_id = told.response_id
        over += self._joined(head)
        if told.response_id is not None:
            self._remember(told.response_id, head)
        return Belongs(exchange=head.exchange, over=tuple(over))

    def _remember(self, response_id: str, turn: Turn) -> None:
        while len(self.made) >= _REMEMBERED:
            del self.made[next(iter(self.made))]
        tools = turn.exchange.sent
        self.made[response_id] = Made(
            lane=turn.lane,
            rules=turn.exchange.rules,
            tools=tools,
            holds=turn.inherits or any(tool.sent for tool in tools),
        )

    def _joined(self, head: Turn) -> Iterator[Exchange]:
        """End what steered the same response: its input went into one successor."""
        for turn in self._turns():
            alike = head.kind == turn.kind == "response.steer"
            if alike and turn.response_id is None and turn.target == head.target:
                yield from self._settle(turn, "accepted")

    def _ended(self, told: Told, turns: list[Turn]) -> Belongs:
        head = turns[0]
        errors = self._errors.pop(head.lane, 0)
        over = self._end(head, self._promoted(head))
        if errors and told.type != "response.failed":
            # So it was not this one that failed, but one that had not begun.
            later = [turn for turn in turns if turn.kind == "response.create"]
            for turn in later[:errors]:
                over += self._settle(turn, "failed")
        return Belongs(exchange=head.exchange, over=tuple(over))

    def _failed(self, turns: list[Turn]) -> Belongs:
        """Take an error, which does not say of which response it speaks."""
        head = turns[0]
        if head.response_id is not None and len(turns) > 1:
            self._errors[head.lane] = self._errors.get(head.lane, 0) + 1
            return Belongs(exchange=head.exchange)
        return Belongs(exchange=head.exchange, over=tuple(self._end(head, [])))

    # -- what adds to a response ------------------------------------------------

    def _injected(self, told: Told) -> Belongs:
        outcome: Outcome = "completed" if told.type == _INJECTED else "failed"
        for turn in self._waiting:
            if turn.kind == "response.inject" and turn.target == told.response_id:
                over = tuple(self._settle(turn, outcome))
                return Belongs(exchange=turn.exchange, over=over)
        return Belongs(exchange=self._connection)

    def _steered(self, told: Told) -> Belongs:
        steering = [
            turn
            for turn in self._turns()
            if turn.kind == "response.steer"
            and turn.response_id is None
            and turn.target == told.target
        ]
        # What the provider has named is found by its name, and else in order.
        named = [turn for turn in steering if turn.steer_id == told.steer_id]
        nameless = [turn for turn in steering if turn.steer_id is None]
        if not (named or nameless):
            return Belongs(exchange=self._connection)
        mine = (named or nameless)[0]
        over: list[Exchange] = []
        if told.type == "response.steer.accepted":
            mine.steer_id = told.steer_id
            open_ = [turn.response_id for turn in self._lanes.get(mine.lane, ())]
            self._seat([] if mine.target in open_ else [mine])
        elif told.type == "response.steer.failed":
            over += self._settle(mine, "failed")
        elif told.type == "response.steer.pending":
            # It goes into a request that the client has yet to make.
            for turn in steering:
                over += self._settle(turn, "accepted")
        return Belongs(exchange=mine.exchange, over=tuple(over))

    def _promoted(self, head: Turn) -> list[Turn]:
        """Return what follows a response by itself: the first that steered it."""
        return [t for t in self._steering() if t.target == head.response_id][:1]

    def _steering(self) -> list[Turn]:
        """Return what steers a response, and is not followed by one yet."""
        return [turn for turn in self._waiting if turn.kind == "response.steer"]

    def _seat(self, late: list[Turn]) -> None:
        """Put on its lane what steered a response that was over; its own follows."""
        for turn in late:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._lanes.setdefault(turn.lane, []).append(turn)

    # -- moving on --------------------------------------------------------------

    def _end(self, head: Turn, promoted: list[Turn]) -> list[Exchange]:
        """End the head of a lane; what it is followed by takes its place."""
        for turn in promoted:
            self._waiting.remove(turn)
            turn.lane = head.lane
            self._lanes[head.lane].insert(1, turn)
        self._drop(head)
        return [head.exchange]

    def _settle(self, turn: Turn, outcome: Outcome) -> Iterator[Exchange]:
        turn.exchange.answered(outcome)
        self._drop(turn)
        yield turn.exchange

    def _turns(self) -> list[Turn]:
        lanes = [turn for turns in self._lanes.values() for turn in turns]
        return lanes + self._waiting

    def _drop(self, turn: Turn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
            return
        turns = self._lanes[turn.lane]
        turns.remove(turn)
        if not turns:
            del self._lanes[turn.lane]
