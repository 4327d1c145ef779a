"""What only the exchanges of a WebSocket have."""

from __future__ import annotations

from asking import CATALOGUE, TODAY, body, door, policy, request, tool

from imagegate.engine.exchange import Exchange
from imagegate.engine.frames import read_told
from imagegate.engine.gate import Context, Gate
from imagegate.engine.records import CompletionRecord, GeneratingRecord

SOCKET = door("WEBSOCKET /v1/responses")
GENERATING = b'{"type":"response.image_generation_call.generating","item_id":"i"}'


def exchange(lane: str | None = None) -> Exchange:
    """Begin one."""
    return Exchange(
        Gate(policy("state: { previous_response: allow }"), CATALOGUE),
        Context(
            decision_id="d",
            door=SOCKET,
            date=TODAY,
            transport="websocket",
            stream_id=lane,
        ),
    )


def test_it_knows_its_lane() -> None:
    """Whoever refuses has to name it."""
    assert exchange("a").lane == "a"


def test_tools_that_hold_without_being_said_again_are_told_of() -> None:
    """A successor's images are recorded with the settings of its predecessor."""
    first, second = exchange(), exchange()
    first.request(
        body({"type": "response.create", **request(tool(quality="low"))}, SOCKET)
    )
    steer = {"type": "response.steer", "previous_response_id": "r", "input": "x"}

    second.request(body(steer, SOCKET), inherited=first.sent)
    (record,) = second.message(GENERATING, read_told(GENERATING).events).records

    assert second.sent == first.sent
    assert isinstance(record, GeneratingRecord)
    assert record.settings[0]["quality"] == "low"


def test_it_is_known_by_the_providers_id_of_the_handshake() -> None:
    """By which the provider's people find it."""
    to = exchange()
    to.opened("req_1")

    record = to.close().records[-1]

    assert isinstance(record, CompletionRecord)
    assert (record.upstream_request_id, record.status) == ("req_1", None)


def test_an_error_ends_it_with_the_status_that_it_says() -> None:
    """Else nobody could tell a provider's fault from a client's."""
    said = b'{"type":"error","status":503,"error":{"code":"overloaded"}}'
    to = exchange()
    to.message(said)

    record = to.close().records[-1]

    assert isinstance(record, CompletionRecord)
    assert (record.outcome, record.status) == ("failed", 503)


def test_the_end_may_be_told_by_another_message() -> None:
    """What the answer itself says counts more."""
    told, silent = exchange(), exchange()
    told.answered("accepted")
    told.answered("failed")

    records = [each.close().records[-1] for each in (told, silent)]

    ended = [each.outcome for each in records if isinstance(each, CompletionRecord)]
    assert ended == ["accepted", "truncated"]
