from __future__ import annotations

import asyncio
from typing import Any

import pytest
from driving import (
    IMAGE,
    JSON,
    SSE,
    STREAM,
    Call,
    Inner,
    Notebook,
    asking,
    governed,
    more,
    read,
    request,
    start,
)
from starlette.types import Receive, Scope, Send

from imagegate.engine.records import DecisionRecord, EchoRecord, Record

pytestmark = pytest.mark.anyio
TRACE = b"0af7651916cd43dd8448eb211c80319c"
SPAN = b"b7ad6b7169203331"


# -- time and bytes -----------------------------------------------------------------


async def test_records_say_how_long_it_took_since_the_request_began(
    audit: Notebook,
) -> None:
    async def inner(_scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await asyncio.sleep(0.02)
        await start(send, SSE)
        await more(send, b"")
        await asyncio.sleep(0.02)
        for piece in STREAM:
            await more(send, piece)
        await asyncio.sleep(0.02)
        await more(send, b"", last=True)

    await Call(governed(inner, audit)).whole()

    decided, made, ended = [timed(record) for record in audit.records]
    first = audit.completion.first_byte_ms
    assert first is not None
    assert 0 < decided < 20
    assert 40 <= first <= made < first + 20
    assert first + 20 <= ended < 5_000


def timed(record: Record) -> float:
    assert not isinstance(record, EchoRecord)
    found: Any = getattr(record, "duration_ms", None)
    assert isinstance(found, float)
    return found


async def test_every_record_that_has_a_duration_is_given_one(audit: Notebook) -> None:
    await Call(governed(Inner(IMAGE), audit)).whole()

    assert audit.events == ["request_forwarded", "image_finished", "exchange_finished"]
    assert all(timed(record) for record in audit.records)


async def test_a_refusal_has_its_duration_too(audit: Notebook) -> None:
    await Call(governed(Inner(), audit), body=[b"{"]).whole()

    assert all(timed(record) for record in audit.records)
    assert audit.completion.first_byte_ms is None


async def test_the_body_is_counted_as_it_came_and_as_it_went(audit: Notebook) -> None:
    inner = Inner(b"12", b"345")
    body = asking({"type": "image_generation", "quality": "high"})

    await Call(governed(inner, audit), body=[body]).whole()

    assert audit.decision.decision == "rewrite"
    assert audit.decision.bytes_in == len(body)
    assert audit.decision.bytes_out == len(inner.bodies[0])
    assert audit.completion.bytes_out == 5


# -- traces ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"00-%b-%b-01" % (TRACE, SPAN),
        b" 00-%b-%b-00\t" % (TRACE, SPAN),
        b"01-%b-%b-01" % (TRACE, SPAN),
        b"cc-%b-%b-01-what-the-future-brings" % (TRACE, SPAN),
    ],
)
async def test_a_trace_is_on_record_and_goes_on_as_it_came(
    said: bytes, audit: Notebook
) -> None:
    inner = Inner()
    state = (b"tracestate", b"a=b")
    scope = request(headers=[JSON, (b"traceparent", said), state])

    await Call(governed(inner, audit), scope).whole()

    assert {record.trace_id for record in audit.records} == {TRACE.decode()}
    assert {record.span_id for record in audit.records} == {SPAN.decode()}
    assert inner.header(b"traceparent") == [said]
    assert inner.header(b"tracestate") == [b"a=b"]


@pytest.mark.parametrize(
    "said",
    [
        [],
        [b""],
        [b"00-%b-%b-01" % (TRACE, SPAN)] * 2,
        [b"ff-%b-%b-01" % (TRACE, SPAN)],
        [b"00-%b-%b-01-more" % (TRACE, SPAN)],
        [b"01-%b-%b-01more" % (TRACE, SPAN)],
        [b"00-%b-%b-1" % (TRACE, SPAN)],
        [b"00-%b-%b-01" % (TRACE.upper(), SPAN)],
        [b"00-%b-%b-01" % (b"0" * 32, SPAN)],
        [b"00-%b-%b-01" % (TRACE, b"0" * 16)],
        [b"00-%b-%b-01" % (TRACE[1:], SPAN)],
        [b"00-%b-%b-01\n" % (TRACE, SPAN)],
        [b"00-%b-%b-01" % (TRACE, "\u0661".encode() * 8)],
        [b"canary"],
    ],
)
async def test_a_trace_that_is_not_right_is_as_good_as_none(
    said: list[bytes], audit: Notebook
) -> None:
    inner = Inner()
    headers = [JSON, *((b"traceparent", each) for each in said)]

    call = await Call(governed(inner, audit), request(headers=headers)).whole()

    assert call.status == 200
    assert {(each.trace_id, each.span_id) for each in audit.records} == {(None, None)}
    assert inner.header(b"traceparent") == said


# -- how it ended ---------------------------------------------------------------------


class InPlace:
    """Answers in the provider's place, and says why."""

    def __init__(self, said: object, *, answers: bool = True) -> None:
        self.said = said
        self.answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        scope["extensions"]["imagegate.outcome"]["ended"] = self.said
        if self.answers:
            await start(send, JSON, status=504)
            await more(send, b'{"error":{"code":"head_timeout"}}', last=True)


@pytest.mark.parametrize("said", ["timeout", "upstream_error", "client_left"])
@pytest.mark.parametrize("answers", [True, False])
async def test_an_application_can_say_why_it_answers_in_the_providers_place(
    said: str, audit: Notebook, *, answers: bool
) -> None:
    call = await Call(governed(InPlace(said, answers=answers), audit)).whole()

    assert audit.completion.outcome == said
    assert call.complete is answers


@pytest.mark.parametrize(
    "said", ["completed", "cut", "shutdown", "refused", "", None, 7, ["timeout"], {}]
)
async def test_it_can_say_nothing_else(said: object, audit: Notebook) -> None:
    await Call(governed(InPlace(said), audit)).whole()

    assert audit.completion.outcome == "failed"


async def test_it_can_do_what_it_likes_to_the_place(audit: Notebook) -> None:
    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"]["imagegate.outcome"] = "canary"
        scope["extensions"].clear()
        await Inner()(scope, receive, send)

    await Call(governed(inner, audit)).whole()

    assert audit.completion.outcome == "completed"


async def test_the_answers_own_word_counts_before_it(audit: Notebook) -> None:
    """An idle time-out behind the last event of a stream takes nothing back."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, SSE)
        for piece in STREAM:
            await more(send, piece)
        scope["extensions"]["imagegate.outcome"]["ended"] = "timeout"

    await Call(governed(inner, audit)).whole()

    assert audit.completion.outcome == "completed"


async def test_a_failure_that_was_explained_is_recorded_as_explained(
    audit: Notebook,
) -> None:
    async def inner(scope: Scope, _receive: Receive, send: Send) -> None:
        await start(send, SSE)
        scope["extensions"]["imagegate.outcome"]["ended"] = "timeout"
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await Call(governed(inner, audit)).whole()

    assert audit.completion.outcome == "timeout"


async def test_the_providers_id_is_on_record(audit: Notebook) -> None:
    inner = Inner(headers=[JSON, (b"x-request-id", b"req_1"), (b"x-request-id", b"2")])

    await Call(governed(inner, audit)).whole()

    assert audit.completion.upstream_request_id == "req_1"
    assert isinstance(audit.records[0], DecisionRecord)


async def test_what_azures_front_refuses_is_known_by_its_id(audit: Notebook) -> None:
    inner = Inner(headers=[JSON, (b"apim-request-id", b"f00d")], status=429)

    await Call(governed(inner, audit)).whole()

    assert audit.completion.upstream_request_id == "f00d"
