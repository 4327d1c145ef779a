"""WebSocket mode with the real SDK: through the proxy, and through the middleware."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import uvicorn
from stage import BOUND, Log, gate_of, serving
from starlette.types import ASGIApp, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.middleware import PolicyMiddleware
from imagegate.server.run import Listener, server_for
from imagegate.simulator import Simulator
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream

Records = Callable[[], list[dict[str, Any]]]
pytestmark = [
    pytest.mark.anyio,
    # The SDK's, with a release of websockets that is newer than it.
    pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning"),
]
TOOL: dict[str, Any] = {
    "type": "image_generation",
    "model": "gpt-image-1-mini",
    "quality": "high",
}
FORBIDDEN = {**TOOL, "type": "Image_Generation"}
GENERATING = "response.image_generation_call.generating"


class Relay:
    """The smallest application that forwards a WebSocket."""

    def __init__(self, provider: str) -> None:
        self.provider = provider.replace("http", "ws", 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        headers = {"authorization": "Bearer k"}
        # With a queue it would stop reading when its client has left, and would wait
        # ten seconds for a goodbye that it does not read.
        async with connect(
            self.provider + scope["path"],
            additional_headers=headers,
            max_size=None,
            max_queue=None,
            proxy=None,
            compression=None,
        ) as provider:
            await send({"type": "websocket.accept"})

            async def up() -> None:
                while (message := await receive())["type"] != "websocket.disconnect":
                    await provider.send(message["text"])
                await provider.close()

            going = asyncio.create_task(up())
            async for said in provider:
                await send({"type": "websocket.send", "text": said})
            await going


@pytest.fixture(scope="session")
def embedded(provider: str, whole_log: Log) -> Iterator[str]:
    """Serve the middleware in somebody else's application, with plain uvicorn."""
    governed: ASGIApp = PolicyMiddleware(
        Relay(provider), gate=gate_of("standard"), audit=StreamAudit(whole_log)
    )
    config = uvicorn.Config(
        governed, log_level="critical", lifespan="off", ws_max_size=1 << 26
    )
    with serving(uvicorn.Server(config)) as url:
        yield url


@pytest.fixture(params=["proxy", "embedded"])
def url(
    request: pytest.FixtureRequest, gateway: Callable[[str], str], embedded: str
) -> str:
    base = gateway("standard") if request.param == "proxy" else embedded
    return f"{base}/v1"


def kinds(records: list[dict[str, Any]]) -> list[str]:
    return [record["event"].removeprefix("imagegate.") for record in records]


def outcomes(records: list[dict[str, Any]]) -> list[str]:
    return [each["outcome"] for each in records if "outcome" in each]


def test_several_requests_on_one_connection(
    url: str, records: Records, simulator: Simulator, log: Log
) -> None:
    with (
        openai.OpenAI(base_url=url, api_key="k") as client,
        client.responses.connect() as connection,
    ):
        for _ in range(2):
            connection.response.create(model="gpt-5", input="x", tools=[TOOL])  # type: ignore[list-item] # as a file says it
            seen = []
            for event in connection:
                seen.append(event.type)
                if event.type == "response.completed":
                    break
            assert GENERATING in seen
            connection.response.create(model="gpt-5", input="x", tools=[FORBIDDEN])  # type: ignore[list-item] # forbidden
            refused = connection.recv()
            assert refused.type == "error"
            assert refused.error.code == "image_policy_violation"
    log.wait_until(lambda: len(outcomes(records())) == 5)

    assert json.loads(simulator.received[-1].body)["tools"][0]["quality"] == "medium"
    assert kinds(records()).count("image_generating") == 2
    assert sorted(outcomes(records())) == ["completed"] * 3 + ["refused"] * 2


