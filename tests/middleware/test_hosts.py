"""Servers and frameworks, each played as it was met: what they do beside uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from driving import Call, Inner, Notebook, asking, governed, read, request, soon
from starlette.types import Message, Receive, Scope, Send

import imagegate.middleware
from imagegate.middleware import denial

pytestmark = pytest.mark.anyio
HIGH = asking({"type": "image_generation", "quality": "high"})
OWN = ["/", "/health", "/static/*", "/responses"]


class Host:
    """An application with a lifespan, and a request that takes a while to end.

    Args:
        audit: Whose records are noted when it hears of the shutdown.
    """

    def __init__(self, audit: Notebook) -> None:
        self.busy = asyncio.Event()
        self.let_go = asyncio.Event()
        self.then: list[str] | None = None
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            self.then = self._audit.events
            await send({"type": "lifespan.shutdown.complete"})
            return
        await read(receive)
        self.busy.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.let_go.wait()


class Life:
    """The server's side of a lifespan."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: list[str] = []
        self.said.put_nowait({"type": "lifespan.startup"})

    def stop(self) -> None:
        self.said.put_nowait({"type": "lifespan.shutdown"})

    async def hear(self, message: Message) -> None:
        self.heard.append(message["type"].removeprefix("lifespan."))


async def test_an_application_stops_behind_the_last_record(audit: Notebook) -> None:
    """uvicorn cancels what is late, and says that it stops in the same moment."""
    host, life = Host(audit), Life()
    app = governed(host, audit)
    living = asyncio.create_task(app({"type": "lifespan"}, life.said.get, life.hear))
    async with Call(app) as call:
        await soon(host.busy.wait())
        assert call.task is not None
        call.task.cancel()
        life.stop()
        await asyncio.sleep(0.05)
        waited = host.then is None
        host.let_go.set()
        await soon(living)
        await asyncio.wait([call.task])

    assert waited
    assert host.then == ["request_forwarded", "exchange_finished"]
    assert audit.completion.outcome == "shutdown"
    assert life.heard == ["startup.complete", "shutdown.complete"]


async def test_it_does_not_wait_for_ever(
    audit: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagegate.middleware, "_LAST_SECONDS", 0.01)
    host, life = Host(audit), Life()
    app = governed(host, audit)
    async with Call(app) as call:
        await soon(host.busy.wait())
        life.stop()
        await soon(app({"type": "lifespan"}, life.said.get, life.hear))
        assert call.task is not None
        call.task.cancel()
        host.let_go.set()
        await asyncio.wait([call.task])

    assert host.then == ["request_forwarded"]


async def test_a_lifespan_that_does_not_come_by_here_can_wait(audit: Notebook) -> None:
    """A framework tells an application that is mounted in it nothing."""
    host = Host(audit)
    app = governed(host, audit)
    async with Call(app) as call:
        await soon(host.busy.wait())
        assert call.task is not None
        call.task.cancel()
        host.let_go.set()
        await soon(app.ended())
        told = audit.events
        await asyncio.wait([call.task])

    assert told == ["request_forwarded", "exchange_finished"]


# -- which path an application reads ------------------------------------------------


@pytest.mark.parametrize(
    ("path", "root", "raw"),
    [
        # Sanic and BlackSheep read the raw path, whatever a middleware made of `path`.
        ("/static/v1/responses", "", b"/v1/responses"),
        ("/health", "", b"/v1/responses/"),
        ("/health", "", b"/v1/responses?a=b"),
        # Falcon and Sanic leave the mount on, which daphne takes from a header, and
        # take a slash at the end for none.
        ("/v1/responses/", "/v1/responses", b"/v1/responses/"),
        ("/v1/responses", "/v1", None),
        # What is put before the path.
        ("/responses", "/v1", b"/responses"),
        ("/static/v1/responses", "/gw", b"/gw/v1/responses"),
    ],
)
async def test_an_own_path_that_may_be_read_as_a_door_is_refused(
    path: str, root: str, raw: bytes | None, audit: Notebook
) -> None:
    inner = Inner()
    scope = request(path=path, root_path=root, raw_path=raw)

    call = await Call(governed(inner, audit, own_paths=OWN), scope).whole()

    assert call.code == "route_not_allowed"
    assert inner.scopes == []
    assert audit.events == ["request_malformed", "exchange_finished"]


