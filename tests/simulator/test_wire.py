from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest

from imagegate.simulator import Simulator, create_simulator

Serve = Callable[[Simulator], str]


# One for the file: each one made reads the certificates anew.
HTTP = httpx2.Client(trust_env=False)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    HTTP.close()


KEY = {"authorization": "Bearer k"}
TOOL: Any = {"type": "image_generation", "model": "gpt-image-1-mini", "quality": "low"}


def asked(url: str, order: str, **body: Any) -> httpx2.Response:
    whole = {"model": "gpt-6-luna", "input": "a cat", "tools": [TOOL]} | body
    whole["metadata"] = {"simulator": order}
    return HTTP.post(f"{url}/v1/responses", json=whole, headers=KEY)


@pytest.mark.parametrize(
    ("order", "error", "code"),
    [
        ("status=401", openai.AuthenticationError, "invalid_api_key"),
        ("status=418", openai.APIStatusError, None),
        ("status=429", openai.RateLimitError, "rate_limit_exceeded"),
        (
            "status=429 code=insufficient_quota",
            openai.RateLimitError,
            "insufficient_quota",
        ),
        ("status=500", openai.InternalServerError, "server_error"),
        (
            "status=400 code=moderation_blocked",
            openai.BadRequestError,
            "moderation_blocked",
        ),
    ],
)
def test_an_error_is_ordered(
    client: openai.OpenAI, order: str, error: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(error) as raised:
        client.responses.create(model="gpt-5", input="a", metadata={"simulator": order})

    assert raised.value.code == code
    assert raised.value.request_id
    assert raised.value.status_code == int(order[7:10])


def test_an_error_in_the_middle_raises_in_the_sdk(client: openai.OpenAI) -> None:
    order = {"simulator": "error_at=3"}
    stream = client.responses.create(
        model="gpt-5", input="a", stream=True, metadata=order
    )
    seen: list[str] = []

    with pytest.raises(openai.APIError, match="had an error"):
        seen.extend(event.type for event in stream)
    assert "response.failed" not in seen


def test_after_the_error_the_response_has_failed(url: str) -> None:
    answer = asked(url, "error_at=2", stream=True)

    kinds = [line[7:] for line in answer.text.splitlines() if line[:6] == "event:"]
    assert kinds[2:] == ["error", "response.failed"]


@pytest.mark.parametrize("order", ["error_at=1", "fail_at=1"])
def test_a_whole_answer_fails_too(url: str, order: str) -> None:
    answer = asked(url, order).json()

    assert (answer["status"], answer["output"]) == ("failed", [])
    assert answer["error"]["code"] == "server_error"


def test_headers_are_added(url: str) -> None:
    assert asked(url, "header.x-odd=yes").headers["x-odd"] == "yes"


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_is_compressed(url: str, *, stream: bool) -> None:
    plain = asked(url, "deltas=300", stream=stream)
    with HTTP.stream(
        "POST",
        f"{url}/v1/responses",
        json={
            "model": "gpt-5",
            "input": "a",
            "stream": stream,
            "metadata": {"simulator": "gzip"},
        },
        headers=KEY,
    ) as answer:
        raw = b"".join(answer.iter_raw())

    assert answer.headers["content-encoding"] == "gzip"
    assert b'"completed"' in gzip.decompress(raw)
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_drips(url: str, simulator: Simulator, *, stream: bool) -> None:
    answer = asked(url, "chunk=7 images=0", stream=stream)

    received = simulator.received[-1]
    assert received.ended.wait(timeout=10)
    assert received.outcome == "finished"
    assert received.sent == len(answer.content)
    assert received.sha256 == hashlib.sha256(answer.content).hexdigest()


def test_an_answer_is_delayed(url: str) -> None:
    answer = asked(url, "head_delay_ms=1 delay_ms=1 chunk=500 chunk_delay_ms=1")

    assert answer.json()["status"] == "completed"


@pytest.mark.parametrize("after", [0, 100, 1500])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_is_truncated(
    url: str, simulator: Simulator, after: int, *, stream: bool
) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        asked(url, f"truncate={after}", stream=stream)

    received = simulator.received[-1]
    assert received.ended.wait(timeout=10)
    assert (received.outcome, received.sent) == ("cut", after)


def test_a_truncation_beyond_the_end_is_none(url: str, simulator: Simulator) -> None:
    asked(url, "truncate=9999999")

    assert simulator.received[-1].ended.wait(timeout=10)
    assert simulator.received[-1].outcome == "finished"


@pytest.mark.parametrize("after", [0, 1500])
def test_an_answer_hangs(url: str, simulator: Simulator, after: int) -> None:
    order = {"simulator": f"hang={after}"}
    body = {"model": "gpt-5", "input": "a", "stream": True, "metadata": order}
    with HTTP.stream("POST", f"{url}/v1/responses", json=body, headers=KEY) as answer:
        pieces = answer.iter_raw()
        read = 0
        while read < after:
            read += len(next(pieces))
        received = simulator.received[-1]
        assert not received.ended.is_set()

    assert received.ended.wait(timeout=10)
    assert (received.outcome, received.sent, read) == ("left", after, after)


@pytest.mark.anyio
async def test_an_answer_never_comes() -> None:
    body = b'{"model":"gpt-5","metadata":{"simulator":"silent"}}'

    simulator, sent = await alone(
        {"type": "http.request", "body": body}, {"type": "http.disconnect"}
    )

    (received,) = simulator.received
    assert sent == []
    assert (received.outcome, received.status) == ("left", None)


@pytest.mark.anyio
async def test_a_client_that_leaves_before_its_body_is_noted() -> None:
    simulator, sent = await alone(
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    )

    (received,) = simulator.received
    assert sent == []
    assert (received.outcome, received.body) == ("left", b"")


async def alone(
    *messages: dict[str, Any], kind: str = "http"
) -> tuple[Simulator, list[Any]]:
    """Run an application by hand; return it and what it sent."""
    coming, sent = iter(messages), []
    simulator = create_simulator()

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "method": "POST",
        "path": "/v1/responses",
        "query_string": b"",
        "headers": [(b"authorization", b"Bearer k")],
    }
    await simulator(scope, receive, send)
    return simulator, sent


