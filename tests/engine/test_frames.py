"""Messages of a WebSocket: strict on the way in, lenient on the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import door, encode

from imagegate.engine.errors import MalformedRequest
from imagegate.engine.events import ImageEvent, Undecodable
from imagegate.engine.frames import Sent, Told, lane_of, read_sent, read_told

SOCKET = door("WEBSOCKET /v1/responses").door


def sent(value: object) -> Sent:
    """Read a client's message in one go."""
    reading = read_sent(encode(value), SOCKET)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            found: Sent = end.value
            return found


def told(**members: Any) -> Told:
    """Read a provider's message."""
    return read_told(json.dumps(members).encode())


def test_a_message_names_its_type_and_its_lane() -> None:
    """Everything else is in the body."""
    found = sent({"type": "response.create", "stream_id": "a.B-1_", "model": "m"})

    assert (found.type, found.stream_id) == ("response.create", "a.B-1_")
    assert found.text("model") == "m"
    assert found.text("input") is None


@pytest.mark.parametrize("lane", [{}, {"stream_id": None}])
def test_without_a_name_it_is_the_lane_without_one(lane: dict[str, Any]) -> None:
    """A null says nothing."""
    found = sent({"type": 1, **lane})

    assert (found.type, found.stream_id) == (None, None)
    assert sent({}).type is None


@pytest.mark.parametrize("lane", ["", "a b", "é", "x" * 257, 1, ["a"], "a\n"])
def test_a_lane_is_spelled_as_the_contract_says(lane: object) -> None:
    """What the provider would read otherwise is refused."""
    with pytest.raises(MalformedRequest) as caught:
        sent({"type": "response.create", "stream_id": lane})

    assert (caught.value.code, caught.value.pointer) == ("bad_stream_id", "/stream_id")


def test_a_message_is_read_as_strictly_as_a_body() -> None:
    """Two readers must not see two documents."""
    with pytest.raises(MalformedRequest) as caught:
        sent(b'{"type":"response.create","type":"response.steer"}')

    assert caught.value.code == "duplicate_key"


@pytest.mark.parametrize(
    ("data", "lane"),
    [
        (b'{"tools":[],"tools":[],"stream_id":"a"}', "a"),
        (b'{"stream_id":"a b"}', None),
        (b'{"stream_id":1}', None),
        (b"{}", None),
        (b'{"stream_id":"a"', None),
        (b"\xff", None),
        (b'{"x":' + b"[" * 100_000, None),
    ],
)
def test_the_lane_of_what_cannot_be_judged_is_guessed(
    data: bytes, lane: str | None
) -> None:
    """Else its client waits there for ever."""
    assert lane_of(data) == lane


def test_a_word_on_a_response_names_it() -> None:
    """The response itself, or one that is only referred to."""
    created = told(type="response.created", response={"id": "r1"}, stream_id="a")
    injected = told(type="response.inject.created", response_id="r1")

    assert (created.type, created.response_id) == ("response.created", "r1")
    assert created.stream_id == "a"
    assert len(created.events) == 1
    assert injected.response_id == "r1"
    assert injected.events == ()


def test_a_word_on_steering_names_the_steering_and_its_target() -> None:
    """By these it is found again."""
    steer = {"id": "s1", "previous_response_id": "r1"}

    found = told(type="response.steer.accepted", steer=steer)

    assert (found.steer_id, found.target) == ("s1", "r1")


def test_an_event_of_an_image_is_read() -> None:
    """As in a stream."""
    kind = "response.image_generation_call.generating"

    (event,) = told(type=kind, item_id="ig_1").events

    assert isinstance(event, ImageEvent)


@pytest.mark.parametrize(
    ("more", "lane"),
    [('"stream_id":"a",', "a"), ('"stream_id": "a",', "a"), ("", None)],
)
def test_of_a_piece_of_text_only_the_lane_is_read(more: str, lane: str | None) -> None:
    """There are hundreds, and none of them says anything about images."""
    text = '{"type":"response.output_text.delta",%s"delta":"\\"stream_id\\":\\"b\\""}'

    assert read_told((text % more).encode()) == Told(stream_id=lane)


@pytest.mark.parametrize("data", [b"no json", b"[1]"])
def test_what_cannot_be_read_is_told_all_the_same(data: bytes) -> None:
    """It is counted."""
    found = read_told(data)

    (event,) = found.events
    assert isinstance(event, Undecodable)
    assert found.type is None
