from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import httpx2
import openai
import pytest
from exchanged import Records, client_of, events, finished, sent

from imagegate.simulator import Simulator
from imagegate.zstd import zstd

Start = Callable[[str], str]
IMAGE: Any = {"type": "image_generation"}


def test_a_request_is_brought_down_and_the_image_comes_back(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    tool: Any = {
        **IMAGE,
        "model": "gpt-image-2",
        "quality": "high",
        "size": "2000x1120",
    }

    with client_of(gateway("standard")) as client:
        answer = client.responses.create(model="gpt-5", input="a cat", tools=[tool])

    expected = {"model": "gpt-image-2", "quality": "low", "size": "1536x848"}
    assert expected.items() <= sent(simulator)["tools"][0].items()
    assert answer.output[0].type == "image_generation_call"
    assert finished(records)["outcome"] == "completed"
    assert events(records) == [
        "request_rewritten",
        "image_finished",
        "exchange_finished",
    ]


def test_a_refusal_is_the_sdks_own_error_and_nothing_is_sent(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    before = len(simulator.received)
    tool: Any = {**IMAGE, "moderation": "low"}

    with (
        client_of(gateway("regulated")) as client,
        pytest.raises(openai.PermissionDeniedError) as raised,
    ):
        client.responses.create(model="gpt-5", input="a cat", tools=[tool])

    assert raised.value.code == "image_policy_violation"
    assert raised.value.param == "tools[0].moderation"
    assert raised.value.response.headers["x-should-retry"] == "false"
    assert len(simulator.received) == before
    assert events(records) == ["request_blocked", "exchange_finished"]


def test_a_duplicate_key_is_a_bad_request(gateway: Start) -> None:
    body = b'{"model":"gpt-5","tools":[],"tools":[{"type":"image_generation"}]}'

    answer = httpx2.post(
        f"{gateway('standard')}/v1/responses",
        content=body,
        headers={"content-type": "application/json", "authorization": "Bearer k"},
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "duplicate_key"


def test_a_stream_is_recorded_before_each_image_and_relayed(
    gateway: Start, records: Records
) -> None:
    with client_of(gateway("standard")) as client:
        stream = client.responses.create(
            model="gpt-5", input="a dog", tools=[IMAGE], stream=True
        )
        types = [event.type for event in stream]

    assert "response.image_generation_call.generating" in types
    assert types[-1] == "response.completed"
    assert finished(records)["outcome"] == "completed"
    assert events(records) == [
        "request_rewritten",
        "image_generating",
        "image_finished",
        "exchange_finished",
    ]


def test_an_answer_that_contradicts_the_policy_is_cut(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    with client_of(gateway("standard")) as client:
        stream = client.responses.create(
            model="gpt-5",
            input="a dog",
            tools=[IMAGE],
            stream=True,
            metadata={"simulator": "echo.quality=high delay_ms=20"},
        )
        types: list[str] = []
        with pytest.raises(openai.APIError) as raised:
            types.extend(event.type for event in stream)

    assert raised.value.code == "image_policy_violation"
    assert types == ["response.created"]
    assert finished(records)["outcome"] == "cut"
    assert simulator.received[-1].ended.wait(5)
    assert simulator.received[-1].outcome == "left"


@pytest.mark.anyio
async def test_a_client_that_leaves_ends_the_paid_call(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    url = gateway("standard")

    async with openai.AsyncOpenAI(
        base_url=f"{url}/v1", api_key="k", max_retries=0
    ) as client:
        stream = await client.responses.create(
            model="gpt-5",
            input="a dog",
            tools=[IMAGE],
            stream=True,
            metadata={"simulator": "delay_ms=50"},
        )
        await anext(aiter(stream))
        await stream.close()
    left = await asyncio.to_thread(simulator.received[-1].ended.wait, 5)

    assert left
    assert simulator.received[-1].outcome == "left"
    record = await asyncio.to_thread(finished, records)
    assert record["outcome"] == "client_left"


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("zstd", zstd.compress),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
    ],
)
def test_compressed_requests_are_judged_and_sent_plain(
    gateway: Start, simulator: Simulator, coding: str, encode: Callable[[bytes], bytes]
) -> None:
    body = json.dumps({"model": "gpt-5", "input": "x", "tools": [IMAGE]}).encode()
    headers = {
        "content-type": "application/json",
        "content-encoding": coding,
        "authorization": "Bearer k",
    }

    answer = httpx2.post(
        f"{gateway('standard')}/v1/responses", content=encode(body), headers=headers
    )

    assert answer.status_code == 200
    assert sent(simulator)["tools"][0]["quality"] == "medium"
    assert simulator.received[-1].header("content-encoding") is None


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"content-encoding": "gzip, gzip"}, 415, "unsupported_encoding"),
        ({"content-encoding": "compress"}, 415, "unsupported_encoding"),
        ({"content-encoding": "gzip"}, 400, "undecodable_body"),
        ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (
            {"content-type": "application/json; charset=utf-16"},
            415,
            "unsupported_media_type",
        ),
        ({"x_ms-oai-image-generation-deployment": "x"}, 400, "duplicate_header"),
    ],
)
def test_bodies_that_could_be_read_in_two_ways_are_refused(
    gateway: Start, headers: dict[str, str], status: int, code: str
) -> None:
    plain = {"content-type": "application/json", "authorization": "Bearer k"}

    answer = httpx2.post(
        f"{gateway('standard')}/v1/responses", content=b"{}", headers=plain | headers
    )

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/responses/", 400, "path_not_canonical"),
        ("POST", "/v1/%72esponses", 400, "path_not_canonical"),
        ("POST", "/v1/batches", 403, "route_not_allowed"),
        ("POST", "/v1/unheard-of", 404, "route_not_allowed"),
        ("PUT", "/v1/responses", 405, "method_not_allowed"),
    ],
)
def test_doors_that_are_closed_say_so(
    gateway: Start, method: str, path: str, status: int, code: str
) -> None:
    answer = httpx2.request(method, gateway("standard") + path, json={})

    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


