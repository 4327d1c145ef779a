"""What happens to the traffic when a record cannot be written."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from driving import (
    COMPLETED,
    CREATED,
    GENERATING,
    IMAGE,
    JSON,
    SSE,
    STREAM,
    Call,
    Inner,
    Notebook,
    asking,
    event,
    governed,
    more,
    read,
    request,
    start,
)
from openai._streaming import SSEDecoder
from starlette.types import Receive, Scope, Send

from imagegate.engine.records import CompletionRecord, GeneratingRecord, Record
from imagegate.middleware.relay import BrokenOff

pytestmark = pytest.mark.anyio
Capture = pytest.CaptureFixture[str]


def without(*events: str) -> Notebook:
    """Return a notebook that has no room for some records."""
    return Notebook(refusing=lambda record: record.event.partition(".")[2] in events)


@pytest.mark.parametrize(
    "body",
    [asking(), asking({"type": "image_generation", "model": "other"}), b"{"],
    ids=["forwarded", "blocked", "malformed"],
)
async def test_nothing_goes_on_that_is_not_on_record(
    body: bytes, capsys: Capture
) -> None:
    audit = Notebook(refusing=lambda _: True)
    inner = Inner()

    call = await Call(governed(inner, audit), body=[body]).whole()

    assert (call.status, call.code) == (503, "audit_unavailable")
    assert call.headers["x-should-retry"] == "true"
    assert call.headers["retry-after"] == "1"
    assert inner.scopes == []
    assert capsys.readouterr().err.count("imagegate.audit_unavailable") == 1


async def test_the_log_says_what_a_sink_says(capsys: Capture) -> None:
    """As of a journal that was opened before a server forked, which can be mended."""
    audit = Notebook(refusing=lambda _: True)

    await Call(governed(Inner(), audit), body=[asking()]).whole()

    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["problem"] == "full"


async def test_a_sink_that_fails_in_any_way_fails_closed(capsys: Capture) -> None:
    class Broken(Notebook):
        async def write(self, _records: Any) -> None:
            raise ZeroDivisionError("canary")

    inner = Inner()

    call = await Call(governed(inner, Broken())).whole()

    assert call.code == "audit_unavailable"
    assert inner.scopes == []
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "canary" not in said


class Listening:
    """Streams, and notes how it is stopped."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.relayed = 0
        self.stopped: list[str] = []

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        await start(send, SSE)
        try:
            for piece in self.pieces:
                await more(send, piece)
                self.relayed += 1
        except OSError as error:
            self.stopped.append(type(error).__name__)
            raise


async def test_an_event_that_cannot_be_recorded_is_not_relayed(
    capsys: Capture,
) -> None:
    audit = without("image_generating")
    inner = Listening(*STREAM)

    call = await Call(governed(inner, audit)).whole()

    assert call.complete
    assert GENERATING not in call.body
    assert call.body.startswith(CREATED)
    assert inner.relayed == 1
    assert inner.stopped == ["Unwanted"]
    assert audit.events == ["request_forwarded", "exchange_finished"]
    assert audit.completion.outcome == "cut"
    assert "audit_unavailable" in capsys.readouterr().err


async def test_the_end_is_an_event_that_the_sdk_raises_for() -> None:
    call = await Call(governed(Listening(*STREAM), without("image_generating"))).whole()

    events = [*SSEDecoder().iter_bytes(iter([call.body]))]

    assert [each.event for each in events] == ["response.created", "error"]
    error = events[-1].json()["error"]
    assert error["code"] == "audit_unavailable"
    assert error["type"] == "server_error"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n", b"\r\n\n"])
