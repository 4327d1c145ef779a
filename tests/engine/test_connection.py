"""One connection from top to bottom, in the order of the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import CATALOGUE, HEAD, TODAY, door, policy

from imagegate.engine.connection import Connection, Heard, Judged, Limits
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.exchange import Exchange
from imagegate.engine.frames import Sent, read_sent
from imagegate.engine.gate import Context, Gate
from imagegate.engine.policy import Principal
from imagegate.engine.records import CompletionRecord, DecisionRecord, GeneratingRecord

RULES = """
models: { default: gpt-image-1-mini, gpt-image-1-mini: {}, otherwise: block }
settings: { quality: { max: medium, default: medium, otherwise: lower } }
state: { previous_response: seen }
"""
GATE = Gate(policy(RULES, head=HEAD), CATALOGUE)
SOCKET = door("WEBSOCKET /v1/responses")
TOOL = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
FORBIDDEN = {**TOOL, "model": "gpt-image-2"}
GENERATING = "response.image_generation_call.generating"


def context(**more: Any) -> Context:
    """Describe a message, or the handshake."""
    known: dict[str, Any] = {"decision_id": "d", "transport": "websocket", **more}
    return Context(door=SOCKET, date=TODAY, **known)


class Line:
    """A connection under a test's hands."""

    def __init__(self, limits: Limits | None = None, by: Gate = GATE) -> None:
        self.own = Exchange(by, context(decision_id="own"))
        self.own.request(None)
        self.connection = Connection(by, self.own, limits=limits)
        self.count = 0

    def read(self, message: dict[str, Any]) -> Sent:
        """Read a client's message."""
        reading = read_sent(json.dumps(message).encode(), SOCKET.door)
        while True:
            try:
                next(reading)
            except StopIteration as end:
                found: Sent = end.value
                return found

    def judge(self, message: dict[str, Any]) -> Judged:
        """Judge a client's message."""
        self.count += 1
        sent = self.read(message)
        lane = self.connection.lane_of(sent)
        name = f"d-{self.count}"
        return self.connection.judge(context(decision_id=name, stream_id=lane), sent)

    def say(self, message: dict[str, Any]) -> Exchange:
        """Judge a message that is let through, and send it."""
        judged = self.judge(message)
        assert judged.ruling.refusal is None, judged.ruling.refusal
        self.connection.sent(judged.exchange)
        return judged.exchange

    def create(self, lane: str | None = None, *tools: object, **more: Any) -> Exchange:
        """Ask for a response."""
        named = {} if lane is None else {"stream_id": lane}
        body = {"model": "gpt-5", "input": "x", "tools": list(tools), **named, **more}
        return self.say({"type": "response.create", **body})

    def hear(self, kind: str, lane: str | None = None, **members: Any) -> Heard:
        """Take a provider's message."""
        named = {} if lane is None else {"stream_id": lane}
        data = json.dumps({"type": kind, **members, **named}).encode()
        return self.connection.hear(data)

    def turn(
        self, kind: str, ident: str, lane: str | None = None, **more: Any
    ) -> Heard:
        """Take the turn of a response."""
        response = {"id": ident, "tools": [], **more}
        return self.hear(f"response.{kind}", lane, response=response)

    def refusal(self, message: dict[str, Any]) -> str:
        """Return why a message is refused; nothing is open for it."""
        before = self.connection.open
        judged = self.judge(message)
        assert judged.ruling.refusal is not None
        assert judged.data == b""
        assert self.connection.open == before
        code: str = judged.ruling.refusal.error["code"]
        return code


def outcome(exchange: Exchange) -> str:
    """Return how an exchange ended."""
    record = exchange.close("ended").records[-1]
    assert isinstance(record, CompletionRecord)
    return record.outcome


def test_what_was_made_by_other_rules_is_neither_steered_nor_gone_on_with() -> None:
    """The policy may be the same, and who asks no longer in the team."""
    text = RULES + "teams: { art: { match: { team: art }, limits: { tools: 1 } } }"
    line = Line(by=Gate(policy(text, head=HEAD), CATALOGUE))
    line.create(None, TOOL)
    line.turn("created", "resp_1")
    steer = {"type": "response.steer", "previous_response_id": "resp_1", "input": "x"}
    again = {"type": "response.create", "previous_response_id": "resp_1", "input": "x"}
    ann = Principal(id="anonymous", attributes={"team": ("art",)}, verified=True)

    def refusal(message: dict[str, Any]) -> str:
        judged = line.connection.judge(context(principal=ann), line.read(message))
        assert judged.ruling.refusal is not None
        code: str = judged.ruling.refusal.error["code"]
        return code

    assert refusal(steer) == "steering_unjudged"
    assert refusal(again) == "image_policy_violation"
    assert line.judge(steer).ruling.refusal is None
    assert line.judge(again).ruling.refusal is None