def test_a_door_that_takes_no_body_gets_none(
    gateway: Start, simulator: Simulator
) -> None:
    body = b'{"tools":[{"type":"image_generation"}]}'
    headers = {"content-type": "application/json", "authorization": "Bearer k"}
    url = f"{gateway('standard')}/v1/responses/resp_1/cancel"

    httpx2.post(url, content=body, headers=headers)

    assert simulator.received[-1].path == "/v1/responses/resp_1/cancel"
    assert simulator.received[-1].body == b""


def test_where_websockets_are_closed_an_offer_is_answered_426(gateway: Start) -> None:
    headers = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }

    answer = httpx2.get(f"{gateway('regulated')}/v1/responses", headers=headers)

    assert answer.status_code == 426
    assert answer.json()["error"]["rule"] == "surface.websocket"


def test_the_tool_is_stripped_and_the_text_still_comes(
    gateway: Start, simulator: Simulator
) -> None:
    with client_of(gateway("no-images")) as client:
        answer = client.responses.create(
            model="gpt-5",
            input="hello",
            tools=[IMAGE],
            tool_choice={"type": "image_generation"},
        )

    assert answer.output_text
    assert sent(simulator)["tools"] == []
    assert "tool_choice" not in sent(simulator)


def test_azure_gets_the_deployment_in_tool_and_header(
    gateway: Start, simulator: Simulator
) -> None:
    client = openai.AzureOpenAI(
        base_url=f"{gateway('azure-foundry')}/openai/v1/",
        api_key="k",
        api_version="preview",
        max_retries=0,
    )

    with client:
        client.responses.create(model="gpt-5", input="a cat", tools=[IMAGE])

    header = simulator.received[-1].header("x-ms-oai-image-generation-deployment")
    assert header == "img-mini-prod"
    assert sent(simulator)["tools"][0]["model"] == "img-mini-prod"


def test_a_background_answer_is_accepted_and_read_later(
    gateway: Start, records: Records
) -> None:
    with client_of(gateway("standard")) as client:
        answer = client.responses.create(
            model="gpt-5", input="a cat", tools=[IMAGE], background=True
        )
        later = client.responses.retrieve(answer.id)
        client.responses.cancel(answer.id)

    assert later.id == answer.id
    outcomes = [r["outcome"] for r in records() if "outcome" in r]
    assert outcomes[0] == "accepted"


def test_models_and_embeddings_pass_uninspected(
    gateway: Start, records: Records
) -> None:
    with client_of(gateway("standard")) as client:
        client.models.list()
        client.embeddings.create(model="text-embedding-3-small", input="x")

    assert [r["inspected"] for r in records() if "inspected" in r] == [False, False]


def test_health_is_answered_without_the_provider(gateway: Start) -> None:
    assert httpx2.get(f"{gateway('standard')}/readyz").json()["status"] == "ready"


def test_a_provider_that_is_not_there_is_a_502_that_may_be_tried_again(
    lonely_gateway: str,
) -> None:
    answer = httpx2.get(f"{lonely_gateway}/v1/models")

    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "cannot_connect"
    assert answer.headers["x-should-retry"] == "true"
