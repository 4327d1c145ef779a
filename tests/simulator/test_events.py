from __future__ import annotations

import io
import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, get_args

import httpx2
import openai
import pytest
from openai.types import responses
from PIL import Image
from pydantic import BaseModel

# One for the file: each one made reads the certificates anew.
HTTP = httpx2.Client(trust_env=False)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    HTTP.close()


CALL = "response.image_generation_call"
HEADERS = {
    "authorization": "Bearer k",
    "x-ms-oai-image-generation-deployment": "img",
}
BASES = ["/v1", "/openai/v1", "/api/projects/p/openai/v1"]
TOOL = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
# What the real API sends although its types do not say so.
UNTYPED = {"n", "obfuscation", "content_filters", "store"}

EVENT_CLASSES = {
    get_args(cls.model_fields["type"].annotation)[0]: cls
    for cls in get_args(get_args(responses.ResponseStreamEvent)[0])
}


def streamed(url: str, base: str = "/v1", **body: Any) -> list[dict[str, Any]]:
    """Return the events, having held their framing against OpenAI's."""
    asked = {"model": "gpt-6-luna", "input": "a cat", "stream": True} | body
    answer = HTTP.post(f"{url}{base}/responses", json=asked, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    return list(unframed(answer.text))


def unframed(text: str) -> Iterator[dict[str, Any]]:
    assert text.endswith("\n\n")
    for frame in text[:-2].split("\n\n"):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        yield event


def untyped(value: object) -> Iterator[str]:
    """Yield every field, at any depth, that the SDK's types do not name."""
    if isinstance(value, BaseModel):
        yield from value.model_extra or ()
        for name in type(value).model_fields:
            yield from untyped(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from untyped(item)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": [TOOL]},
        {"tools": [{**TOOL, "partial_images": 2, "output_format": "webp"}]},
        {"tools": [TOOL], "background": True},
        {"tools": [TOOL], "metadata": {"simulator": "fail_at=4"}},
        {"tools": [TOOL], "metadata": {"simulator": "error_at=4 flat_error"}},
        {"tools": [TOOL], "metadata": {"simulator": "images=2 extra_partial"}},
        {"tools": [{**TOOL, "model": "gpt-image-2.6-flare", "complexity": "low"}]},
        {
            "tools": [
                {"type": "function", "name": "f", "parameters": {}, "strict": True}
            ]
        },
    ],
    ids=lambda body: ",".join(body) if isinstance(body, dict) else None,
)
def test_every_event_is_what_the_sdk_says_it_is(
    url: str, base: str, body: dict[str, Any]
) -> None:
    for event in streamed(url, base, **body):
        parsed = EVENT_CLASSES[event["type"]].model_validate(event, strict=True)

        assert set(untyped(parsed)) <= UNTYPED


