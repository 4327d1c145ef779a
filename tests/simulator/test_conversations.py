from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.conversations import (
    Conversation,
    ConversationDeletedResource,
    ConversationItemList,
)

from imagegate.simulator.behaviour import Behaviour
from imagegate.simulator.call import Call
from imagegate.simulator.conversations import Conversations
from imagegate.simulator.counter import Counter
from imagegate.simulator.dialect import place_of
from imagegate.simulator.received import Received
from imagegate.simulator.refusal import Refusal

TOOL: Any = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
CARRIER: Any = {"type": "additional_tools", "role": "developer", "tools": [TOOL]}


def test_a_conversation_is_begun_shown_changed_and_deleted(
    client: openai.OpenAI,
) -> None:
    begun = client.conversations.create(metadata={"a": "b"})
    shown = client.conversations.retrieve(begun.id)
    changed = client.conversations.update(begun.id, metadata={"c": "d"})
    gone = client.conversations.delete(begun.id)

    Conversation.model_validate(begun.model_dump(), strict=True)
    ConversationDeletedResource.model_validate(gone.model_dump(), strict=True)
    assert shown == begun
    assert (begun.metadata, changed.metadata) == ({"a": "b"}, {"c": "d"})
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.conversations.retrieve(begun.id)


def test_items_are_put_in_listed_and_taken_out(client: openai.OpenAI) -> None:
    first: Any = {"role": "user", "content": "a"}
    begun = client.conversations.create(items=[first])
    added = client.conversations.items.create(
        begun.id, items=[{"role": "user", "content": "b"}]
    )
    listed: Any = client.conversations.items.list(begun.id, order="asc")

    ConversationItemList.model_validate(added.model_dump(), strict=True)
    assert [item.content[0].text for item in listed] == ["a", "b"]
    shown = client.conversations.items.retrieve(
        added.first_id, conversation_id=begun.id
    )
    assert shown == added.data[0]
    left = client.conversations.items.delete(added.first_id, conversation_id=begun.id)
    assert left == begun
    assert len(client.conversations.items.list(begun.id).data) == 1
    with pytest.raises(openai.NotFoundError, match="Item"):
        client.conversations.items.retrieve(added.first_id, conversation_id=begun.id)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_adds_to_its_conversation(
    client: openai.OpenAI, *, streamed: bool
) -> None:
    begun = client.conversations.create()
    asked: Any = {"model": "gpt-5", "input": "a", "conversation": begun.id}

    if streamed:
        events: Any = client.responses.create(**asked, stream=True)
        answer = list(events)[-1].response
    else:
        answer = client.responses.create(**asked)

    items: Any = client.conversations.items.list(begun.id, order="asc").data
    assert answer.conversation.id == begun.id
    assert [item.role for item in items] == ["user", "assistant"]


def test_what_is_not_done_adds_no_output(client: openai.OpenAI) -> None:
    begun = client.conversations.create(metadata=None)
    client.responses.create(
        model="gpt-5", input="a", conversation=begun.id, background=True
    )

    assert len(client.conversations.items.list(begun.id).data) == 1


def test_tools_that_were_put_in_are_there(client: openai.OpenAI) -> None:
    begun = client.conversations.create(items=[CARRIER])

    answer = client.responses.create(
        model="gpt-5", input="a", conversation={"id": begun.id}
    )

    assert answer.output[0].type == "image_generation_call"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"items": "a"}, "items"),
        ({"items": ["a"]}, "items[0]"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"model": "gpt-5"}, "model"),
    ],
)
def test_what_no_conversation_takes_is_refused(
    client: openai.OpenAI, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/conversations", body=body, cast_to=object)

    assert refused.value.param == param


def test_nothing_cannot_be_put_in(client: openai.OpenAI) -> None:
    begun = client.conversations.create()

    with pytest.raises(openai.BadRequestError) as refused:
        client.conversations.items.create(begun.id, items=[])
    assert refused.value.code == "missing_required_parameter"


def test_old_conversations_are_forgotten() -> None:
    conversations = Conversations(Counter(0), keep=1)
    first, second = (begun_in(conversations) for _ in "ab")

    assert conversations.tools(first) is None
    assert conversations.tools(second) == []
    with pytest.raises(Refusal):
        conversations.retrieve(call(ident=first))


def begun_in(conversations: Conversations) -> str:
    (piece,) = conversations.create(call()).pieces
    return Conversation.model_validate_json(piece).id


def call(*, ident: str = "") -> Call:
    return Call(
        received=Received(method="", path="", query="", headers=[]),
        place=place_of("/v1/conversations"),
        behaviour=Behaviour(),
        body={},
        ident=ident,
    )
