from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from driving import (
    JSON,
    SSE,
    TOOL,
    Call,
    Inner,
    Notebook,
    asking,
    governed,
    more,
    read,
    request,
    start,
    turn,
)
from starlette.routing import Mount, Router
from starlette.types import Receive, Scope, Send

from imagegate.middleware import cancelling

pytestmark = pytest.mark.anyio
Capture = pytest.CaptureFixture[str]
ASKED = asking(TOOL, background=True)


def queued(response_id: str = "resp_1") -> bytes:
    return json.dumps(
        {
            "id": response_id,
            "object": "response",
            "status": "queued",
            "background": True,
            "tools": [{**TOOL, "quality": "high"}],
            "output": [],
        }
    ).encode()


class Provider:
    """Queues every request, whatever it asks for, and can be told to stop.

    Args:
        answer: To the request.
        status: Of the answer to being told to stop; None for none at all.
        failing: What is raised then.
    """

    def __init__(
        self,
        answer: bytes,
        *,
        kind: tuple[bytes, bytes] = JSON,
        status: int | None = 200,
        failing: Exception | None = None,
    ) -> None:
        self.answer = answer
        self.kind = kind
        self.status = status
        self.failing = failing
        self.told: list[Scope] = []
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read(receive)
        if not scope["path"].endswith("/cancel"):
            await start(send, self.kind)
            await more(send, self.answer, last=True)
            return
        self.told.append(scope)
        self.bodies.append(body)
        listener = asyncio.ensure_future(receive())
        await asyncio.sleep(0.001)
        assert not listener.done(), "this client does not leave"
        listener.cancel()
        if self.failing is not None:
            raise self.failing
        if self.status is not None:
            await start(send, JSON, status=self.status)
            await more(send, b"{}", last=True)


@pytest.mark.parametrize(
    ("path", "raw", "root", "query"),
    [
        ("/v1/responses", b"/v1/responses", "", b""),
        ("/openai/responses", b"/openai/responses", "", b"api-version=preview"),
        ("/gw/v1/responses", b"/gw/v1/responses", "/gw", b""),
        ("/v1/responses", b"/v1/responses", "/gw", b""),
        ("/v1/responses", b"/v1/responses?order=asc", "", b"order=asc"),
        (
            "/\xfc/openai/v1/responses",
            b"/%C3%BC/openai/v1/responses",
            "/\xfc",
            b"api-version=preview",
        ),
    ],
)
async def test_a_queued_answer_that_contradicts_is_cancelled(  # noqa: PLR0913, PLR0917 - a table
    path: str, raw: bytes, root: str, query: bytes, audit: Notebook, capsys: Capture
) -> None:
    provider = Provider(queued())
    key = (b"authorization", b"Bearer k")
    scope = request(
        path=path,
        raw_path=raw,
        root_path=root,
        query_string=query,
        headers=[
            JSON,
            (b"authorization", b"Bearer k"),
            (b"content-length", b"%d" % len(ASKED)),
        ],
    )

    call = await Call(governed(provider, audit), scope, [ASKED]).whole()

    assert call.body == queued()
    (told,) = provider.told
    assert told["method"] == "POST"
    assert told["path"] == f"{path}/resp_1/cancel"
    assert told["raw_path"] == raw.partition(b"?")[0] + b"/resp_1/cancel"
    assert told["query_string"] == query
    assert key in told["headers"]
    assert [v for k, v in told["headers"] if k == b"content-length"] == [b"0"]
    assert provider.bodies == [b""]
    assert audit.events == [
        *("request_forwarded", "echo_contradicted", "exchange_finished")
    ]
    assert audit.completion.outcome == "accepted"
    assert "imagegate.background_cancelled" in capsys.readouterr().err


async def test_it_is_cancelled_under_a_mount_and_without_a_raw_path(
    audit: Notebook,
) -> None:
    provider = Provider(queued())
    app = Router(routes=[Mount("/gw", governed(provider, audit))])
    scope = request(path="/gw/v1/responses")
    del scope["raw_path"]

    await Call(app, scope, [ASKED]).whole()

    (told,) = provider.told
    assert told["path"] == "/gw/v1/responses/resp_1/cancel"
    assert told["root_path"] == "/gw"
    assert told["raw_path"] is None


async def test_a_stream_is_cut_and_its_work_cancelled(audit: Notebook) -> None:
    high = turn("created", background=True, quality="high")
    provider = Provider(high, kind=SSE)

    call = await Call(governed(provider, audit), body=[ASKED]).whole()

    assert b"image_policy_violation" in call.body
    assert len(provider.told) == 1
    assert audit.completion.outcome == "cut"


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        ({"status": 500}, '"status":500'),
        ({"status": 404}, '"status":404'),
        ({"status": None}, '"status":null'),
        ({"failing": ZeroDivisionError("canary")}, "ZeroDivisionError"),
    ],
)
async def test_a_failure_to_cancel_is_in_the_log_and_nowhere_else(
    failing: dict[str, Any], said: str, audit: Notebook, capsys: Capture
) -> None:
    provider = Provider(queued(), **failing)

    call = await Call(governed(provider, audit), body=[ASKED]).whole()

    assert call.body == queued()
    assert call.complete
    err = capsys.readouterr().err
    assert "imagegate.background_not_cancelled" in err
    assert said in err
    assert audit.decision.decision_id in err
    assert "canary" not in err


async def test_a_provider_that_does_not_answer_is_not_waited_for(
    audit: Notebook, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "_SECONDS", 0.02)

    class Silent(Provider):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"].endswith("/cancel"):
                await asyncio.Event().wait()
            await super().__call__(scope, receive, send)

    await Call(governed(Silent(queued()), audit), body=[ASKED]).whole()

    assert "TimeoutError" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../../files", "a/b", "a b", "a?b", "%2e%2e", ""])
async def test_a_name_that_is_no_segment_leads_nowhere(
    name: str, audit: Notebook, capsys: Capture
) -> None:
    provider = Provider(queued(name))

    await Call(governed(provider, audit), body=[ASKED]).whole()

    assert provider.told == []
    assert name == "" or "background_not_cancelled" in capsys.readouterr().err


async def test_a_client_that_left_does_not_keep_it_going(audit: Notebook) -> None:
    high = turn("created", background=True, quality="high")
    provider = Provider(high, kind=SSE)
    call = Call(governed(provider, audit), body=[ASKED])

    class Leaving(Inner):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if not scope["path"].endswith("/cancel"):
                call.leave()
            await provider(scope, receive, send)

    call.app = governed(Leaving(), audit)
    await call.whole()

    assert len(provider.told) <= 1
    assert audit.completion.outcome in {"cut", "client_left"}