async def test_a_turn_of_codex_that_was_warmed_up(url: str) -> None:
    """What is not stored is held by its connection, and by no other."""
    turn = {
        "type": "response.create",
        "model": "gpt-5-codex",
        "input": [{"type": "message", "id": "msg_1", "role": "user", "content": "x"}],
        "tools": [{"type": "namespace", "name": "agents", "tools": []}],
        "store": False,
        "client_metadata": {"x-codex-window-id": "w:0"},
    }
    said: list[Any] = []

    async def ask(connection: Any, **members: Any) -> None:
        await connection.send(json.dumps(turn | members))
        async for message in connection:
            said.append(json.loads(message))
            if said[-1]["type"] in {"response.completed", "error"}:
                break

    gateway, bearer = url.replace("http", "ws", 1), {"authorization": "Bearer k"}
    headers = {**bearer, "openai-beta": "responses_websockets=2026-02-06"}
    for _ in range(2):
        async with connect(
            f"{gateway}/responses", additional_headers=headers, proxy=None
        ) as connection:
            if not said:
                await ask(connection, generate=False)
                warm = said[-1]["response"]["id"]
            await ask(connection, previous_response_id=warm)

    ends = [each for each in said if each["type"] in {"response.completed", "error"}]
    assert [each["type"] for each in ends] == [*["response.completed"] * 2, "error"]
    assert ends[-1]["error"]["code"] == "previous_response_not_found"


async def test_lanes_and_steering_of_an_async_client(
    url: str, records: Records, log: Log
) -> None:
    slow = {"simulator": "delay_ms=20"}
    tools: Any = [TOOL]
    async with (
        openai.AsyncOpenAI(base_url=url, api_key="k") as client,
        client.responses.connect() as connection,
    ):
        for lane in ("a", "b"):
            await connection.response.create(
                model="gpt-5", input="x", tools=tools, stream_id=lane, metadata=slow
            )
        ended: list[str] = []
        steered = False
        async with asyncio.timeout(BOUND):
            async for event in connection:
                said: Any = event
                kind, on = said.type, getattr(said, "stream_id", None)
                if kind == "response.created" and on == "a" and not steered:
                    steered = True
                    await connection.send_raw(
                        json.dumps(
                            {
                                "type": "response.steer",
                                "previous_response_id": said.response.id,
                                "input": "y",
                            }
                        )
                    )
                if kind == "response.completed":
                    ended.append(str(on))
                if len(ended) == 3:
                    break
    await asyncio.to_thread(log.wait_until, lambda: len(outcomes(records())) == 4)

    assert sorted(ended) == ["a", "a", "b"]
    assert outcomes(records()) == ["completed"] * 4
    steer = next(
        each for each in records() if each.get("message_type") == "response.steer"
    )
    images = [each for each in records() if each["event"].endswith("image_generating")]
    assert [each["decision_id"] for each in images].count(steer["decision_id"]) == 1
    assert len(images) == 3


def test_what_is_injected_by_the_beta_client_is_judged(
    url: str, records: Records, log: Log
) -> None:
    slow = {"simulator": "delay_ms=20"}
    message: Any = {"type": "message", "role": "user", "content": "and a dog"}
    tools: Any = {"type": "additional_tools", "role": "developer", "tools": [FORBIDDEN]}
    seen: list[str] = []
    with (
        openai.OpenAI(base_url=url, api_key="k") as client,
        client.beta.responses.connect() as connection,
    ):
        asked: Any = {"model": "gpt-5", "input": "x", "tools": [TOOL]}
        connection.response.create(**asked, metadata=slow)
        for event in connection:
            said: Any = event
            seen.append(said.type)
            if said.type == "response.created":
                for item in (message, tools):
                    connection.response.inject(
                        input=[item], response_id=said.response.id
                    )
            if said.type == "error":
                assert said.error.code == "image_policy_violation"
            if said.type == "response.completed":
                break
    log.wait_until(lambda: len(outcomes(records())) == 4)

    assert seen.count("response.inject.created") == 1
    assert seen.count("error") == 1
    assert sorted(outcomes(records())) == ["completed"] * 3 + ["refused"]


def test_a_client_that_leaves_amid_an_image(
    url: str, records: Records, log: Log, simulator: Simulator
) -> None:
    slow = {"simulator": "delay_ms=50"}
    with openai.OpenAI(base_url=url, api_key="k") as client:
        connection = client.responses.connect().enter()
        connection.response.create(
            model="gpt-5",
            input="x",
            tools=[TOOL],  # type: ignore[list-item] # as a file says it
            metadata=slow,
        )
        for event in connection:
            if event.type == GENERATING:
                break
        connection.close()
    log.wait_until(lambda: len(outcomes(records())) == 2)

    assert outcomes(records()) == ["client_left", "client_left"]
    assert simulator.received[-1].ended.wait(BOUND)
    assert simulator.received[-1].outcome == "left"


