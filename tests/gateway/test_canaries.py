"""What must not be told is told nowhere: records, logs, errors, tracebacks.

Each secret is a word that exists once, so that a leak names its place.
"""

from __future__ import annotations

import base64
import gzip
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from raw import Answer, connect
from stage import Log, gate_of, serving

from imagegate.app import create_app
from imagegate.audit import StreamAudit
from imagegate.engine.policy import Principal
from imagegate.server.run import Listener, server_for
from imagegate.upstream.fast.client import FastClient
from imagegate.upstream.forwarder import Upstream

WORDS = [
    "key", "apikey", "prompt", "instructions", "picture", "mask", "description", "user",
    "metadata", "header", "header-name", "cookie", "query", "path", "model", "quality",
    "size", "unknown-value", "unknown-key", "deployment", "call", "output", "cache",
    "function", "type", "coding", "content-type", "organization", "host", "choice",
    "agent", "conversation", "previous", "referer",
]  # fmt: skip
IMAGE = {"type": "image_generation"}


def secret(name: str) -> str:
    """Return a word that no identifier, number or dictionary holds."""
    assert name in WORDS
    return f"zqx{name.replace('-', '')}xqz"


PNG = base64.b64encode(secret("picture").encode() * 9).decode()
TOOLS: dict[str, dict[str, Any]] = {
    "fine": {"input_image_mask": {"image_url": secret("mask")}},
    "rewritten": {"quality": "high", "description": secret("description")},
    "unknown model": {"model": secret("model")},
    "unknown quality": {"quality": secret("quality")},
    "unknown size": {"size": secret("size")},
    "unknown key": {secret("unknown-key"): secret("unknown-value")},
    "unknown type": {"type": f"image_generation_{secret('type')}"},
}
BODIES: dict[str, dict[str, Any]] = {
    **{name: {"tools": [IMAGE | tool]} for name, tool in TOOLS.items()},
    "choice": {"tool_choice": {"type": secret("choice")}},
    "agent": {"agent_reference": {"name": secret("agent")}},
    "conversation": {"conversation": secret("conversation")},
    "previous": {"previous_response_id": secret("previous")},
    "status": {"metadata": {"simulator": "status=500"}},
    "refused upstream": {"metadata": {"simulator": "status=400"}},
    "broken": {"metadata": {"simulator": "truncate=100"}},
    "cut": {
        "tools": [IMAGE],
        "stream": True,
        "metadata": {"simulator": "echo.quality=high"},
    },
    "streamed": {"tools": [IMAGE], "stream": True},
}
TEXTS: dict[str, Callable[[str], bytes]] = {
    "no end": lambda text: text[:-1].encode(),
    "duplicate": lambda text: f'{text[:-1]},"user":"{secret("user")}"}}'.encode(),
    "not a number": lambda text: f'{text[:-1]},"a":NaN}}'.encode(),
    "look-alike": lambda text: text.replace('"tools"', '"Tools"').encode(),
    "not UTF-8": lambda text: text.encode() + b"\xff",
    "UTF-16": lambda text: text.encode("utf-16"),
    "cut gzip": lambda text: gzip.compress(text.encode())[:-4],
}


def text_of(**more: Any) -> str:
    """Spell a request that has a secret in every place for one."""
    content = [
        {"type": "input_text", "text": secret("prompt")},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
    ]
    function = {"type": "function", "name": secret("function"), "parameters": {}}
    body = {
        "model": "gpt-5",
        "instructions": secret("instructions"),
        "input": [
            {"role": "user", "content": content},
            {
                "type": "function_call_output",
                "call_id": secret("call"),
                "output": secret("output"),
            },
        ],
        "tools": [function],
        "user": secret("user"),
        "prompt_cache_key": secret("cache"),
        "metadata": {"note": secret("metadata")},
    }
    return json.dumps(body | more)


HEADERS = {
    "authorization": f"Bearer {secret('key')}",
    "api-key": secret("apikey"),
    "content-type": "application/json",
    "cookie": secret("cookie"),
    "openai-organization": secret("organization"),
    "referer": secret("referer"),
    "x-note": secret("header"),
    secret("header-name"): "x",
    "x-ms-oai-image-generation-deployment": secret("deployment"),
}


@pytest.fixture(scope="module")
def records() -> Log:
    return Log()


