"""The stand-in's Images API, as the real clients see it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from openai.types import ImageEditCompletedEvent, ImageGenCompletedEvent, ImagesResponse

from imagegate.simulator import Simulator, create_simulator

Serve = Callable[[Simulator], str]
MINI: Any = {"model": "gpt-image-1-mini", "quality": "low", "prompt": "a cat"}
PNG = b"\x89PNG"


def test_images_are_made_whole(client: openai.OpenAI) -> None:
    answer = client.images.generate(**MINI, n=2, size="1536x1024")

    images = [b64decode(image.b64_json or "") for image in answer.data or ()]
    assert [image[:4] for image in images] == [PNG, PNG]
    assert (answer.size, answer.quality, answer.output_format) == (
        "1536x1024",
        "low",
        "png",
    )
    assert answer.usage
    assert answer.usage.output_tokens == 2 * 272
    ImagesResponse.model_validate(answer.model_dump(), strict=True)


def test_images_are_made_as_a_stream(client: openai.OpenAI) -> None:
    with client.images.generate(**MINI, stream=True, partial_images=2) as stream:
        events = list(stream)

    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    ImageGenCompletedEvent.model_validate(events[-1].model_dump(), strict=True)
    assert b64decode(events[-1].b64_json).startswith(PNG)


def test_images_are_edited(client: openai.OpenAI, simulator: Simulator) -> None:
    answer = client.images.edit(
        **MINI, image=[("a.png", PNG), ("b.png", PNG)], mask=("m.png", PNG)
    )
    with client.images.edit(**MINI, image=("a.png", PNG), stream=True) as stream:
        events = list(stream)

    assert answer.data
    assert [event.type for event in events] == ["image_edit.completed"]
    ImageEditCompletedEvent.model_validate(events[0].model_dump(), strict=True)
    assert (simulator.received[-1].header("content-type") or "").startswith(
        "multipart/form-data"
    )


@pytest.mark.parametrize("edits", [False, True])
def test_azure_classic_has_the_deployment_in_the_path(
    url: str, simulator: Simulator, *, edits: bool
) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=url, api_key="k", api_version="2025-04-01-preview"
    ) as client:
        if edits:
            client.images.edit(model="img", prompt="a cat", image=("a.png", PNG))
        else:
            client.images.generate(model="img", prompt="a cat")

    last = "edits" if edits else "generations"
    assert simulator.received[-1].path == f"/openai/deployments/img/images/{last}"
    assert simulator.received[-1].status == 200


def test_azure_v1_has_it_in_the_body(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/openai/v1", api_key="k") as client:
        assert client.images.generate(model="img", prompt="a cat").data
        with pytest.raises(openai.BadRequestError, match="model"):
            client.images.generate(prompt="a cat")


@pytest.mark.parametrize(
    ("asked", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"n": 11}, "n", "integer_above_max_value"),
        ({"n": "two"}, "n", "invalid_type"),
        ({"quality": "best"}, "quality", "invalid_value"),
        ({"quality": "max"}, "quality", "invalid_value"),
        ({"size": "2048x2048"}, "size", "invalid_value"),
        ({"model": "dall-e-3"}, "model", "invalid_value"),
        ({"response_format": "url"}, "response_format", "unknown_parameter"),
        ({"extra_body": {"action": "edit"}}, "action", "unknown_parameter"),
        ({"background": "transparent", "output_format": "jpeg"}, "background", None),
        ({"output_format": "svg", "n": 2}, "n", None),
        ({"output_format": "svg", "stream": True}, "stream", None),
    ],
)
def test_what_the_contract_forbids_is_refused(
    client: openai.OpenAI, asked: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.images.generate(**{**MINI, **asked})

    assert raised.value.param == param
    assert raised.value.code == (code or "invalid_parameter_combination")


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"image": []}, "image"),
        ({"extra_body": {"moderation": "low"}}, "moderation"),
        ({"output_format": "gif", "mask": ("m.png", PNG)}, "mask"),
        ({"mask": ("m.png", PNG), "markup": ("o.png", PNG)}, "markup"),
        ({"image": [("a.png", PNG)] * 17}, "image"),
    ],
)
def test_what_an_edit_must_not_have_is_refused(
    client: openai.OpenAI, asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.images.edit(**{**MINI, "image": ("a.png", PNG), **asked})

    assert raised.value.param == param


def test_an_edit_comes_as_files(url: str) -> None:
    answer = httpx2.post(
        f"{url}/v1/images/edits",
        headers={"authorization": "Bearer k"},
        json={"prompt": "a cat", "image": "a.png"},
    )

    assert answer.json()["error"]["param"] == "image"


def test_an_edit_names_its_images_as_json(client: openai.OpenAI) -> None:
    images = [{"image_url": "https://a"}, {"file_id": "file-a"}]
    body = {
        **MINI,
        "images": images,
        "mask": {"file_id": "file-b"},
        "moderation": "low",
    }

    answer = client.post("/images/edits", body=body, cast_to=ImagesResponse)

    assert answer.data
    assert b64decode(answer.data[0].b64_json or "").startswith(PNG)


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"images": "a"}, "images"),
        ({"images": []}, "images"),
        ({"images": ["a"]}, "images[0]"),
        ({"images": [{"url": "a"}]}, "images[0].url"),
        ({"images": [{"file_id": "a"}] * 17}, "images"),
        ({"mask": "a"}, "mask"),
        ({"mask": {"file_id": "a"}, "markup": "a"}, "markup"),
    ],
)
def test_images_that_are_named_are_named_as_they_must_be(
    client: openai.OpenAI, changed: Any, param: str
) -> None:
    body = {**MINI, "images": [{"image_url": "a"}], "moderation": "low", **changed}

    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/images/edits", body=body, cast_to=object)
    assert refused.value.param == param


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"nothing"])
def test_a_form_that_is_none_is_refused(url: str, body: bytes) -> None:
    headers = {
        "authorization": "Bearer k",
        "content-type": "multipart/form-data; boundary=y",
    }
    answer = httpx2.post(f"{url}/v1/images/edits", headers=headers, content=body)

    assert answer.status_code == 400


def test_members_of_members_are_fields_with_brackets(
    client: openai.OpenAI, simulator: Simulator
) -> None:
    svg: Any = {"model": "gpt-6-luna", "reasoning": {"effort": "low"}}
    asked: Any = {"prompt": "a cat", "image": ("a.png", PNG), "output_format": "svg"}
    answer = client.images.edit(**asked, svg=svg)

    assert b"svg[reasoning][effort]" in simulator.received[-1].body
    assert answer.output_format == "svg"


def test_a_stream_can_be_told_to_fail(serve: Serve) -> None:
    url = serve(create_simulator(behaviour="bits=0 error_at=1"))

    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        stream = client.images.generate(**MINI, stream=True, partial_images=1)
        assert next(stream).type == "image_generation.partial_image"
        with pytest.raises(openai.APIError):
            next(stream)
