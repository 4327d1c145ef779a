from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
from typing import Any

import pytest
from driving import (
    CREATED,
    GENERATING,
    IMAGE,
    JSON,
    SSE,
    STREAM,
    Call,
    Inner,
    Notebook,
    event,
    governed,
    more,
    read,
    request,
    soon,
    start,
    turn,
)
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from imagegate.middleware import Limits
from imagegate.middleware.relay import BrokenOff

pytestmark = pytest.mark.anyio


async def test_each_piece_comes_out_before_the_next_is_made(audit: Notebook) -> None:
    turns: asyncio.Queue[bytes] = asyncio.Queue()

    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start(send, SSE)
        for _ in STREAM:
            await more(send, await turns.get())
        await more(send, b"", last=True)

    async with Call(governed(inner, audit)) as call:
        assert (await call.next())["status"] == 200
        for piece in STREAM:
            turns.put_nowait(piece)
            assert await call.piece() == piece
        await call.done()

    assert audit.events == [
        "request_forwarded",
        "image_generating",
        "exchange_finished",
    ]


async def test_an_event_is_on_record_before_it_is_relayed(audit: Notebook) -> None:
    seen: list[list[str]] = []

    class Watching(Call):
        async def send(self, message: Message) -> None:
            if GENERATING[-20:] in message.get("body", b""):
                seen.append(audit.events)
            await super().send(message)

    inner = Inner(*STREAM, headers=[SSE])
    await Watching(governed(inner, audit)).whole()

    assert seen == [["request_forwarded", "image_generating"]]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.sampled_from([b"".join(STREAM), IMAGE]), st.lists(st.integers(0), max_size=20)
)
async def test_pieces_are_relayed_one_for_one(data: bytes, places: list[int]) -> None:
    audit = Notebook()
    pieces = [*cut(data, places), b""]
    kind = JSON if data is IMAGE else SSE

    call = await Call(governed(Inner(*pieces, headers=[kind]), audit)).whole()

    assert [message["body"] for message in call.sent[1:]] == pieces
    assert audit.completion.outcome == "completed"
    assert audit.completion.bytes_out == len(data)


async def test_messages_are_relayed_as_they_are(audit: Notebook) -> None:
    """Not even made anew; Starlette's memory views and foreign keys included."""
    first: Message = {
        "type": "http.response.body",
        "body": memoryview(STREAM[0]),
        "more_body": True,
        "foreign": 1,
    }
    last: Message = {"type": "http.response.body"}

    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start(send, SSE)
        await send(first)
        await send(last)

    call = await Call(governed(inner, audit)).whole()

    assert call.sent[1] is first
    assert call.sent[2] is last
    assert audit.completion.response_id == "resp_1"


async def test_a_slow_reader_holds_the_application_back(audit: Notebook) -> None:
    made: list[int] = []

    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start(send, SSE)
        for number in range(10):
            made.append(number)
            await more(send, STREAM[2], last=number == 9)

    async with Call(governed(inner, audit), window=3) as call:
        for _ in range(3):
            await call.next()
        await asyncio.sleep(0)
        assert made == [0, 1, 2]
        assert call.window is not None
        for _ in range(20):
            call.window.release()
        await call.done()

    assert made == [*range(10)]


async def test_the_answer_tells_its_decision_and_only_ours(audit: Notebook) -> None:
    inner = Inner(headers=[JSON, (b"X-Imagegate-Decision", b"forged"), (b"x-a", b"b")])

    call = await Call(governed(inner, audit)).whole()

    found = [v for k, v in call.sent[0]["headers"] if k == b"x-imagegate-decision"]
    assert found == [audit.decision.decision_id.encode()]
    assert call.headers["x-a"] == "b"


async def test_a_stream_promises_no_length_and_a_text_keeps_it(audit: Notebook) -> None:
    length = (b"content-length", b"2")
    streaming = await Call(
        governed(Inner(b"\n\n", headers=[SSE, length]), audit)
    ).whole()
    text = await Call(governed(Inner(b"{}", headers=[JSON, length]), audit)).whole()

    assert "content-length" not in streaming.headers
    assert text.headers["content-length"] == "2"


HIGH = turn("created", status="in_progress", quality="high")


async def test_a_contradicting_stream_ends_with_an_error_event(audit: Notebook) -> None:
    stopped: list[BaseException] = []

    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start(send, SSE)
        try:
            await more(send, HIGH + GENERATING)
        except OSError as error:
            stopped.append(error)
            raise

    call = await Call(governed(inner, audit)).whole()

    assert call.complete
    assert call.body.startswith(HIGH)
    assert GENERATING not in call.body
    assert b'"code":"image_policy_violation"' in call.body[len(HIGH) :]
    assert len(stopped) == 1
    assert audit.completion.outcome == "cut"
    assert audit.completion.bytes_out == len(call.body)
    assert audit.events[1] == "echo_contradicted"