@pytest.fixture(scope="module")
def url(provider: str, records: Log) -> Iterator[str]:
    app = create_app(
        gate_of("standard"),
        {"": Upstream(name="s", base=provider)},
        client=FastClient(),
        audit=StreamAudit(records),
    )
    with serving(server_for(app, Listener(port=0, grace=1))) as url:
        yield url


@pytest.fixture
def told(
    records: Log, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Answer], str]]:
    """Collect all that is told of a request, with every logger talking."""
    start = len(records.lines)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    loud = [
        logging.getLogger(name)
        for name in ("httpx2", "httpcore2", "uvicorn", "asyncio")
    ]
    levels = [logger.level for logger in loud]
    for logger in loud:
        logger.setLevel(logging.DEBUG)

    def collect(answer: Answer) -> str:
        records.wait_until(lambda: not records.open_since(start))
        out, err = capfd.readouterr()
        # What the provider said is the client's; what the gateway says is judged.
        ours = answer.status >= 400 and not answer.header("openai-version")
        written = b"\n".join(records.lines[start:]).decode()
        return "\n".join(
            [caplog.text, out, err, written, answer.body.decode() if ours else ""]
        )

    yield collect
    root.setLevel(level)
    for logger, before in zip(loud, levels, strict=True):
        logger.setLevel(before)


def leaks(text: str) -> list[str]:
    """Name the secrets in a text, plain or encoded."""
    found = [name for name in WORDS if secret(name) in text]
    return [*found, *(["picture, encoded"] if PNG[8:40] in text else [])]


def ask(url: str, body: bytes, path: str = "/v1/responses", **more: str) -> Answer:
    """Ask over a socket: a library would log what it does in this same process."""
    headers = {"host": "gateway", "content-length": str(len(body)), **HEADERS, **more}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""])
    with connect(url) as wire:
        return wire.say(head.encode() + body).answer()


@pytest.mark.parametrize("name", BODIES)
def test_a_request_that_is_understood_tells_nothing(
    url: str, told: Callable[[Answer], str], name: str
) -> None:
    answer = ask(url, text_of(**BODIES[name]).encode())

    allowed = {"unknown-key"} if name == "unknown key" else set()
    text = told(answer)
    assert '"event":"imagegate.' in text
    assert set(leaks(text)) <= allowed


@pytest.mark.parametrize("name", TEXTS)
def test_a_request_that_is_not_understood_tells_nothing(
    url: str, told: Callable[[Answer], str], name: str
) -> None:
    more = {"content-encoding": "gzip"} if name == "cut gzip" else {}

    answer = ask(url, TEXTS[name](text_of(tools=[IMAGE])), **more)

    assert answer.status == 400
    assert leaks(told(answer)) == []


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (f"/v1/responses?{secret('query')}={secret('query')}", {}),
        (f"/v1/{secret('path')}", {}),
        (f"/{secret('path')}%2fv1/responses", {}),
        ("/v1/responses", {"content-encoding": secret("coding")}),
        ("/v1/responses", {"content-type": f"application/{secret('content-type')}"}),
        ("/v1/responses", {"host": secret("host")}),
        ("/v1/responses", {"x_ms-oai-image-generation-deployment": secret("header")}),
        ("/openai/v1/responses", {}),
        ("/v1/images/generations", {}),
        ("/v1/conversations", {}),
        ("/v1/chat/completions", {}),
    ],
)
def test_wherever_it_is_sent_it_tells_nothing(
    url: str, told: Callable[[Answer], str], path: str, more: dict[str, str]
) -> None:
    answer = ask(url, text_of(tools=[IMAGE]).encode(), path, **more)

    assert leaks(told(answer)) == []


def test_an_error_of_ours_tells_nothing(
    provider: str, records: Log, told: Callable[[Answer], str]
) -> None:
    async def broken(scope: Any) -> Principal:
        raise ValueError(repr(scope["headers"]) + secret("prompt"))

    app = create_app(
        gate_of("standard"),
        {"": Upstream(name="s", base=provider)},
        client=FastClient(),
        audit=StreamAudit(records),
        identify=broken,
    )
    with serving(server_for(app, Listener(port=0, grace=1))) as url:
        answer = ask(url, text_of(tools=[IMAGE]).encode())

    assert answer.status == 500
    assert leaks(told(answer)) == []


def test_a_provider_that_is_not_there_is_reported_without_secrets(
    lonely_gateway: str, told: Callable[[Answer], str]
) -> None:
    answer = ask(lonely_gateway, text_of().encode())

    assert answer.status == 502
    assert leaks(told(answer)) == []