async def test_a_hundred_connections_with_leavers(
    url: str, records: Records, log: Log
) -> None:
    target = url.replace("http", "ws", 1) + "/responses"
    message = json.dumps(
        {"type": "response.create", "model": "gpt-5", "input": "x", "tools": [TOOL]}
    )

    async def one(number: int) -> None:
        headers = {"authorization": "Bearer k"}
        # A client whose queue is full stops reading, and misses the goodbye.
        async with connect(
            target,
            additional_headers=headers,
            max_size=None,
            max_queue=None,
            proxy=None,
        ) as client:
            await client.send(message)
            async for said in client:
                if number % 2 or '"response.completed"' in str(said)[:40]:
                    return

    await asyncio.gather(*(one(number) for number in range(100)))
    await asyncio.to_thread(log.wait_until, lambda: len(outcomes(records())) == 200)

    idents = [each["decision_id"] for each in records() if "outcome" in each]
    assert len(set(idents)) == 200


# -- the proxy alone --------------------------------------------------------------


def test_closed_by_policy_it_is_answered_426(gateway: Callable[[str], str]) -> None:
    base = gateway("regulated") + "/v1"
    with (
        openai.OpenAI(base_url=base, api_key="k") as client,
        pytest.raises(InvalidStatus) as caught,
        client.responses.connect(),
    ):
        pass

    assert caught.value.response.status_code == 426


async def test_a_refusal_of_the_provider_is_relayed(
    gateway: Callable[[str], str], records: Records, log: Log
) -> None:
    url = gateway("standard").replace("http", "ws", 1) + "/v1/responses"
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, proxy=None):
            pass
    await asyncio.to_thread(log.wait_until, lambda: len(outcomes(records())) == 1)

    assert caught.value.response.status_code == 401
    assert b"API key" in bytes(caught.value.response.body)
    assert outcomes(records()) == ["failed"]


@contextlib.contextmanager
def standing_in(answers: Callable[[ServerConnection], Any]) -> Iterator[str]:
    """Serve a provider of a test's own."""
    ready, over = threading.Event(), threading.Event()
    port = 0

    async def run() -> None:
        nonlocal port
        async with serve(answers, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=[run()])
    thread.start()
    assert ready.wait(BOUND)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def before(provider: str, log: Log) -> Iterator[str]:
    app = create_app(
        gate_of("standard"),
        {"": Upstream(name="p", base=provider)},
        client=FastClient(),
        audit=StreamAudit(log),
    )
    with serving(server_for(app, Listener(port=0, grace=1))) as url:
        yield url.replace("http", "ws", 1) + "/v1/responses"


ASKING = {"type": "response.create", "model": "gpt-5", "input": "x", "tools": [TOOL]}
HEADERS = {"authorization": "Bearer k"}


async def test_an_image_of_45_mb_arrives_whole(records: Records, log: Log) -> None:
    item = {
        "id": "ig_1",
        "type": "image_generation_call",
        "status": "completed",
        "result": "A" * 45_000_000,
    }
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    text = json.dumps(done)

    async def answers(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type":"response.created","response":{"id":"resp_1"}}')
        await connection.send(text)
        with contextlib.suppress(ConnectionClosed):
            await connection.recv()

    with standing_in(answers) as provider, before(provider, log) as url:
        async with connect(
            url, additional_headers=HEADERS, max_size=None, proxy=None
        ) as client:
            await client.send(json.dumps(ASKING))
            await client.recv()
            assert await client.recv() == text
        await asyncio.to_thread(log.wait_until, lambda: len(outcomes(records())) == 2)

    assert "image_finished" in kinds(records())


async def test_a_provider_that_dies_amid_an_image(records: Records, log: Log) -> None:
    async def answers(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"type":"response.created","response":{"id":"resp_1"}}')
        connection.transport.abort()

    with standing_in(answers) as provider, before(provider, log) as url:
        async with connect(url, additional_headers=HEADERS, proxy=None) as client:
            await client.send(json.dumps(ASKING))
            await client.recv()
            with pytest.raises(ConnectionClosed) as caught:
                await client.recv()
        await asyncio.to_thread(log.wait_until, lambda: len(outcomes(records())) == 2)

    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1011
    assert outcomes(records()) == ["upstream_error", "upstream_error"]
