"""Doors that an operator opened without a look at what goes through them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from driving import (
    JSON,
    Call,
    Inner,
    Notebook,
    gate,
    governed,
    more,
    read,
    request,
    soon,
    start,
)
from starlette.types import Message, Receive, Scope, Send

from imagegate.middleware import Limits

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


async def test_the_request_goes_on_as_it_comes(audit: Notebook) -> None:
    """Piece by piece, whatever it is, and with the client's own headers."""
    seen: list[Message] = []
    asked = asyncio.Event()

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(await receive())
        asked.set()
        seen.append(await receive())
        await Inner()(scope, receive, send)

    headers = [
        (b"content-type", b"text/odd"),
        (b"content-length", b"9"),
        (b"content-encoding", b"gzip"),
        (b"accept-encoding", b"br"),
    ]
    scope = request(path=CHAT, headers=headers)
    async with Call(governed(inner, audit), scope, body=None) as call:
        call.say(b"not ", more=True)
        await soon(asked.wait())
        call.say(b"whole", more=True)
        call.say(b"")
        await call.done()

    assert [message["body"] for message in seen] == [b"not ", b"whole"]
    assert call.status == 200
    assert audit.events == ["request_forwarded", "exchange_finished"]
    assert not audit.decision.inspected
    assert (audit.decision.bytes_in, audit.decision.bytes_out) == (None, None)
    assert audit.completion.outcome == "completed"


async def test_its_headers_are_left_alone_but_for_those_that_mislead(
    audit: Notebook,
) -> None:
    inner = Inner()
    kept = [(b"accept-encoding", b"br"), (b"content-length", b"2"), (b"x-a", b"b")]
    scope = request(path=CHAT, headers=[*kept, (b"x-original-url", b"/v1/responses")])

    await Call(governed(inner, audit), scope, [b"{}"]).whole()

    assert inner.scope["headers"] == [(b"host", b"gateway"), *kept]
    assert inner.bodies == [b"{}"]


async def test_its_head_is_checked_all_the_same(audit: Notebook) -> None:
    scope = request(path=CHAT, headers=[(b"api-key", b"a"), (b"api-key", b"b")])

    call = await Call(governed(Inner(), audit), scope).whole()

    assert call.code == "duplicate_header"


async def test_an_image_that_was_made_unseen_is_still_told(audit: Notebook) -> None:
    by = gate("surface: { images_api: pass }")
    images = b'{"created":1,"data":[{"b64_json":"iVBORw0KGgo="}]}'
    scope = request(path="/v1/images/generations", headers=[JSON])

    call = await Call(governed(Inner(images), audit, by=by), scope, [b"{}"]).whole()

    assert call.body == images
    assert audit.events == ["request_forwarded", "image_finished", "exchange_finished"]


@pytest.mark.parametrize("listens", [True, False])
async def test_a_client_that_leaves_is_noted(audit: Notebook, *, listens: bool) -> None:
    heard: list[str] = []
    ready = asyncio.Event()

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, JSON)
        ready.set()
        try:
            if listens:
                heard.append((await receive())["type"])
            else:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    async with Call(governed(inner, audit), request(path=CHAT)) as call:
        await soon(ready.wait())
        await soon(call.listening.wait())
        call.leave()
        await call.done()

    assert heard == ["http.disconnect" if listens else "cancelled"]
    assert audit.completion.outcome == "client_left"


async def test_a_client_that_leaves_in_its_body_is_noted(audit: Notebook) -> None:
    heard: list[Any] = []

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])

    async with Call(governed(inner, audit), request(path=CHAT), body=None) as call:
        call.say(b"{", more=True)
        call.leave()
        await call.done()

    assert heard == ["http.request", "http.disconnect", "http.disconnect"]
    assert audit.completion.outcome == "client_left"


async def test_a_body_that_is_read_late_is_not_taken_away(audit: Notebook) -> None:
    """We listen only behind it, however long the application waits."""
    read_bodies: list[bytes] = []

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.02)
        read_bodies.append(await read(receive))
        await asyncio.sleep(0.02)
        await start(send, JSON)
        await more(send, b"{}", last=True)

    await Call(governed(inner, audit), request(path=CHAT), [b"a", b"b", b"c"]).whole()

    assert read_bodies == [b"abc"]
    assert audit.completion.outcome == "completed"


async def test_a_client_that_leaves_behind_a_body_that_was_read_late_is_noted(
    audit: Notebook,
) -> None:
    heard: list[str] = []

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        await asyncio.sleep(0.02)
        await read(receive)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    async with Call(governed(inner, audit), request(path=CHAT)) as call:
        await soon(call.listening.wait())
        call.leave()
        await call.done()

    assert heard == ["cancelled"]
    assert audit.completion.outcome == "client_left"


async def test_a_receive_that_outlives_the_exchange_is_the_servers(
    audit: Notebook,
) -> None:
    kept: list[Receive] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        kept.append(receive)
        await Inner()(scope, receive, send)

    call = await Call(governed(inner, audit), request(path=CHAT)).whole()

    assert call.complete
    assert await soon(kept[0]()) == {"type": "http.disconnect"}


async def test_word_that_comes_too_late_stops_nothing(audit: Notebook) -> None:
    kept: list[Receive] = []

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        kept.append(receive)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await governed(inner, audit, limits=Limits(grace=0.01))(scope, receive, send)
        assert (await kept[0]())["type"] == "http.disconnect"
        await asyncio.sleep(0.05)

    call = Call(app, request(path=CHAT), body=None)
    call.leave()

    await call.whole()

    assert audit.completion.outcome == "upstream_error"


async def test_a_body_that_is_read_too_late_is_the_servers(audit: Notebook) -> None:
    """Behind the end, nobody listens any more."""
    kept: list[Receive] = []

    async def inner(_scope: Scope, receive: Receive, _send: Send) -> None:
        kept.append(receive)
        await asyncio.sleep(0.02)

    call = await Call(governed(inner, audit), request(path=CHAT), body=None).whole()
    before = asyncio.all_tasks()
    call.say(b"{}")

    assert (await soon(kept[0]()))["body"] == b"{}"
    assert asyncio.all_tasks() == before