async def test_a_stream_may_end_lines_as_it_likes(end: bytes) -> None:
    first = CREATED.replace(b"\n\n", b"").replace(b"\n", end[: len(end) // 2]) + end
    inner = Listening(first, GENERATING)

    call = await Call(governed(inner, without("image_generating"))).whole()

    assert call.complete
    assert call.body.startswith(first + b"\n")


@pytest.mark.parametrize("at", [10, -1])
async def test_a_stream_with_half_an_event_sent_is_broken_off(at: int) -> None:
    inner = Listening(CREATED, GENERATING[:at], GENERATING[at:], COMPLETED)
    audit = without("image_generating")
    call = Call(governed(inner, audit))

    with pytest.raises(BrokenOff):
        await call.whole()

    assert not call.complete
    assert call.body == CREATED + GENERATING[:at]
    assert inner.stopped == ["Unwanted"]


async def test_the_first_piece_may_be_the_one(capsys: Capture) -> None:
    inner = Listening(CREATED + GENERATING)

    call = await Call(governed(inner, without("image_generating"))).whole()

    assert call.complete
    assert b"audit_unavailable" in call.body
    assert CREATED not in call.body
    assert capsys.readouterr().err


async def test_the_exchange_is_still_completed() -> None:
    """And when the sink is back, what it missed is written too."""
    full = [True]
    audit = Notebook(
        refusing=lambda record: full[0] and record.event.endswith("generating")
    )

    class Recovering(Listening):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await super().__call__(scope, receive, send)
            finally:
                await asyncio.sleep(0.02)
                full[0] = False

    call = await Call(governed(Recovering(*STREAM), audit)).whole()

    assert audit.events == [
        "request_forwarded",
        "image_generating",
        "exchange_finished",
    ]
    assert audit.completion.outcome == "cut"
    assert audit.completion.error_code == "audit_unavailable"
    assert audit.completion.bytes_out == len(call.body)
    made, ended = audit.records[1:]
    assert isinstance(made, GeneratingRecord)
    assert isinstance(ended, CompletionRecord)
    assert (made.duration_ms or 0) + 15 < (ended.duration_ms or 0)


@pytest.mark.parametrize(
    ("pieces", "length"),
    [
        ([IMAGE], False),
        ([IMAGE], True),
        ([IMAGE[:50], IMAGE[50:]], True),
        ([IMAGE[:50], IMAGE[50:], b""], True),
        ([IMAGE[:50], IMAGE[50:], b""], False),
    ],
)
async def test_a_text_whose_image_cannot_be_recorded_is_broken_off(
    pieces: list[bytes], *, length: bool
) -> None:
    """Its client never has it whole."""
    headers = [JSON, (b"content-length", b"%d" % len(IMAGE))] if length else [JSON]
    call = Call(governed(Inner(*pieces, headers=headers), without("image_finished")))

    with pytest.raises(BrokenOff):
        await call.whole()

    assert not call.complete
    assert not length or len(call.body) < len(IMAGE)


async def test_an_encoded_text_is_broken_off_too() -> None:
    headers = [JSON, (b"content-encoding", b"gzip")]
    inner = Inner(gzip.compress(IMAGE), headers=headers)
    call = Call(governed(inner, without("image_finished")))

    with pytest.raises(BrokenOff):
        await call.whole()

    assert call.body == b""


@pytest.mark.parametrize("wrong", [b"abc", "\u0661".encode()])
async def test_a_length_that_is_none_is_not_counted_on(wrong: bytes) -> None:
    inner = Inner(IMAGE, b"", headers=[JSON, (b"content-length", wrong)])
    call = Call(governed(inner, without("image_finished")))

    with pytest.raises(BrokenOff):
        await call.whole()

    assert not call.complete


async def test_a_completion_that_cannot_be_written_is_the_logs_affair(
    capsys: Capture,
) -> None:
    audit = without("exchange_finished")

    call = await Call(governed(Inner(*STREAM, headers=[SSE]), audit)).whole()

    assert call.body == b"".join(STREAM)
    assert audit.events == ["request_forwarded", "image_generating"]
    said = capsys.readouterr().err
    assert said.count("imagegate.audit_unavailable") == 1
    assert audit.decision.decision_id in said


async def test_a_background_answer_is_cancelled_even_if_that_is_not_on_record() -> None:
    """The contradiction cannot be written down, and the work goes on unless stopped."""
    cancelled: list[str] = []
    high = event(
        "response.created",
        response={
            "id": "resp_1",
            "object": "response",
            "background": True,
            "tools": [{"type": "image_generation", "quality": "high"}],
        },
    )

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("/cancel"):
            cancelled.append(scope["path"])
            await Inner()(scope, receive, send)
            return
        await read(receive)
        await start(send, SSE)
        await more(send, high)

    call = await Call(governed(inner, without("echo_contradicted")), request()).whole()

    assert high not in call.body
    assert cancelled == ["/v1/responses/resp_1/cancel"]


def is_completion(record: Record) -> bool:
    return record.event == "imagegate.exchange_finished"


async def test_a_refusal_that_left_no_record_is_not_given(capsys: Capture) -> None:
    """A 403 that the log does not know would be a lie by omission."""
    audit = Notebook(refusing=is_completion)
    tool = {"type": "image_generation", "model": "other"}

    call = await Call(governed(Inner(), audit), body=[asking(tool)]).whole()

    assert call.code == "audit_unavailable"
    assert capsys.readouterr().err
