"""What a shell is told of images that start, for those who count them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from asking import CATALOGUE, TODAY, body, door, policy, request, tool
from hypothesis import given
from hypothesis import strategies as st

from imagegate.engine.exchange import Exchange
from imagegate.engine.gate import Context, Gate


def exchange(**more: object) -> Exchange:
    context = Context(decision_id="d", door=door(), date=TODAY)
    found = Exchange(Gate(policy(), CATALOGUE), context)
    found.request(body(request(tool(), **more)))
    return found


def event(kind: str, **members: object) -> bytes:
    return b"data: " + json.dumps({"type": kind, **members}).encode() + b"\n\n"


def test_an_image_has_started_when_the_answer_says_so() -> None:
    one = exchange()
    one.response(200, "text/event-stream")
    call = {"item_id": "ig_1", "output_index": 0}

    assert one.started == 0
    one.feed(event("response.image_generation_call.in_progress", **call))
    assert (one.started, one.over) == (1, False)
    output = [{"type": "message"}]
    one.feed(event("response.completed", response={"id": "r", "output": output}))
    assert one.over
    assert not one.pending
    assert not one.unseen


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("began", [True, False])
def test_a_response_is_over_when_all_of_it_was_told(
    status: int, *, began: bool
) -> None:
    """An error is no response, and the end of a stream is not all of it."""
    one, other = exchange(), exchange()
    other.response(status, "application/json")
    other.feed(b'{"error":{"code":"c"}}', last=True)
    one.response(200, "text/event-stream")
    if began:
        one.feed(event("response.created", response={"id": "r"}))
    one.feed(event("response.completed", response={"id": "r", "output": []}))

    assert one.over is began
    assert not other.over


def test_what_is_made_in_the_background_goes_on() -> None:
    one = exchange(background=True)
    one.response(200, "application/json")
    said = {"id": "r", "object": "response", "status": "queued", "background": True}
    one.feed(json.dumps(said).encode(), last=True)

    assert one.pending
    assert not one.over


def test_what_may_go_on_in_the_background_has_no_name_before_it_is_told() -> None:
    """Who asked for it may leave before that; what is refused does not go on."""
    plain, asked, refused = exchange(), exchange(background=True), exchange()
    refused.request(body(request(tool(), background=True)))
    refused.response(400, "application/json")

    assert asked.unnamed
    assert not plain.unnamed
    assert not refused.unnamed
    asked.response(200, "application/json")
    asked.feed(b'{"id":"r","object":"response","status":"queued"}', last=True)
    assert not asked.unnamed


@pytest.mark.parametrize("status", [200, 302, 307, 401, 502])
def test_an_answer_that_cannot_be_read_is_unseen_if_it_can_have_images(
    status: int,
) -> None:
    one = exchange()
    one.response(status, "text/html")

    assert one.unseen == (status == 200)


def test_an_answer_of_which_a_part_cannot_be_read_is_unseen() -> None:
    """An event of a stream is not: what matters comes in events of its own."""
    one, other = exchange(), exchange()
    one.response(200, "application/json")
    other.response(200, "text/event-stream")

    one.feed(b'{"object":"response","output":', last=True)
    other.feed(b"data: null\n\n", last=True)

    assert one.unseen
    assert not other.unseen


PICTURE = "iVBORw0KGgo" + "A" * 900
CALL = {"id": "i", "type": "image_generation_call", "result": PICTURE, "size": "1x1"}
RESPONSE = {"id": "r", "object": "response", "status": "completed", "output": [CALL]}
DRAWN = {"b64_json": PICTURE, "revised_prompt": "x"}
DONE = {"type": "response.output_item.done", "output_index": 0, "item": CALL}
TOLD: Sequence[tuple[bool, dict[str, Any]]] = [
    (False, RESPONSE),
    (False, {"created": 1, "data": [DRAWN], "size": "1x1"}),
    (True, DONE),
    (True, {"type": "image_generation.completed", **DRAWN}),
]


def shuffled(draw: st.DrawFn, value: Any) -> Any:
    """Write the members of all objects in another order."""
    if isinstance(value, list):
        return [shuffled(draw, each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: shuffled(draw, value[name]) for name in draw(st.permutations([*value]))
    }


@given(told=st.sampled_from(TOLD), data=st.data())
def test_who_leaves_with_a_picture_has_started_it_and_is_on_record(
    told: tuple[bool, dict[str, Any]], data: st.DataObject
) -> None:
    """In whatever order the provider writes, and wherever the answer breaks off."""
    streams, value = told
    text = json.dumps(data.draw(st.composite(shuffled)(value)))
    cut = data.draw(st.integers(text.index(PICTURE) + len(PICTURE), len(text)))
    one = exchange()
    one.response(200, "text/event-stream" if streams else "application/json")

    fed = one.feed((b"data: " if streams else b"") + text[:cut].encode())
    records = (*fed.records, *one.close("client_left").records)

    assert one.started == 1
    assert [each.event for each in records] == [
        *("imagegate.image_finished", "imagegate.exchange_finished")
    ]