def test_each_create_is_an_exchange_of_its_own() -> None:
    """Judged, changed and observed like a request."""
    line = Line()
    judged = line.judge(
        {"type": "response.create", "tools": [{**TOOL, "quality": "high"}]}
    )

    line.connection.sent(judged.exchange)
    echo = [{**TOOL, "quality": "medium"}]
    line.turn("created", "r1", tools=echo)
    heard = line.hear(GENERATING, item_id="ig_1", output_index=0, sequence_number=4)
    ended = line.turn("completed", "r1", tools=echo)

    assert b'"medium"' in judged.data
    assert judged.ruling.record.message_type == "response.create"
    (record,) = heard.fed.records
    assert isinstance(record, GeneratingRecord)
    assert (record.decision_id, record.response_id) == ("d-1", "r1")
    assert ended.over == (judged.exchange,)
    assert outcome(judged.exchange) == "completed"
    assert line.connection.open == (line.own,)


def test_a_refused_message_leaves_nothing_behind() -> None:
    """The next one is judged as if it had not been."""
    line = Line()

    bad = {"type": "response.create", "tools": [FORBIDDEN]}

    assert line.refusal(bad) == "image_policy_violation"
    assert line.refusal({"type": "session.update"}) == "image_policy_violation"
    assert line.refusal({"type": "response.create", "tools": [FORBIDDEN]})
    assert line.create() in line.connection.open


def test_what_cannot_be_read_is_refused_on_its_lane() -> None:
    """A word of the engine's, like any other."""
    line = Line()

    judged = line.connection.malformed(
        context(stream_id="a"), MalformedRequest("duplicate_key", "twice")
    )

    assert judged.exchange.lane == "a"
    assert judged.ruling.record.event == "imagegate.request_malformed"


def test_lanes_do_not_mix() -> None:
    """Each one is served in its own order."""
    line = Line()
    first, second = line.create("a", TOOL), line.create("b", TOOL)
    third = line.create("a", TOOL)

    assert line.turn("created", "r2", "b").exchange is second
    assert line.turn("created", "r1", "a").exchange is first
    assert line.hear(GENERATING, "b").exchange is second
    assert line.hear(GENERATING, "a").exchange is first
    assert line.turn("completed", "r1", "a").over == (first,)
    assert line.turn("created", "r3", "a").exchange is third


def test_a_piece_of_text_belongs_to_the_head_of_its_lane() -> None:
    """It is counted there."""
    line = Line()
    first = line.create("a")
    line.create("b")
    data = b'{"type":"response.output_text.delta","stream_id":"a","delta":"x"}'

    heard = line.connection.hear(data)

    assert heard.exchange is first
    record = first.close("ended").records[-1]
    assert isinstance(record, CompletionRecord)
    assert record.bytes_out == len(data)


def test_an_echo_that_contradicts_ends_with_an_error_on_its_lane() -> None:
    """Before an image is made."""
    line = Line()
    exchange = line.create("a", TOOL)

    heard = line.turn("created", "r1", "a", tools=[{**TOOL, "quality": "high"}])

    assert heard.exchange is exchange
    assert heard.fed.cut is not None
    error = json.loads(heard.fed.cut.error)
    assert (error["type"], error["stream_id"]) == ("error", "a")


def test_what_belongs_to_nobody_is_told_to_the_connection() -> None:
    """An image that nobody asked for is on record too."""
    line = Line()

    heard = line.hear(GENERATING, item_id="ig_1")

    assert heard.exchange is line.own
    assert [record.event for record in heard.fed.records] == [
        "imagegate.image_generating"
    ]


def test_tools_that_nobody_asked_for_are_held_against_the_policy() -> None:
    """A successor of something that was not seen, say."""
    line = Line()

    heard = line.turn("created", "r9", tools=[FORBIDDEN])

    assert heard.exchange is line.own
    assert heard.fed.cut is not None


def test_a_response_of_this_connection_may_be_gone_on_from() -> None:
    """It was judged here, for the same client, under the same policy."""
    line = Line()
    line.create()
    more = {"type": "response.create", "previous_response_id": "r1"}

    assert line.refusal(more) == "image_policy_violation"
    line.turn("created", "r1")
    line.say(more)


# -- what adds to a response ------------------------------------------------------


