from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from driving import Call, Inner, Notebook, gate, governed, request, soon
from starlette.types import Message, Receive, Scope, Send

pytestmark = pytest.mark.anyio
OFFERED: dict[str, Any] = {"websocket.http.response": {}}
OPEN = gate("surface: { realtime: pass }")
CLOSED = gate("surface: { websocket: refuse }")


def socket(path: str = "/v1/responses", **more: Any) -> Scope:
    scope = request(path=path, headers=[], **more)
    del scope["method"]
    return {**scope, "type": "websocket", "scheme": "ws", "subprotocols": []}


async def connect(app: Any, scope: Scope, *then: Message) -> Call:
    call = Call(app, scope, body=None)
    for message in ({"type": "websocket.connect"}, *then):
        call.put(message)
    return await call.whole()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/responses", 426, "route_not_allowed"),
        ("/openai/v1/responses", 426, "route_not_allowed"),
        ("/v1/images/generations", 405, "method_not_allowed"),
        ("/v1/realtime", 403, "route_not_allowed"),
        ("/v1/unheard-of", 404, "route_not_allowed"),
        ("/v1/responses/", 400, "path_not_canonical"),
    ],
)
@pytest.mark.parametrize("offered", [True, False])
async def test_a_websocket_is_refused_and_on_record(
    path: str, status: int, code: str, audit: Notebook, *, offered: bool
) -> None:
    inner = Inner()
    scope = socket(path, extensions=OFFERED if offered else None)

    call = await connect(governed(inner, audit, by=CLOSED), scope)

    assert inner.scopes == []
    if offered:
        head, body = call.sent
        assert (head["type"], head["status"]) == (
            "websocket.http.response.start",
            status,
        )
        assert body["type"] == "websocket.http.response.body"
        assert json.loads(body["body"])["error"]["code"] == code
        assert call.headers["x-imagegate-decision"] == audit.decision.decision_id
    else:
        assert call.sent == [{"type": "websocket.close", "code": 1008}]
    assert audit.events[1:] == ["exchange_finished"]
    assert audit.decision.transport == "websocket"
    assert audit.completion.outcome == "refused"
    assert audit.completion.status == status


async def test_one_that_left_before_it_was_refused_is_on_record(
    audit: Notebook,
) -> None:
    app = governed(Inner(), audit, by=CLOSED)
    call = Call(app, socket(extensions=OFFERED), body=None)
    call.put({"type": "websocket.disconnect", "code": 1006})

    await call.whole()

    assert call.sent == []
    assert len(audit.records) == 2


async def test_one_that_cannot_be_recorded_is_refused_all_the_same() -> None:
    audit = Notebook(refusing=lambda _: True)

    call = await connect(governed(Inner(), audit), socket(extensions=OFFERED))

    assert call.sent[0]["status"] == 503


@pytest.mark.parametrize("offer", [b"websocket", b"WebSocket", b"h2c, websocket"])
@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/responses", 426), ("/v1/realtime", 426), ("/v1/unheard-of", 404)],
)
async def test_an_offer_over_http_is_answered_alike(
    offer: bytes, path: str, status: int, audit: Notebook
) -> None:
    """From a server that knows no WebSockets."""
    scope = request("GET", path, headers=[(b"upgrade", offer)])

    call = await Call(governed(Inner(), audit, by=OPEN), scope, []).whole()

    assert call.status == status
    assert audit.events == ["request_malformed", "exchange_finished"]


async def test_another_upgrade_is_no_offer_of_a_websocket(audit: Notebook) -> None:
    scope = request(
        headers=[(b"content-type", b"application/json"), (b"upgrade", b"h2c")]
    )

    call = await Call(governed(Inner(), audit), scope).whole()

    assert call.status == 200


class Echo:
    """Accepts, says what it hears, and ends as it is told."""

    def __init__(self) -> None:
        self.started = asyncio.Event()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        self.started.set()
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["text"] == "fail":
                raise ZeroDivisionError
            await send({"type": "websocket.send", "text": message["text"]})


def text(said: str) -> Message:
    return {"type": "websocket.receive", "text": said}


LEAVE: Message = {"type": "websocket.disconnect", "code": 1000}


async def test_one_that_the_operator_opened_passes_unseen(audit: Notebook) -> None:
    call = await connect(
        governed(Echo(), audit, by=OPEN),
        socket("/v1/realtime"),
        *(text("a"), text("b"), LEAVE),
    )

    assert [message["type"] for message in call.sent] == [
        *("websocket.accept", "websocket.send", "websocket.send")
    ]
    assert audit.events == ["request_forwarded", "exchange_finished"]
    assert not audit.decision.inspected
    assert audit.completion.outcome == "completed"


async def test_its_failure_is_on_record_and_reaches_the_server(audit: Notebook) -> None:
    app = governed(Echo(), audit, by=OPEN)

    with pytest.raises(ZeroDivisionError):
        await connect(app, socket("/v1/realtime"), text("fail"))

    assert audit.completion.outcome == "upstream_error"


async def test_its_shutdown_is_on_record(audit: Notebook) -> None:
    echo = Echo()
    call = Call(governed(echo, audit, by=OPEN), socket("/v1/realtime"), body=None)
    call.put({"type": "websocket.connect"})

    async with call:
        await soon(echo.started.wait())
        assert call.task is not None
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.done()

    assert audit.completion.outcome == "shutdown"