@pytest.mark.parametrize(
    ("path", "root", "raw"),
    [
        ("/health", "", None),
        ("/gw/health", "/gw", b"/gw/health"),
        ("/health", "/gw", b"/gw/health"),
        ("/health", "/api", b"/health"),
        ("/static/a b.css", "", b"/static/a%20b.css?v=2"),
        ("/gw/", "/gw", b"/old/gw/"),
    ],
)
async def test_an_own_path_is_one_wherever_it_is_mounted(
    path: str, root: str, raw: bytes | None, audit: Notebook
) -> None:
    inner = Inner()
    scope = request(path=path, root_path=root, raw_path=raw)

    await Call(governed(inner, audit, own_paths=OWN), scope).whole()

    assert inner.scope["path"] == path
    assert audit.records == []


# -- what a body is given as --------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("step", [20, len(HIGH)])
async def test_a_body_may_come_as_any_bytes(
    kind: Callable[[bytes], Any], step: int, audit: Notebook
) -> None:
    inner = Inner()
    pieces = [kind(HIGH[at : at + step]) for at in range(0, len(HIGH), step)]

    await Call(governed(inner, audit), body=pieces).whole()

    [body] = inner.bodies
    assert b'"quality":"medium"' in body


async def test_a_piece_of_a_body_may_be_none(audit: Notebook) -> None:
    inner = Inner()
    call = Call(governed(inner, audit), body=None)
    call.put({"type": "http.request", "body": None, "more_body": True})
    call.say(HIGH)

    await call.whole()

    assert audit.events == ["request_rewritten", "exchange_finished"]


async def test_a_body_that_is_text_is_refused(audit: Notebook) -> None:
    call = Call(governed(Inner(), audit), body=None)
    call.put({"type": "http.request", "body": HIGH.decode()})

    await call.whole()

    assert call.code == "internal_error"


# -- HTTP/2 ---------------------------------------------------------------------------


def early() -> Scope:
    """Describe a request that is refused by its head, of HTTP/2."""
    return request(path="/v1/unheard-of", http_version="2")


async def test_a_body_that_is_refused_unread_is_taken_all_the_same(
    audit: Notebook,
) -> None:
    """hypercorn ends the connection of HTTP/2 when data come behind an answer."""
    call = Call(governed(Inner(), audit), early(), [b"a" * 10, b"b" * 10, b"c"])

    await call.whole()

    assert call.code == "route_not_allowed"
    assert call.asked == 3
    assert "connection" not in call.headers


@pytest.mark.parametrize("piece", [b"", b"a" * 65_536])
async def test_of_such_a_body_no_more_than_some_is_taken(
    piece: bytes, audit: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denial, "_REST", 4 * 65_536)
    monkeypatch.setattr(denial, "_REST_SECONDS", 0.1)

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": piece, "more_body": True}

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await soon(governed(Inner(), audit)(early(), receive, send))

    assert sent[0]["status"] == 404


async def test_such_a_body_is_not_waited_for(
    audit: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(denial, "_REST_SECONDS", 0.01)

    call = await Call(governed(Inner(), audit), early(), None).whole()

    assert call.code == "route_not_allowed"


async def test_in_http_1_it_is_not_taken(audit: Notebook) -> None:
    scope = request(path="/v1/unheard-of", headers=[(b"content-length", b"9")])

    call = await Call(governed(Inner(), audit), scope, [b"a" * 9]).whole()

    assert call.asked == 0
    assert call.headers["connection"] == "close"