def test_a_successor_is_an_exchange_with_the_settings_of_its_predecessor() -> None:
    """Nobody asks for it again, and the tools are those that were sent."""
    line = Line()
    first = line.create("a", TOOL)
    line.turn("created", "r1", "a", tools=[TOOL])

    steer = line.say(
        {"type": "response.steer", "previous_response_id": "r1", "input": "y"}
    )
    accepted = {"id": "s1", "previous_response_id": "r1"}
    heard = line.hear("response.steer.accepted", "a", steer=accepted)
    line.turn("incomplete", "r1", "a")
    created = line.turn("created", "r2", "a", tools=[TOOL])
    generating = line.hear(GENERATING, "a", item_id="ig_2")
    ended = line.turn("completed", "r2", "a")

    assert steer.lane == "a"
    assert steer.sent == first.sent
    assert heard.exchange is steer
    assert created.exchange is steer
    (record,) = generating.fed.records
    assert isinstance(record, GeneratingRecord)
    assert record.settings_from == "request"
    assert record.settings[0]["quality"] == "low"
    assert ended.over == (steer,)
    assert outcome(steer) == "completed"


@pytest.mark.parametrize("target", ["r9", None, 1])
def test_what_was_not_judged_here_is_not_steered(target: object) -> None:
    """Its successor would take over settings that nobody has seen."""
    line = Line()
    message = {"type": "response.steer", "previous_response_id": target, "input": "y"}

    assert line.refusal(message) == "steering_unjudged"


def test_what_was_judged_under_another_policy_is_not_steered() -> None:
    """Its settings may be forbidden by now."""
    line = Line()
    line.create()
    line.turn("created", "r1")
    line.connection.gate = Gate(policy(RULES + "limits: { tools: 1 }\n"), CATALOGUE)
    message = {"type": "response.steer", "previous_response_id": "r1", "input": "y"}

    assert line.refusal(message) == "steering_unjudged"
    more = {"type": "response.create", "previous_response_id": "r1"}
    assert line.refusal(more) == "image_policy_violation"


@pytest.mark.parametrize("kind", ["response.steer", "response.inject"])
def test_what_adds_to_a_response_says_nothing_else(kind: str) -> None:
    """Another member may be another way to bring settings in."""
    line = Line()

    assert line.refusal({"type": kind, "input": "y", "tools": []}) == "unknown_member"


def test_what_is_injected_is_judged_and_acknowledged() -> None:
    """Its tools are tools."""
    line = Line()
    line.create()
    line.turn("created", "r1")
    item = {"type": "additional_tools", "tools": [TOOL]}
    message = {"type": "response.inject", "response_id": "r1", "input": [item]}

    bad = {**message, "input": [{**item, "tools": [FORBIDDEN]}]}
    assert line.refusal(bad) == "image_policy_violation"
    exchange = line.say(message)
    heard = line.hear("response.inject.created", response_id="r1")

    assert heard.over == (exchange,)
    assert outcome(exchange) == "completed"


# -- limits -----------------------------------------------------------------------


def test_nothing_is_made_in_the_background() -> None:
    """It would go on unseen when the connection has ended."""
    line = Line()
    message = {"type": "response.create", "background": True}

    assert line.refusal(message) == "background"
    line.create(background=False)


def test_so_many_lanes_are_open_and_no_more() -> None:
    """One that is open already may take another request."""
    line = Line(Limits(lanes=2))
    line.create("a")
    line.create()

    message = {"type": "response.create", "stream_id": "b"}
    assert line.refusal(message) == "too_many_lanes"
    line.create("a")


def test_so_many_requests_are_open_and_no_more() -> None:
    """Those count too that are judged, and not sent yet."""
    line = Line(Limits(exchanges=2))
    judged = line.judge({"type": "response.create"})
    line.create()

    assert line.refusal({"type": "response.create"}) == "too_many_requests"
    line.connection.unsent(judged.exchange)
    exchange = line.create()
    line.connection.unsent(exchange)
    assert exchange not in line.connection.open


def test_the_headers_of_the_handshake_go_with_every_message() -> None:
    """On Azure one of them names the image model."""
    rules = RULES + "deployments: { mini: gpt-image-1-mini, dear: gpt-image-2 }\n"
    gate = Gate(policy(rules), CATALOGUE)
    azure = door("WEBSOCKET /openai/v1/responses")
    own = Exchange(gate, context())
    header = ("x-ms-oai-image-generation-deployment", "dear")
    connection = Connection(gate, own, (header,))
    body = {"type": "response.create", "model": "gpt-5"}
    sent = Line().read(body)

    judged = connection.judge(
        Context(door=azure, decision_id="d", date=TODAY, transport="websocket"), sent
    )

    assert judged.ruling.refusal is not None
    assert isinstance(judged.ruling.record, DecisionRecord)


def test_a_response_that_is_over_and_ends_once_more_is_nobodys() -> None:
    """As the failure that follows an error is."""
    line = Line()
    exchange = line.create()
    line.turn("created", "r1")
    assert line.hear("error", error={"code": "x"}).over == (exchange,)

    heard = line.turn("failed", "r1")

    assert heard.exchange is line.own
    assert heard.fed.records == ()
    assert heard.over == ()