def test_the_echo_lies(url: str) -> None:
    order = "echo.quality=high echo.model=gpt-image-2 echo.n=2 echo.size="

    answer = asked(url, order).json()

    (tool,) = answer["tools"]
    assert (tool["quality"], tool["model"], tool["n"]) == ("high", "gpt-image-2", 2)
    assert "size" not in tool
    assert answer["output"][0]["quality"] == "low"


def test_the_finished_item_lies(url: str) -> None:
    answer = asked(url, "item.quality=high item.revised_prompt=").json()

    assert answer["output"][0]["quality"] == "high"
    assert "revised_prompt" not in answer["output"][0]
    assert answer["tools"][0]["quality"] == "low"


def test_openai_has_the_habits_of_azure_if_told_so(url: str) -> None:
    answer = asked(
        url, "no_completed status_generating empty_output deltas=40", stream=True
    )

    assert "call.completed" not in answer.text
    assert '"status":"generating"' in answer.text
    assert answer.text.count("event: response.output_text.delta") == 40
    last = json.loads(answer.text.strip().rpartition("data: ")[2])
    assert last["response"]["output"] == []


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/v1/models", {}, 401),
        ("GET", "/v1/models", {"authorization": "Bearer"}, 401),
        ("GET", "/v1/models", {"api-key": "k"}, 401),
        ("GET", "/openai/v1/models", {}, 401),
        ("GET", "/openai/v1/models", {"api-key": "k"}, 200),
        ("GET", "/v1/nothing", KEY, 404),
        ("GET", "/elsewhere", KEY, 404),
        ("POST", "/v1/images/variations", KEY, 404),
        ("POST", "/v1/responses/", KEY, 404),
        ("POST", "/openai/responses", KEY, 404),
        ("POST", "/openai/chat/completions?api-version=1", KEY, 404),
        ("POST", "/openai/deployments/d/responses?api-version=1", KEY, 404),
        ("GET", "/v1/responses", KEY, 405),
        ("PUT", "/openai/v1/responses", KEY, 405),
    ],
)
def test_every_provider_answers_in_its_own_words(
    url: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    answer = HTTP.request(method, f"{url}{path}", headers=headers)

    assert answer.status_code == status
    if path.startswith("/openai") and status != 200:
        assert answer.json()["error"]["code"] == str(status)
    elif status != 200:
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff\xfe{", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"[]", {}, 400),
        (gzip.compress(b"{}"), {"content-encoding": "gzip"}, 415),
    ],
    ids=["cut", "no text", "deep", "no object", "encoded"],
)
def test_a_body_must_be_a_plain_json_object(
    url: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = HTTP.post(f"{url}/v1/responses", content=body, headers=KEY | headers)

    assert answer.status_code == status


def test_what_was_received_is_shown_on_request_only(serve: Serve, url: str) -> None:
    simulator = create_simulator(expose_requests=True)
    open_url = serve(simulator)
    HTTP.post(f"{open_url}/v1/responses?beta=true", content=b"{}", headers=KEY)
    assert simulator.received[0].ended.wait(timeout=10)

    (shown,) = HTTP.get(f"{open_url}/__simulator/requests").json()
    forgotten = HTTP.delete(f"{open_url}/__simulator/requests").json()
    closed = HTTP.get(f"{url}/__simulator/requests", headers=KEY)

    assert (shown["method"], shown["path"], shown["query"]) == (
        "POST",
        "/v1/responses",
        "beta=true",
    )
    assert base64.b64decode(shown["body_base64"]) == b"{}"
    assert (shown["status"], shown["outcome"]) == (400, "finished")
    assert ["authorization", "Bearer k"] in shown["headers"]
    assert forgotten == []
    assert closed.status_code == 404


@pytest.mark.anyio
async def test_a_websocket_is_taken() -> None:
    simulator, sent = await alone({"type": "websocket.connect"}, kind="websocket")

    assert sent == [{"type": "websocket.accept"}]
    assert not simulator.received
