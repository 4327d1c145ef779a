"""The Images API through the gateway, as the real SDK speaks it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from email import message_from_bytes
from typing import Any

import httpx2
import openai
import pytest
from exchanged import Records, client_of, events, finished, sent

from imagegate.simulator import Simulator

Start = Callable[[str], str]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
ASKED: Any = {
    "model": "gpt-image-2",
    "quality": "high",
    "size": "2000x1120",
    "prompt": "a cat with sk-canary",
}
ENFORCED = {
    "model": "gpt-image-2",
    "quality": "low",
    "size": "1536x848",
    "moderation": "auto",
    "output_format": "png",
    "partial_images": 0,
}


def form(simulator: Simulator) -> dict[str, list[bytes]]:
    """Read the form that the provider got."""
    received = simulator.received[-1]
    kind = (received.header("content-type") or "").encode()
    message = message_from_bytes(b"Content-Type: %b\r\n\r\n" % kind + received.body)
    found: dict[str, list[bytes]] = {}
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        if name is not None:
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            found.setdefault(str(name), []).append(content)
    return found


def test_images_are_brought_down_and_recorded(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    with client_of(gateway("standard")) as client:
        answer = client.images.generate(**ASKED)

    assert ENFORCED.items() <= sent(simulator).items()
    [image] = answer.data or []
    assert b64decode(image.b64_json or "").startswith(b"\x89PNG")
    assert finished(records)["outcome"] == "completed"
    assert events(records) == [
        "request_rewritten",
        "image_finished",
        "exchange_finished",
    ]
    assert records()[1]["dimensions"] == "1536x848"
    assert "sk-canary" not in str(records())


def test_a_stream_is_recorded_by_its_own_events(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    with (
        client_of(gateway("standard")) as client,
        client.images.generate(**ASKED, stream=True, partial_images=3) as stream,
    ):
        told = list(stream)

    assert sent(simulator)["partial_images"] == 1
    assert [event.type for event in told] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert b64decode(told[-1].b64_json).startswith(b"\x89PNG")
    end = finished(records)
    assert (end["outcome"], end["transport"]) == ("completed", "sse")
    assert events(records) == [
        "request_rewritten",
        "image_finished",
        "exchange_finished",
    ]
    assert records()[1]["type"] == "image_generation.completed"
    assert records()[1]["dimensions"] == "1536x848"
    assert (end["images"], end["partial_images"]) == (1, 1)


def test_edits_are_judged_as_forms_and_streamed(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    edit: Any = {
        "model": "gpt-image-2",
        "quality": "high",
        "prompt": "a hat",
        "image": [("a.png", PNG), ("b.png", PNG)],
        "mask": ("m.png", PNG),
    }

    with client_of(gateway("standard")) as client:
        whole = client.images.edit(**edit)
        first = form(simulator)
        with client.images.edit(**edit, stream=True, partial_images=1) as stream:
            told = [event.type for event in stream]

    assert whole.data
    assert first["quality"] == [b"low"]
    assert first["image[]"] == [PNG, PNG]
    assert first["mask"] == [PNG]
    assert told == ["image_edit.partial_image", "image_edit.completed"]
    kinds = [record.get("type") for record in records()]
    assert kinds.count("image_edit.completed") == 1
    finished(records)


@pytest.mark.anyio
async def test_the_asynchronous_client_gets_the_same(
    gateway: Start, simulator: Simulator
) -> None:
    client = openai.AsyncOpenAI(
        base_url=f"{gateway('standard')}/v1", api_key="k", max_retries=0
    )

    async with client:
        answer = await client.images.generate(**ASKED)
        assert ENFORCED.items() <= sent(simulator).items()
        stream = await client.images.generate(**ASKED, stream=True)
        told = [event.type async for event in stream]
        edited = await client.images.edit(prompt="a hat", image=("a.png", PNG))

    assert answer.data
    assert told == ["image_generation.completed"]
    assert edited.data
    assert form(simulator)["model"] == [b"gpt-image-1-mini"]


@pytest.mark.parametrize("edits", [False, True])
def test_more_images_than_the_limit_are_refused(
    gateway: Start, simulator: Simulator, records: Records, *, edits: bool
) -> None:
    before = len(simulator.received)
    asked: Any = {"prompt": "a cat", "n": 4}

    with client_of(gateway("standard")) as client:
        ask: Any = client.images.generate
        if edits:
            ask = client.images.edit
            asked["image"] = ("a.png", PNG)
        with pytest.raises(openai.PermissionDeniedError) as raised:
            ask(**asked)

    assert raised.value.param == "n"
    assert len(simulator.received) == before
    [refused] = [each for each in records() if "decision" in each]
    assert refused["n"] == 4
    assert refused["violations"][0]["rule"] == "limits.images_api_n.max"
    finished(records)


def test_fewer_are_made_where_the_policy_lowers(
    gateway: Start, simulator: Simulator
) -> None:
    with client_of(gateway("cost-cap")) as client:
        answer = client.images.generate(prompt="a cat", n=4)

    assert sent(simulator)["n"] == len(answer.data or ()) < 4


@pytest.mark.parametrize("stream", [False, True])
def test_azure_classic_names_the_deployment_in_the_path(
    gateway: Start, simulator: Simulator, records: Records, *, stream: bool
) -> None:
    client = openai.AzureOpenAI(
        azure_endpoint=gateway("azure-foundry"),
        api_key="k",
        api_version="2025-04-01-preview",
        max_retries=0,
    )

    with client:
        asked: Any = {"model": "img-mini-prod", "prompt": "a cat", "quality": "high"}
        if stream:
            with client.images.generate(**asked, stream=True) as told:
                assert [each.type for each in told] == ["image_generation.completed"]
        else:
            assert client.images.generate(**asked).data
        with pytest.raises(openai.PermissionDeniedError):
            client.images.generate(model="img-other", prompt="a cat")

    received = simulator.received[-1]
    assert received.path == "/openai/deployments/img-mini-prod/images/generations"
    assert sent(simulator)["quality"] == "medium"
    assert records()[0]["image_deployment"] == "img-mini-prod"
    finished(records)


def test_azure_v1_names_it_in_the_body(gateway: Start, simulator: Simulator) -> None:
    url = f"{gateway('azure-foundry')}/openai/v1"

    with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client:
        client.images.generate(prompt="a cat")
        assert sent(simulator)["model"] == "img-mini-prod"
        client.images.edit(prompt="a hat", image=("a.png", PNG))
        assert form(simulator)["model"] == [b"img-mini-prod"]


def test_variations_are_refused(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    before = len(simulator.received)
    answer = httpx2.post(
        f"{gateway('standard')}/v1/images/variations",
        headers={"authorization": "Bearer sk-canary"},
        files={"image": PNG},
    )

    assert answer.status_code == 403
    assert "image_generation tool" in answer.json()["error"]["message"]
    assert len(simulator.received) == before
    assert finished(records)["outcome"] == "refused"


def test_where_the_images_api_is_closed_nothing_is_made(
    gateway: Start, simulator: Simulator
) -> None:
    before = len(simulator.received)

    with client_of(gateway("regulated")) as client:
        with pytest.raises(openai.PermissionDeniedError):
            client.images.generate(prompt="a cat")
        with pytest.raises(openai.PermissionDeniedError):
            client.images.edit(prompt="a hat", image=("a.png", PNG))

    assert len(simulator.received) == before


def test_a_form_under_another_door_is_not_read(gateway: Start) -> None:
    answer = httpx2.post(f"{gateway('standard')}/v1/responses", files={"image": PNG})

    assert answer.status_code == 415
