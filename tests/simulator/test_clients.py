from __future__ import annotations

from base64 import b64decode
from typing import Any

import openai
import pytest
from azure.ai.projects import AIProjectClient
from azure.core.credentials import AccessToken
from openai.types.responses import Response
from pydantic import TypeAdapter

from imagegate.simulator import Simulator

TOOL: Any = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}
HEADER = {"x-ms-oai-image-generation-deployment": "img"}


class Credential:
    """A token for anybody."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken("token", 4_000_000_000)


def image_of(response: Response) -> bytes:
    item = response.output[0]
    assert item.type == "image_generation_call"
    assert item.result
    return b64decode(item.result)


def test_openai_whole(client: openai.OpenAI) -> None:
    response = client.responses.create(model="gpt-6-luna", input="a cat", tools=[TOOL])

    assert image_of(response).startswith(b"\x89PNG")
    assert response.output_text == "Here is the picture. Tell me if it should change!"
    Response.model_validate(response.model_dump(), strict=True)


def test_openai_streamed(client: openai.OpenAI) -> None:
    with client.responses.stream(
        model="gpt-6-luna", input="a cat", tools=[TOOL]
    ) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()

    assert kinds.count("response.image_generation_call.generating") == 1
    assert image_of(response).startswith(b"\x89PNG")


@pytest.mark.anyio
async def test_openai_asynchronously(url: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        response = await client.responses.create(
            model="gpt-6-luna", input="a cat", tools=[TOOL]
        )
        stream = await client.responses.create(
            model="gpt-6-luna", input="a cat", tools=[TOOL], stream=True
        )
        kinds = [event.type async for event in stream]

    assert image_of(response).startswith(b"\x89PNG")
    assert kinds[-1] == "response.completed"


def test_azure_classic(url: str, simulator: Simulator) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=url, api_key="k", api_version="2025-04-01-preview"
    ) as client:
        response = client.responses.create(
            model="my-gpt", input="a cat", tools=[TOOL], extra_headers=HEADER
        )

    asked = simulator.received[-1]
    assert image_of(response).startswith(b"\x89PNG")
    assert (asked.path, asked.query) == (
        "/openai/responses",
        "api-version=2025-04-01-preview",
    )
    assert asked.header("api-key") == "k"


def test_azure_v1(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/openai/v1", api_key="k") as client:
        response = client.responses.create(
            model="my-gpt", input="a cat", tools=[TOOL], extra_headers=HEADER
        )

    assert response.output[0].type == "image_generation_call"
    assert response.output[0].status == "generating"


def test_a_foundry_project(url: str, simulator: Simulator) -> None:
    project = AIProjectClient(f"{url}/api/projects/p", Credential())
    with project, project.get_openai_client() as client:
        response = client.responses.create(
            model="my-gpt", input="a cat", tools=[TOOL], extra_headers=HEADER
        )

    assert image_of(response).startswith(b"\x89PNG")
    assert simulator.received[-1].path == "/api/projects/p/openai/v1/responses"
    assert simulator.received[-1].header("authorization") == "Bearer token"


def test_models_are_listed(client: openai.OpenAI) -> None:
    idents = [model.id for model in client.models.list()]

    assert client.models.retrieve("gpt-image-2").id in idents
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.models.retrieve("gpt-image-7")


def test_chat_is_answered_whole_and_streamed(client: openai.OpenAI) -> None:
    asked: Any = {"model": "gpt-5", "messages": [{"role": "user", "content": "hello"}]}

    whole = client.chat.completions.create(**asked)
    function: Any = {"type": "function", "function": {"name": "f"}}
    pieces: Any = client.chat.completions.create(**asked, tools=[function], stream=True)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
    assert whole.choices[0].message.content == text.strip()
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**asked, tools=[TOOL])
    assert refused.value.param == "tools[0].type"


def test_embeddings_come_as_numbers_and_as_base64(client: openai.OpenAI) -> None:
    encoded = client.embeddings.create(model="text-embedding-3-small", input="a")
    listed = client.embeddings.create(
        model="text-embedding-3-small", input=["a", "b"], encoding_format="float"
    )

    assert encoded.data[0].embedding == pytest.approx(listed.data[0].embedding)
    assert listed.data[1].embedding != listed.data[0].embedding


def test_azure_classic_has_the_deployment_in_the_path_of_chat(url: str) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=url, api_key="k", api_version="2024-10-21"
    ) as client:
        answer = client.chat.completions.create(
            model="my-gpt", messages=[{"role": "user", "content": "hello"}]
        )
        vectors = client.embeddings.create(model="my-embedding", input="a")

    assert answer.model == "my-gpt"
    assert vectors.model == "my-embedding"


@pytest.mark.parametrize("route", ["chat.completions", "embeddings"])
def test_the_smaller_routes_miss_what_they_need(
    client: openai.OpenAI, route: str
) -> None:
    path = f"/{route.replace('.', '/')}"

    with pytest.raises(openai.BadRequestError) as refused:
        client.post(path, body={"model": "gpt-5"}, cast_to=object)

    assert refused.value.code == "missing_required_parameter"


def test_tokens_are_counted(client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(model="gpt-5", input="x" * 100)

    assert counted.input_tokens > 25
    with pytest.raises(openai.BadRequestError):
        client.responses.input_tokens.count(model="gpt-5", extra_body={"stream": True})


def test_a_conversation_is_compacted(client: openai.OpenAI) -> None:
    compacted = client.responses.compact(model="gpt-5", input="long ago")

    assert compacted.output[0].type == "compaction"
    TypeAdapter(type(compacted)).validate_python(compacted.model_dump(), strict=True)
    with pytest.raises(openai.BadRequestError, match="'tools'"):
        client.responses.compact(model="gpt-5", extra_body={"tools": []})