def test_an_image_is_told_in_the_order_of_the_real_thing(url: str) -> None:
    events = streamed(url, tools=[{**TOOL, "partial_images": 1}])

    assert [event["type"] for event in events if "text" not in event["type"]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        f"{CALL}.in_progress",
        f"{CALL}.generating",
        f"{CALL}.partial_image",
        f"{CALL}.completed",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_azure_names_no_completion_and_leaves_items_generating(url: str) -> None:
    events = streamed(url, "/openai/v1", tools=[TOOL])

    item = next(e["item"] for e in events if e["type"] == "response.output_item.done")
    assert f"{CALL}.completed" not in {event["type"] for event in events}
    assert item["status"] == "generating"
    assert events[0]["response"]["content_filters"] is None
    assert len(events[-1]["response"]["content_filters"]) == 2


def test_the_echo_fills_in_what_was_left_out(url: str) -> None:
    tool = {"type": "image_generation", "quality": "low"}

    created = streamed(url, tools=[tool])[0]

    assert created["response"]["tools"] == [
        {
            "type": "image_generation",
            "action": "auto",
            "background": "auto",
            "model": "gpt-image-2.6-sunburst",
            "moderation": "auto",
            "n": 1,
            "output_compression": 100,
            "output_format": "png",
            "quality": "low",
            "size": "auto",
        }
    ]


def test_on_azure_the_echo_names_the_deployment_of_the_header(url: str) -> None:
    created = streamed(url, "/openai/v1", tools=[TOOL])[0]

    assert created["response"]["tools"][0]["model"] == "img"


def test_tools_in_input_items_count_and_are_echoed(url: str) -> None:
    carrier = {"type": "additional_tools", "role": "developer", "tools": [TOOL]}
    question = {"role": "user", "content": "a cat"}

    events = streamed(url, input=[carrier, question], tools=[])

    assert f"{CALL}.generating" in {event["type"] for event in events}
    assert events[0]["response"]["tools"][0]["quality"] == "low"


def test_the_finished_item_says_what_was_decided_and_holds_the_image(url: str) -> None:
    tool = {**TOOL, "size": "1536x1024", "output_format": "jpeg", "quality": "auto"}

    events = streamed(url, tools=[tool])

    item = next(e["item"] for e in events if e["type"] == "response.output_item.done")
    image = Image.open(io.BytesIO(b64decode(item["result"])))
    assert (image.size, image.format) == ((1536, 1024), "JPEG")
    assert {key: item[key] for key in ("quality", "size", "background")} == {
        "quality": "medium",
        "size": "1536x1024",
        "background": "opaque",
    }
    assert events[-1]["response"]["output"][0] == item


def test_image_tokens_are_counted_apart(url: str) -> None:
    response = streamed(url, tools=[{**TOOL, "partial_images": 3}])[-1]["response"]

    assert response["usage"]["output_tokens"] == 67
    assert response["tool_usage"]["image_gen"]["output_tokens"] == 272 + 300


def test_partial_images_differ_but_the_extra_one_is_the_final_one(url: str) -> None:
    order = {"simulator": "extra_partial bits=1"}

    events = streamed(url, tools=[{**TOOL, "partial_images": 2}], metadata=order)

    partials = [e for e in events if e["type"] == f"{CALL}.partial_image"]
    images = [event["partial_image_b64"] for event in partials]
    assert [event["partial_image_index"] for event in partials] == [0, 1, 2]
    assert len(set(images)) == 3
    assert images[2] == events[-1]["response"]["output"][0]["result"]


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [TOOL], "tool_choice": "none"},
        {"tools": [TOOL], "metadata": {"simulator": "images=0"}},
        {
            "tools": [TOOL, {"type": "function", "name": "f"}],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}],
            },
        },
    ],
    ids=["none", "ordered", "not allowed"],
)
def test_a_tool_that_is_there_need_not_be_used(url: str, body: dict[str, Any]) -> None:
    response = streamed(url, **body)[-1]["response"]

    assert [item["type"] for item in response["output"]] == ["message"]
    assert response["tool_usage"]["image_gen"]["total_tokens"] == 0


def test_calls_are_bounded_by_the_request(url: str) -> None:
    order = {"simulator": "images=5"}

    events = streamed(url, tools=[TOOL], metadata=order, max_tool_calls=2)

    assert [item["type"] for item in events[-1]["response"]["output"]] == [
        "image_generation_call",
        "image_generation_call",
        "message",
    ]


def test_deltas_are_padded_unless_that_is_declined(url: str) -> None:
    padded, plain = (
        next(event for event in events if event["type"] == "response.output_text.delta")
        for events in (
            streamed(url),
            streamed(url, stream_options={"include_obfuscation": False}),
        )
    )

    assert "obfuscation" in padded
    assert "obfuscation" not in plain


def test_the_same_seed_tells_the_same_story(client: openai.OpenAI) -> None:
    first, second = (client.responses.create(model="gpt-5", input="a") for _ in "ab")

    assert first.id != second.id
    assert second.created_at > first.created_at