async def test_an_application_that_does_not_hear_of_the_cut_is_cancelled(
    audit: Notebook,
) -> None:
    """And what it sends on meanwhile goes nowhere."""
    heard: list[Any] = []

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, SSE)
        for _ in range(2):
            try:
                await more(send, HIGH)
            except OSError:
                heard.append("refused")
        await read(receive)
        heard.append(await receive())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    app = governed(inner, audit, limits=Limits(grace=0.02))
    call = await Call(app).whole()

    assert heard == ["refused", "refused", {"type": "http.disconnect"}, "cancelled"]
    assert call.body.count(HIGH) == 1
    assert audit.completion.outcome == "cut"


async def test_one_whose_answer_was_broken_off_is_cancelled_too(
    audit: Notebook,
) -> None:
    """The server has nothing to say: as it sees it, the answer goes on."""
    heard: list[str] = []

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, SSE, (b"content-encoding", b"gzip"))
        with contextlib.suppress(OSError):
            await more(send, gzip.compress(HIGH))
        heard.append((await receive())["type"])
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    with pytest.raises(BrokenOff):
        await Call(governed(inner, audit, limits=Limits(grace=0.02))).whole()

    assert heard == ["http.disconnect", "cancelled"]
    assert audit.completion.outcome == "cut"


@pytest.mark.parametrize(
    "kind", ["http.response.pathsend", "http.response.zerocopysend"]
)
async def test_bytes_do_not_go_past_the_observer(kind: str, audit: Notebook) -> None:
    async def inner(scope: Scope, _receive: Receive, send: Send) -> None:
        assert kind not in scope["extensions"]
        await start(send, JSON)
        await send({"type": kind, "path": "/etc/passwd"})

    scope = request(extensions={kind: {}})
    with pytest.raises(RuntimeError, match="was not offered"):
        await Call(governed(inner, audit), scope).whole()

    assert audit.completion.outcome == "upstream_error"


async def test_other_messages_pass(audit: Notebook) -> None:
    hints: Message = {"type": "http.response.early_hint", "links": []}

    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(hints)
        await start(send, JSON)
        await more(send, b"{}", last=True)

    call = await Call(governed(inner, audit)).whole()

    assert call.sent[0] is hints


@pytest.mark.parametrize(
    ("content_types", "why"),
    [
        ([b"text/html"], "content_type"),
        ([b"application/json", b"text/event-stream"], "content_type"),
        ([b"Text/Event-Stream"], None),
        ([], "content_type"),
    ],
)
async def test_a_type_that_is_not_observed_is_said(
    content_types: list[bytes], why: str | None, audit: Notebook
) -> None:
    headers = [(b"content-type", value) for value in content_types]
    inner = Inner(*STREAM, headers=headers)

    call = await Call(governed(inner, audit)).whole()

    assert call.body == b"".join(STREAM)
    assert audit.completion.unobserved == why


async def test_an_answer_that_stops_in_the_middle_is_the_applications_fault(
    audit: Notebook,
) -> None:
    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start(send, SSE)
        await more(send, CREATED)

    call = await Call(governed(inner, audit)).whole()

    assert not call.complete
    assert audit.completion.outcome == "upstream_error"


async def test_a_server_that_raises_for_a_client_that_left_is_understood(
    audit: Notebook,
) -> None:
    """As ASGI asks of servers since version 2.4."""

    class Newer(Call):
        async def send(self, message: Message) -> None:
            if len(self.sent) == 2:
                raise OSError("gone")
            await super().send(message)

    inner = Inner(*STREAM, headers=[SSE])
    await Newer(governed(inner, audit)).whole()

    assert audit.completion.outcome == "client_left"
    assert audit.completion.bytes_out == len(STREAM[0])


async def test_background_work_behind_the_answer_goes_on(audit: Notebook) -> None:
    """The server says at once that the client is gone; it is not what stops it."""
    release = asyncio.Event()
    finished: list[Message] = []

    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        listener = asyncio.ensure_future(receive())
        await start(send, JSON)
        await more(send, b"{}", last=True)
        await release.wait()
        finished.append(await listener)
        finished.append(await receive())

    async with Call(governed(inner, audit)) as call:
        await call.next()
        await call.piece()
        await asyncio.sleep(0.02)
        assert finished == []
        release.set()
        await call.done()

    assert finished == [{"type": "http.disconnect"}] * 2
    assert audit.completion.outcome == "completed"


async def test_two_answers_to_one_request_are_the_servers_to_refuse(
    audit: Notebook,
) -> None:
    async def inner(_scope: Scope, _receive: Receive, send: Send) -> None:
        await start(send, SSE)
        await start(send, (b"content-type", b"text/html"))

    with pytest.raises(RuntimeError, match="begun"):
        await Call(governed(inner, audit)).whole()


async def test_an_unknown_event_is_relayed(audit: Notebook) -> None:
    odd = event("response.something.new", sequence_number=1)
    inner = Inner(odd, headers=[SSE])

    call = await soon(Call(governed(inner, audit)).whole())

    assert call.body == odd
    assert audit.completion.outcome == "truncated"
