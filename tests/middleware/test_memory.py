"""What is held, and for how long: nothing of a body, once it was given on.

Garbage is not collected here: what only a collection would free is held, and a
gateway that is sent many large bodies at once dies of it.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import tracemalloc
from collections.abc import Iterator

import pytest
from driving import (
    JSON,
    SSE,
    STREAM,
    TOOL,
    Call,
    Inner,
    Notebook,
    governed,
    more,
    read,
    request,
    start,
)
from starlette.types import Message, Receive, Scope, Send

from imagegate.zstd import zstd

pytestmark = pytest.mark.anyio
MEGA = 1024 * 1024
SIZE = 6 * MEGA


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


def held() -> int:
    return tracemalloc.get_traced_memory()[0]


def large(end: bytes = b"}") -> tuple[Scope, bytes]:
    """Return a request whose body is small until it is decoded."""
    member = json.dumps({"model": "gpt-5", "tools": [TOOL]}).encode()[:-1]
    body = zstd.compress(member + b',"input":"' + b"x" * SIZE + b'"' + end)
    return request(headers=[JSON, (b"content-encoding", b"zstd")]), body


async def test_the_body_is_not_kept_while_the_answer_is_made(audit: Notebook) -> None:
    seen: list[int] = []
    scope, body = large()

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        assert len(await read(receive)) > SIZE
        seen.append(held())
        await start(send, SSE)
        for piece in STREAM:
            await more(send, piece)
            seen.append(held())
        await more(send, b"", last=True)

    await Call(governed(inner, audit), scope, [body]).whole()

    assert max(seen) < 2 * MEGA


async def test_a_body_that_goes_on_in_views_is_not_copied(audit: Notebook) -> None:
    seen: list[int] = []
    pieces: list[bytes | memoryview] = []
    scope, body = large()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["imagegate.views"]["wanted"] = True
        tracemalloc.reset_peak()
        more_body = True
        while more_body:
            message = await receive()
            pieces.append(message["body"])
            more_body = message["more_body"]
        assert int(dict(scope["headers"])[b"content-length"]) == sum(map(len, pieces))
        seen.append(tracemalloc.get_traced_memory()[1])
        sent = json.loads(b"".join(pieces))
        pieces.clear()
        del message
        assert (sent["model"], len(sent["input"])) == ("gpt-5", SIZE)
        assert sent["tools"] == [TOOL]
        del sent
        seen.append(held())
        await start(send, SSE)
        await more(send, STREAM[0], last=True)

    await Call(governed(inner, audit), scope, [body]).whole()

    assert SIZE < seen[0] < SIZE + 2 * MEGA
    assert seen[1] < 2 * MEGA


async def test_who_does_not_ask_for_views_gets_one_piece_of_bytes(
    audit: Notebook,
) -> None:
    messages: list[Message] = []
    scope, body = large()

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        messages.append(await receive())
        await start(send, SSE)
        await more(send, STREAM[0], last=True)

    await Call(governed(inner, audit), scope, [body]).whole()

    [message] = messages
    assert type(message["body"]) is bytes
    assert not message["more_body"]
    assert len(message["body"]) > SIZE


@pytest.mark.parametrize("end", [b"", b"]", b",}", b',"model":"x"}', b"}{}"])
async def test_a_refused_body_is_not_kept(end: bytes, audit: Notebook) -> None:
    for _ in range(3):
        scope, body = large(end)
        call = await Call(governed(Inner(), audit), scope, [body]).whole()
        assert call.status == 400

    assert held() < 2 * MEGA


async def test_a_blocked_body_is_not_kept(audit: Notebook) -> None:
    tool = b',"tool_choice":"auto","tools":[{"type":"image_generation","model":"x"}]}'
    scope, _ = large()
    body = zstd.compress(b'{"input":"' + b"x" * SIZE + b'"' + tool)

    call = await Call(governed(Inner(), audit), scope, [body]).whole()

    assert call.status == 403
    assert held() < 2 * MEGA


async def test_a_body_of_two_members_is_not_kept(audit: Notebook) -> None:
    body = gzip.compress(bytes(SIZE)) * 2
    scope = request(headers=[JSON, (b"content-encoding", b"gzip")])

    call = await Call(governed(Inner(), audit), scope, [body]).whole()

    assert call.status == 415
    assert held() < 2 * MEGA


async def test_a_refusal_that_is_always_the_same_keeps_no_request(
    audit: Notebook,
) -> None:
    for _ in range(3):
        offer, state = [(b"upgrade", b"websocket")], {"of this one": bytes(SIZE)}
        scope = request("GET", headers=offer, state=state)
        call = await Call(governed(Inner(), audit), scope, []).whole()
        assert call.status == 426
        del scope, call, state

    assert held() < 2 * MEGA


@pytest.mark.parametrize("left", [True, False])
async def test_what_an_application_held_when_it_failed_is_let_go(
    audit: Notebook, *, left: bool
) -> None:
    scope, body = large()
    call: Call

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        data = await read(receive)
        if left:
            call.leave()
            await asyncio.Event().wait()
        raise ZeroDivisionError(len(data))

    call = Call(governed(inner, audit), scope, [body])
    try:
        await call.app(scope, call.receive, call.send)
    except ZeroDivisionError:
        assert not left
    await asyncio.sleep(0)  # this step of the task began with the cancellation

    assert held() < 2 * MEGA
    assert audit.completion.outcome == ("client_left" if left else "upstream_error")
