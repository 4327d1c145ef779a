"""The Python libraries through the gateway, each as an application uses it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import azure.ai.projects
import azure.ai.projects.models as foundry
import azure.core.exceptions
import httpx2
import openai
import pytest
from azure.core.credentials import AccessToken
from exchanged import Records, client_of, sent
from stage import Certificates

from imagegate.simulator import Simulator
from imagegate.zstd import zstd

Start = Callable[[str], str]
IMAGE: Any = {"type": "image_generation"}


# -- openai, asynchronous ----------------------------------------------------------


@pytest.mark.anyio
async def test_many_answers_and_streams_at_once(gateway: Start) -> None:
    url = gateway("standard")

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:

        async def whole() -> str:
            answer = await client.responses.create(
                model="gpt-5", input="a cat", tools=[IMAGE]
            )
            return answer.output[0].type

        async def streamed() -> str:
            stream = await client.responses.create(
                model="gpt-5", input="a cat", tools=[IMAGE], stream=True
            )
            return [event.type async for event in stream][-1]

        ends = await asyncio.gather(*(task() for task in (whole, streamed) * 10))

    assert ends == ["image_generation_call", "response.completed"] * 10


def test_a_conversation_goes_on_with_what_was_put_into_it(gateway: Start) -> None:
    """It is seen, as everything that came into it was judged here."""
    carrier: Any = {"type": "additional_tools", "role": "developer"}
    carrier["tools"] = [{**IMAGE, "quality": "high"}]
    with client_of(gateway("standard")) as client:
        begun = client.conversations.create(items=[carrier])
        answer = client.responses.create(
            model="gpt-5", input="a cat", conversation=begun.id
        )
        items = client.conversations.items.list(begun.id, order="asc").data
        with pytest.raises(openai.PermissionDeniedError, match="not made through"):
            client.responses.create(model="gpt-5", input="x", conversation="conv_x")

    tool: Any = items[0]
    assert tool.tools[0].quality == "medium"
    kinds = ["image_generation_call", "message"]
    assert [item.type for item in answer.output] == kinds
    assert [item.type for item in items[1:]] == ["message", *kinds]


def test_a_step_may_refer_to_the_items_of_the_last(gateway: Start) -> None:
    """As Vercel's AI SDK does from step to step."""
    with client_of(gateway("standard")) as client:
        first = client.responses.create(model="gpt-5", input="a", tools=[IMAGE])
        made: Any = [{"type": "item_reference", "id": x.id} for x in first.output]
        client.responses.create(model="gpt-5", input=made)
        other: Any = [{"type": "item_reference", "id": "ig_other"}]
        with pytest.raises(openai.PermissionDeniedError, match="not made through"):
            client.responses.create(model="gpt-5", input=other)


def test_a_stream_helper_assembles_the_answer(gateway: Start) -> None:
    with (
        client_of(gateway("standard")) as client,
        client.responses.stream(model="gpt-5", input="a cat", tools=[IMAGE]) as stream,
    ):
        answer = stream.get_final_response()

    assert answer.output[0].type == "image_generation_call"


# -- background --------------------------------------------------------------------


def test_a_background_answer_is_asked_for_until_it_is_done(gateway: Start) -> None:
    with client_of(gateway("standard")) as client:
        answer = client.responses.create(
            model="gpt-5", input="a cat", tools=[IMAGE], background=True
        )
        deadline = time.monotonic() + 10
        while answer.status != "completed" and time.monotonic() < deadline:
            answer = client.responses.retrieve(answer.id)

    assert answer.status == "completed"
    assert answer.output[0].type == "image_generation_call"


def test_a_background_stream_is_taken_up_where_it_was_left(
    gateway: Start, records: Records
) -> None:
    with client_of(gateway("standard")) as client:
        stream = client.responses.create(
            model="gpt-5", input="a", tools=[IMAGE], background=True, stream=True
        )
        first = next(iter(stream))
        stream.close()
        assert first.type == "response.created"
        rest = client.responses.retrieve(
            first.response.id, stream=True, starting_after=first.sequence_number
        )
        numbers, types = zip(
            *((event.sequence_number, event.type) for event in rest), strict=True
        )

    assert list(numbers) == list(range(1, len(numbers) + 1))
    assert types[-1] == "response.completed"
    replayed = [
        record["replay"]
        for record in records()
        if record["event"] == "imagegate.image_generating"
    ]
    assert replayed[-1] is True


def test_a_stored_answer_is_read_listed_cancelled_and_deleted(gateway: Start) -> None:
    with client_of(gateway("standard")) as client:
        answer = client.responses.create(
            model="gpt-5", input="a cat", tools=[IMAGE], background=True
        )
        items = client.responses.input_items.list(answer.id)
        cancelled = client.responses.cancel(answer.id)
        client.responses.delete(answer.id)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(answer.id)

    assert items.data[0].type == "message"
    assert cancelled.status == "cancelled"


# -- doors without images ----------------------------------------------------------


