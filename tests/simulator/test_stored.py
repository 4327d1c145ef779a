from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import ResponseItemList

from imagegate.simulator import Behaviour, Received, Simulator
from imagegate.simulator.call import Call
from imagegate.simulator.conversations import Conversations
from imagegate.simulator.counter import Counter
from imagegate.simulator.dialect import place_of
from imagegate.simulator.refusal import Refusal
from imagegate.simulator.responses import Responses

TOOL: Any = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
ASKED: Any = {"model": "gpt-6-luna", "input": "a cat", "tools": [TOOL]}


def test_background_work_is_queued_polled_and_done(client: openai.OpenAI) -> None:
    response = client.responses.create(**ASKED, background=True)
    states = [response.status]
    while response.status in {"queued", "in_progress"}:
        response = client.responses.retrieve(response.id)
        states.append(response.status)

    assert states == ["queued", "in_progress", "completed"]
    assert response.output[0].type == "image_generation_call"
    assert client.responses.retrieve(response.id).status == "completed"


def test_background_work_can_fail(client: openai.OpenAI) -> None:
    order = {"simulator": "fail_at=3 polls=1"}

    queued = client.responses.create(**ASKED, background=True, metadata=order)
    failed = client.responses.retrieve(queued.id)

    assert (failed.status, failed.output) == ("failed", [])
    assert failed.error
    assert failed.error.code == "server_error"


def test_a_dropped_stream_is_resumed_where_it_ended(client: openai.OpenAI) -> None:
    stream = client.responses.create(**ASKED, background=True, stream=True)
    first = next(iter(stream))
    stream.close()
    assert first.type == "response.created"

    rest = client.responses.retrieve(first.response.id, stream=True, starting_after=2)
    events = list(rest)

    assert events[0].sequence_number == 3
    assert events[-1].type == "response.completed"
    assert client.responses.retrieve(first.response.id).status == "completed"


def test_background_work_is_cancelled_and_its_stream_ends(
    client: openai.OpenAI,
) -> None:
    queued = client.responses.create(**ASKED, background=True)

    cancelled = client.responses.cancel(queued.id)

    assert cancelled.status == "cancelled"
    assert client.responses.cancel(queued.id).status == "cancelled"
    assert client.responses.retrieve(queued.id).status == "cancelled"


def test_a_running_stream_notices_that_it_was_cancelled() -> None:
    responses = alone(keep=1)
    body = {"model": "gpt-5", "input": "a", "background": True, "stream": True}
    events = iter(responses.create(call(body)).pieces)
    created = json.loads(next(events).partition(b"data: ")[2])

    responses.cancel(call({}, ident=created["response"]["id"]))

    assert list(events) == []


def test_a_stream_that_is_over_is_told_again(client: openai.OpenAI) -> None:
    stream = client.responses.create(**ASKED, background=True, stream=True)
    events = list(stream)
    assert events[0].type == "response.created"

    again = client.responses.retrieve(events[0].response.id, stream=True)

    assert list(again) == events


def test_what_is_not_in_the_background_is_neither_cancelled_nor_streamed(
    client: openai.OpenAI,
) -> None:
    response = client.responses.create(**ASKED)

    with pytest.raises(openai.BadRequestError, match="Cannot cancel"):
        client.responses.cancel(response.id)
    with pytest.raises(openai.BadRequestError, match="cannot be streamed"):
        client.responses.retrieve(response.id, stream=True)


def test_a_client_that_leaves_ends_a_stream_that_is_not_in_the_background(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    order = {"simulator": "hang=2000"}
    stream = client.responses.create(**ASKED, stream=True, metadata=order)
    first = next(iter(stream))
    stream.close()
    received = simulator.received[-1]

    assert received.ended.wait(timeout=10)
    assert received.outcome == "left"
    assert first.type == "response.created"
    assert client.responses.retrieve(first.response.id).status == "cancelled"


@pytest.mark.parametrize("store", [True, False])
def test_what_is_deleted_or_was_never_stored_is_not_found(
    client: openai.OpenAI, *, store: bool
) -> None:
    response = client.responses.create(**ASKED, store=store)
    if store:
        client.responses.delete(response.id)

    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.retrieve(response.id)
    assert missing.value.body == {
        "message": f"Response with id '{response.id}' not found.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def test_a_previous_response_must_exist(client: openai.OpenAI) -> None:
    first = client.responses.create(**ASKED)
    client.responses.create(**ASKED, previous_response_id=first.id)

    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**ASKED, previous_response_id="resp_none")
    assert refused.value.code == "previous_response_not_found"


def test_the_input_is_listed_newest_first_and_page_by_page(
    client: openai.OpenAI,
) -> None:
    messages: Any = [{"role": "user", "content": text} for text in "abc"]
    response = client.responses.create(model="gpt-5", input=messages)

    page = client.responses.input_items.list(response.id, limit=2)
    everything: Any = list(page)
    ascending: Any = client.responses.input_items.list(response.id, order="asc").data

    ResponseItemList.model_validate(page.model_dump(), strict=True)
    assert [item.content[0].text for item in everything] == ["c", "b", "a"]
    assert [item.content[0].text for item in ascending] == ["a", "b", "c"]


def test_a_text_and_other_items_are_listed_too(client: openai.OpenAI) -> None:
    text = client.responses.create(model="gpt-5", input="hello")
    carrier: Any = {"type": "additional_tools", "role": "developer", "tools": [TOOL]}
    tools = client.responses.create(model="gpt-5", input=[carrier])

    (message,) = client.responses.input_items.list(text.id).data
    (item,) = client.responses.input_items.list(tools.id).data

    assert message.type == "message"
    assert item.type == "additional_tools"
    assert not client.responses.input_items.list(text.id, after=message.id).data


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=-1"], ids=["no number", "no whole number"]
)
def test_a_page_has_a_length(client: openai.OpenAI, url: str, query: str) -> None:
    response = client.responses.create(**ASKED)

    answer = httpx2.get(
        f"{url}/v1/responses/{response.id}/input_items?{query}",
        headers={"authorization": "Bearer k"},
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "limit"


def test_old_responses_are_forgotten() -> None:
    responses = alone(keep=1)
    body = {"model": "gpt-5", "input": "a", "background": True}
    first, second = (queued(responses, body) for _ in "ab")

    with pytest.raises(Refusal):
        responses.retrieve(call({}, ident=first))
    assert responses.retrieve(call({}, ident=second)).status == 200


def alone(*, keep: int) -> Responses:
    counter = Counter(0)
    conversations = Conversations(counter, keep=keep)
    return Responses(
        counter,
        deployments={},
        stored_tools={},
        conversations=conversations,
        keep=keep,
    )


def queued(responses: Responses, body: dict[str, Any]) -> str:
    (piece,) = responses.create(call(body)).pieces
    return str(json.loads(piece)["id"])


def call(body: dict[str, Any], *, ident: str = "") -> Call:
    return Call(
        received=Received(method="", path="", query="", headers=[]),
        place=place_of("/v1/responses"),
        behaviour=Behaviour(),
        body=body,
        ident=ident,
    )
