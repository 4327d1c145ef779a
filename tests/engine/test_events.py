"""The events are values: small, comparable, and writable as they are."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from imagegate.engine.events import (
    EchoedTool,
    Event,
    FinishedItem,
    ImageEvent,
    Observed,
    Payload,
    ResponseEvent,
)


def test_every_event_is_in_the_union() -> None:
    """A consumer that matches on the union has seen them all."""
    assert set(get_args(Event)) == set(Observed.__subclasses__())


def test_an_event_is_written_with_its_own_name() -> None:
    """`type` stays the provider's word."""
    event = ImageEvent(type="response.x", item_id="ig", end=9)

    assert msgspec.to_builtins(event) == {
        "event": "ImageEvent",
        "end": 9,
        "incomplete": False,
        "type": "response.x",
        "sequence_number": None,
        "output_index": None,
        "item_id": "ig",
    }


def test_events_are_read_back_as_they_were() -> None:
    """The union is told apart by its tag."""
    tool = EchoedTool(at="tools[0]", settings={"type": "image_generation", "n": 1})
    event = ResponseEvent(type="response", tools=(tool,))

    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


def test_an_event_cannot_be_changed() -> None:
    """What was observed stays observed."""
    event = ImageEvent(type="response.x")

    with pytest.raises(AttributeError):
        event.end = 1  # type: ignore[misc] # that is the point


def test_an_image_is_there_when_its_payload_is() -> None:
    """The status is not asked."""
    assert FinishedItem(type="x", image=Payload(length=0)).has_result
    assert not FinishedItem(type="x", status="completed").has_result
