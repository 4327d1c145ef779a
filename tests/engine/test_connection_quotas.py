"""What goes on from a response of a connection may hold the image tool, or not."""

from __future__ import annotations

import json

import pytest
from asking import CATALOGUE, TODAY, door, policy, tool

from imagegate.engine.connection import Connection
from imagegate.engine.exchange import Exchange
from imagegate.engine.frames import Sent, read_sent
from imagegate.engine.gate import Context, Gate

GATE = Gate(policy("state: { previous_response: allow }\n"), CATALOGUE)
CONTEXT = Context(decision_id="d", door=door("WEBSOCKET /v1/responses"), date=TODAY)


def message(**members: object) -> Sent:
    data = {"type": "response.create", "model": "gpt-5", "input": "x", **members}
    match = CONTEXT.match
    assert match is not None
    reading = read_sent(json.dumps(data).encode(), match.door)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            found: Sent = end.value
            return found


@pytest.mark.parametrize("tools", [[], [tool()]])
def test_a_response_of_this_connection_is_known(tools: list[object]) -> None:
    own = Exchange(GATE, CONTEXT)
    own.request(None)
    connection = Connection(GATE, own)
    judged = connection.judge(CONTEXT, message(tools=tools))
    connection.sent(judged.exchange)
    created = {"type": "response.created", "response": {"id": "resp_1"}}
    connection.hear(json.dumps(created).encode())

    assert connection.inherits(message(previous_response_id="resp_1")) is bool(tools)
    assert connection.inherits(message(previous_response_id="resp_2")) is None
    assert connection.inherits(message()) is None
    assert connection.judged(judged.exchange.rules) == {"resp_1"}
    assert not connection.judged("others")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_a_response_holds_is_handed_down(*, elsewhere: bool) -> None:
    """However many turns later, and wherever the first of them was made."""
    own = Exchange(GATE, CONTEXT)
    own.request(None)
    connection = Connection(GATE, own)
    names = ["resp_1", "resp_2", "resp_3", "resp_4"]
    for number, name in enumerate(names):
        more: dict[str, object] = {"tools": [tool()]}
        if number or elsewhere:
            before = names[number - 1] if number else "resp_0"
            more = {"previous_response_id": before, "tool_choice": "none"}
        known = elsewhere and not number
        judged = connection.judge(CONTEXT, message(**more), inherits=known)
        connection.sent(judged.exchange)
        for turn in ("created", "completed"):
            said = {"type": f"response.{turn}", "response": {"id": name}}
            connection.hear(json.dumps(said).encode())

    assert all(connection.inherits(message(previous_response_id=x)) for x in names)
