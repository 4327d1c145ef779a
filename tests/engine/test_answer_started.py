"""How many images an answer has started: each once, however often it is told."""

from __future__ import annotations

import pytest

from imagegate.engine.answer import Answer
from imagegate.engine.events import (
    Event,
    FinishedItem,
    ImageEvent,
    ItemAdded,
    PartialImage,
    Payload,
    ResponseEvent,
)
from imagegate.engine.records import Record

CALL = "response.image_generation_call"
IMAGE = Payload(length=8)


def begun(name: str | None = "ig_1", index: int | None = 0) -> ImageEvent:
    return ImageEvent(type=f"{CALL}.in_progress", item_id=name, output_index=index)


def finished(
    name: str | None = "ig_1", index: int | None = 0, *, made: bool = True
) -> FinishedItem:
    kind = "response.output_item.done"
    image = IMAGE if made else None
    return FinishedItem(type=kind, item_id=name, output_index=index, image=image)


def partial(name: str | None = None) -> PartialImage:
    return PartialImage(type="image_generation.partial_image", item_id=name)


def answer(*events: Event) -> Answer:
    base = Record(
        decision_id="d",
        policy="p",
        policy_digest="0" * 64,
        policy_mode="enforce",
        principal_id="a",
        principal_source="none",
        principal_verified=False,
        transport="sse",
    )
    found = Answer(base)
    for event in events:
        found.take(event)
    return found


@pytest.mark.parametrize(
    ("events", "started"),
    [
        ((), 0),
        ((ItemAdded(item_id="ig_1"),), 0),
        ((begun(), begun(), finished(), finished()), 1),
        ((begun(), begun("ig_2", 1)), 2),
        ((finished(), finished("ig_2", 1)), 2),
        ((finished(made=False),), 0),
        ((begun(), finished(made=False)), 1),
        ((begun(None, 0), begun(None, 1)), 2),
        ((partial(), partial()), 1),
        ((partial(), finished(None, None)), 1),
        ((finished(None, None), finished(None, None)), 2),
        ((partial(), finished(None, None), partial(), partial()), 2),
        ((partial(), partial(), finished(None, None), finished(None, None)), 2),
        ((finished("", 0), finished("", 1)), 2),
        ((begun("", 0), begun("", 1), finished("", 1)), 2),
        ((partial("ig_1"), finished()), 1),
    ],
)
def test_an_image_is_counted_as_soon_as_it_starts(
    events: tuple[Event, ...], started: int
) -> None:
    """Where only the finished one is told, that is when."""
    assert answer(*events).started == started


def test_an_answer_in_the_background_is_told_another_time() -> None:
    queued = ResponseEvent(type="response", status="queued", background=True)
    done = ResponseEvent(type="response", status="completed", background=True)

    assert answer(queued).pending
    assert not answer(done).pending
    assert not answer(ResponseEvent(type="response", status="queued")).pending


@pytest.mark.parametrize(
    ("event", "whole"),
    [
        (ResponseEvent(type="response", status="completed"), True),
        (ResponseEvent(type="response.created"), True),
        (ResponseEvent(type="response.in_progress"), True),
        (ResponseEvent(type="response.completed", output=("message",)), True),
        (ResponseEvent(type="response.completed", output=()), False),
        (ResponseEvent(type="response.completed"), False),
        (finished(), False),
    ],
)
def test_an_answer_is_whole_from_its_beginning_or_by_its_end(
    event: Event, *, whole: bool
) -> None:
    """Whoever asks for the rest of a stream is told what came before at its end."""
    assert answer(event).whole is whole


@pytest.mark.parametrize(
    ("events", "unpaid"),
    [
        ((), 0),
        ((begun(),), 1),
        ((begun(), partial("ig_1")), 1),
        ((begun(), finished()), 1),  # nobody says at what price
        ((begun(), finished(made=False)), 0),
        ((finished(made=False),), 0),
        ((begun("a", 0), begun("b", 1), finished("a", 0, made=False)), 1),
        ((begun("a", 0), begun("b", 1), finished("a", 0), finished("b", 1)), 2),
        ((partial(None), finished("a", 0)), 1),
    ],
)
def test_what_started_is_unpaid_until_its_cost_is_known(
    events: tuple[Event, ...], unpaid: int
) -> None:
    found = answer(*events)

    assert found.cost is None
    assert found.unpaid == unpaid