def test_chat_completions_pass_and_are_recorded_as_not_inspected(
    gateway: Start, simulator: Simulator, records: Records
) -> None:
    with client_of(gateway("standard")) as client:
        client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": "hello"}]
        )

    assert sent(simulator)["messages"] == [{"role": "user", "content": "hello"}]
    assert [r["inspected"] for r in records() if "inspected" in r] == [False]


# -- Codex -------------------------------------------------------------------------


def codex_turn(*history: Any) -> bytes:
    """Spell a turn as the command-line client does: all tools in an input item."""
    shell = {"type": "function", "name": "shell", "parameters": {"type": "object"}}
    tools = [shell, {**IMAGE, "output_format": "png"}]
    turn = {
        "model": "gpt-5-codex",
        "instructions": "You are a coding agent.",
        "input": [
            {"type": "additional_tools", "role": "developer", "tools": tools},
            *history,
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0198c1a2",
    }
    return zstd.compress(json.dumps(turn, separators=(",", ":")).encode())


CODEX = {
    "content-type": "application/json",
    "content-encoding": "zstd",
    "authorization": "Bearer k",
    "accept": "text/event-stream",
    "originator": "codex_cli_rs",
    "user-agent": "codex_cli_rs/0.147.0",
    "session_id": "0198c1a2",
}


def message(text: str) -> Any:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content}


def test_codex_turns_are_brought_within_the_policy_in_their_own_place(
    gateway: Start, simulator: Simulator
) -> None:
    url = f"{gateway('standard')}/v1/responses"
    history = [message("draw a cat")]
    for _ in range(3):
        answer = httpx2.post(url, content=codex_turn(*history), headers=CODEX)

        assert answer.status_code == 200
        assert simulator.received[-1].header("content-encoding") is None
        carrier, *items = sent(simulator)["input"]
        assert carrier["tools"][1]["quality"] == "medium"
        assert carrier["tools"][0]["name"] == "shell"
        assert items == history
        done = next(
            json.loads(line[6:])
            for line in answer.text.splitlines()
            if line.startswith('data: {"type":"response.completed"')
        )
        history += [*done["response"]["output"], message("and another")]


def test_codex_goes_on_without_images_where_they_are_not_approved(
    gateway: Start, simulator: Simulator
) -> None:
    url = f"{gateway('no-images')}/v1/responses"

    answer = httpx2.post(url, content=codex_turn(message("hello")), headers=CODEX)

    assert answer.status_code == 200
    assert "response.completed" in answer.text
    assert [tool["type"] for tool in sent(simulator)["input"][0]["tools"]] == [
        "function"
    ]


# -- Azure AI Foundry, which speaks TLS only ---------------------------------------


class Token:
    """A credential that has what it needs."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://ai.azure.com/.default",)
        return AccessToken("token", int(time.time()) + 3_600)

    def close(self) -> None:
        """Have nothing to close."""


@pytest.fixture
def project(
    tls_gateway: Start, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> Iterator[azure.ai.projects.AIProjectClient]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    endpoint = f"{tls_gateway('azure-foundry')}/api/projects/p"
    with azure.ai.projects.AIProjectClient(
        endpoint, Token(), connection_verify=str(certificates.authority)
    ) as client:
        yield client


def test_a_foundry_project_makes_its_images_through_the_gateway(
    project: azure.ai.projects.AIProjectClient, simulator: Simulator
) -> None:
    with project.get_openai_client() as client:
        answer = client.responses.create(model="gpt-5", input="a cat", tools=[IMAGE])
        stream = client.responses.create(
            model="gpt-5", input="a cat", tools=[IMAGE], stream=True
        )
        types = [event.type for event in stream]

    received = simulator.received[-1]
    assert answer.output[0].type == "image_generation_call"
    assert types[-1] == "response.completed"
    assert received.path == "/api/projects/p/openai/v1/responses"
    assert received.header("authorization") == "Bearer token"
    assert sent(simulator)["tools"][0]["model"] == "img-mini-prod"


def test_a_refusal_is_the_foundry_clients_own_error(
    project: azure.ai.projects.AIProjectClient, simulator: Simulator
) -> None:
    before = len(simulator.received)
    tool = foundry.ImageGenTool(model="img-nobody-listed")
    definition = foundry.PromptAgentDefinition(model="gpt-5", tools=[tool])

    with pytest.raises(azure.core.exceptions.HttpResponseError) as raised:
        project.agents.create_version("painter", definition=definition)

    assert raised.value.status_code == 403
    assert raised.value.error is not None
    assert raised.value.error.code == "image_policy_violation"
    assert len(simulator.received) == before


def test_an_untrusted_client_learns_nothing(tls_gateway: Start) -> None:
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{tls_gateway('azure-foundry')}/livez", verify=True)


def test_plain_http_on_the_tls_port_is_no_request(tls_gateway: Start) -> None:
    url = tls_gateway("azure-foundry")

    with pytest.raises(httpx2.TransportError):
        httpx2.get(url.replace("https", "http") + "/livez")
