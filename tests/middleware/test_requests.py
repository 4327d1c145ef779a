from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest
from driving import (
    ASKING,
    JSON,
    Call,
    Inner,
    Notebook,
    asking,
    gate,
    governed,
    request,
    soon,
)
from starlette.types import Message, Scope

from imagegate.engine.decide import Decider
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.policy import Principal
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER
from imagegate.middleware import Limits
from imagegate.middleware.headers import SINGLE
from imagegate.zstd import zstd

pytestmark = pytest.mark.anyio
LENGTH = (b"content-length", b"%d" % len(ASKING))


# -- headers ------------------------------------------------------------------------


def stories(name: bytes) -> list[list[tuple[bytes, bytes]]]:
    """Spell a header so that servers differ in what it says."""
    told = [[(name, b"x"), (name, b"x")], [(name, b"x"), (name.upper(), b"y")]]
    if b"-" in name:
        told.append([(name.replace(b"-", b"_", 1), b"x")])
    return told


@pytest.mark.parametrize(
    ("name", "told"),
    [(name, told) for name in sorted(SINGLE) for told in stories(name)],
)
async def test_two_stories_in_one_head_are_refused(
    name: bytes, told: list[tuple[bytes, bytes]], audit: Notebook
) -> None:
    inner = Inner()
    headers = [item for item in (JSON,) if item[0] != name] + told

    call = await Call(governed(inner, audit), request(headers=headers)).whole()

    assert (call.status, call.code) == (400, "duplicate_header")
    assert inner.scopes == []
    assert audit.events == ["request_malformed", "exchange_finished"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([LENGTH, (b"transfer-encoding", b"chunked")], 400, "ambiguous_framing"),
        ([(b"transfer-encoding", b"gzip, chunked")], 400, "ambiguous_framing"),
        ([(b"transfer-encoding", b"identity")], 400, "ambiguous_framing"),
        ([(b"content-length", b"+17")], 400, "bad_content_length"),
        ([(b"content-length", b"")], 400, "bad_content_length"),
        ([(b"content-length", "\u0661".encode())], 400, "bad_content_length"),
        ([(b"content-length", b"9" * 18)], 413, "body_too_large"),
        ([(b"content-length", b"5")], 400, "content_length_mismatch"),
        ([(b"content-length", b"999")], 400, "content_length_mismatch"),
        ([(b"content-encoding", b"gzip\xa0")], 415, "unsupported_encoding"),
        ([(b"x-%d" % n, b"") for n in range(100)], 431, "head_too_large"),
        ([(b"cookie", b"c" * 33_000)], 431, "head_too_large"),
    ],
)
async def test_a_head_that_is_too_much_or_no_sense_is_refused(
    headers: list[tuple[bytes, bytes]], status: int, code: str, audit: Notebook
) -> None:
    inner = Inner()

    call = await Call(governed(inner, audit), request(headers=[JSON, *headers])).whole()

    assert (call.status, call.code) == (status, code)
    assert inner.scopes == []
    assert audit.completion.outcome == "refused"


async def test_a_right_length_and_a_chunked_body_pass(audit: Notebook) -> None:
    inner = Inner()
    chunked = (b"transfer-encoding", b"Chunked")

    await Call(governed(inner, audit), request(headers=[JSON, LENGTH])).whole()
    await Call(governed(inner, audit), request(headers=[JSON, chunked])).whole()

    assert len(inner.bodies) == 2
    for scope in inner.scopes:
        names = [key for key, _ in scope["headers"]]
        assert names.count(b"content-length") == 1
        assert b"transfer-encoding" not in names


async def test_what_names_another_method_or_path_does_not_go_on(
    audit: Notebook,
) -> None:
    inner = Inner()
    headers = [
        JSON,
        (b"X-HTTP-Method-Override", b"GET"),
        (b"x-original-url", b"/v1/batches"),
        (b"x_rewrite_url", b"/v1/batches"),
        (b"x-kept", b"1"),
    ]

    await Call(governed(inner, audit), request(headers=headers)).whole()

    assert [key for key, _ in inner.scope["headers"]] == [
        *(b"host", b"x-kept", b"content-type", b"content-length", b"accept-encoding")
    ]


async def test_no_encoded_answer_is_asked_for(audit: Notebook) -> None:
    inner = Inner()
    headers = [JSON, (b"Accept-Encoding", b"gzip, br")]

    await Call(governed(inner, audit), request(headers=headers)).whole()

    assert inner.header(b"accept-encoding") == [b"identity"]
    assert inner.header(b"Accept-Encoding") == []


async def test_no_part_of_an_answer_is_asked_for(audit: Notebook) -> None:
    """It would be no JSON, and its images on no record."""
    inner = Inner()
    headers = [(b"Range", b"bytes=1-"), (b"if-range", b'"1"'), (b"x-kept", b"1")]

    scope = request("GET", "/v1/responses/resp_1", headers=headers)
    await Call(governed(inner, audit), scope, (b"",)).whole()

    assert [key for key, _ in inner.scope["headers"]] == [
        *(b"host", b"x-kept", b"accept-encoding")
    ]


@pytest.mark.parametrize(
    "spelled", [b"Application/JSON", b"application/json;charset=UTF-8"]
)
async def test_a_body_of_ours_has_a_type_of_ours(
    spelled: bytes, audit: Notebook
) -> None:
    inner = Inner()
    scope = request(headers=[(b"content-type", spelled)])

    await Call(governed(inner, audit), scope).whole()

    assert inner.header(b"content-type") == [b"application/json"]


@pytest.mark.parametrize(
    ("name", "decision"), [(b" Img-Prod\t", "forward"), (b"img-prod", "rewrite")]
)
async def test_a_deployments_name_keeps_its_case(
    name: bytes, decision: str, audit: Notebook
) -> None:
    """In lower case it is another name, or none."""
    by = gate("deployments: { Img-Prod: gpt-image-1-mini }")
    header = IMAGE_DEPLOYMENT_HEADER.encode()
    tool = {"type": "image_generation", "model": "Img-Prod", "quality": "low"}
    scope = request(path="/openai/v1/responses", headers=[JSON, (header, name)])
    inner = Inner()

    await Call(governed(inner, audit, by=by), scope, [asking(tool)]).whole()

    assert audit.decision.decision == decision
    assert [value.strip() for value in inner.header(header)] == [b"Img-Prod"]


async def test_a_read_without_a_body_gets_no_length(audit: Notebook) -> None:
    inner = Inner()
    scope = request("GET", "/v1/responses/resp_1", headers=[])

    await Call(governed(inner, audit), scope, []).whole()

    assert inner.header(b"content-length") == []
    assert audit.decision.bytes_out is None


async def test_a_body_that_nobody_judged_does_not_go_on(audit: Notebook) -> None:
    inner = Inner()
    scope = request(path="/v1/responses/resp_1/cancel")

    await Call(governed(inner, audit), scope).whole()

    assert inner.bodies == [b""]
    assert inner.header(b"content-length") == [b"0"]


# -- the body -----------------------------------------------------------------------


async def test_a_body_is_collected_from_its_pieces(audit: Notebook) -> None:
    inner = Inner()
    pieces = [ASKING[n : n + 1] for n in range(len(ASKING))]

    await Call(governed(inner, audit), body=pieces).whole()

    assert audit.decision.bytes_in == len(ASKING)
    assert audit.decision.bytes_out == len(inner.bodies[0])


@pytest.mark.parametrize(
    "pieces", [[b" " * 101], [b" " * 60, b" " * 60], [b"", b" " * 101]]
)
async def test_a_body_that_is_too_large_is_not_read_on(
    pieces: list[bytes], audit: Notebook
) -> None:
    app = governed(Inner(), audit, limits=Limits(body=100))
    scope = request(headers=[JSON, (b"transfer-encoding", b"chunked")])

    async with Call(app, scope, body=None) as call:
        for piece in pieces:
            call.say(piece, more=True)
        await call.done()

    assert (call.status, call.code) == (413, "body_too_large")
    assert call.headers["connection"] == "close"


async def test_http_2_knows_no_connection_header(audit: Notebook) -> None:
    app = governed(Inner(), audit, limits=Limits(body=10))
    scope = request(headers=[JSON, LENGTH], http_version="2")

    call = await Call(app, scope).whole()

    assert call.status == 413
    assert "connection" not in call.headers


async def test_a_body_that_was_read_keeps_the_connection(audit: Notebook) -> None:
    call = await Call(
        governed(Inner(), audit), request(headers=[JSON, LENGTH]), [b" " * len(ASKING)]
    ).whole()

    assert call.status == 400
    assert "connection" not in call.headers


async def test_a_body_that_does_not_come_is_not_waited_for(audit: Notebook) -> None:
    app = governed(Inner(), audit, limits=Limits(seconds=0.02))

    async with Call(app, body=None) as call:
        call.say(b"{", more=True)
        await call.done()

    assert (call.status, call.code) == (408, "body_too_slow")


async def test_a_flood_of_empty_pieces_has_an_end(audit: Notebook) -> None:
    """From a server that never lets others run."""
    given = 0

    async def receive() -> Message:
        nonlocal given
        given += 1
        return {"type": "http.request", "body": b"", "more_body": True}

    call = Call(governed(Inner(), audit))
    await soon(call.app(request(), receive, call.send))

    assert (call.status, call.code) == (400, "body_in_crumbs")
    assert given < 2_000


async def test_a_fast_drip_lets_others_run(audit: Notebook) -> None:
    """And so the time-out comes true."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b" ", "more_body": True}

    call = Call(governed(Inner(), audit, limits=Limits(seconds=0.05)))
    await soon(call.app(request(), receive, call.send))

    assert call.code == "body_too_slow"


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        ("zstd", zstd.compress),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
    ],
)
async def test_an_encoded_body_goes_on_plain(
    coding: str, encode: Callable[[bytes], bytes], audit: Notebook
) -> None:
    inner = Inner()
    body = encode(ASKING)
    headers = [
        JSON,
        (b"content-encoding", coding.upper().encode()),
        (b"content-length", b"%d" % len(body)),
    ]

    await Call(governed(inner, audit), request(headers=headers), [body]).whole()

    assert b'"gpt-image-1-mini"' in inner.bodies[0]
    assert inner.header(b"content-encoding") == []
    assert audit.decision.bytes_in == len(body)


BOMB = gzip.compress(bytes(3_000_000))


@pytest.mark.parametrize(
    ("coding", "body", "status", "code"),
    [
        ("gzip", BOMB, 413, "body_too_large"),
        ("gzip", gzip.compress(ASKING)[:-9], 400, "undecodable_body"),
        ("gzip", ASKING, 400, "undecodable_body"),
        ("gzip", gzip.compress(ASKING) * 2, 415, "unsupported_encoding"),
        ("zstd", zstd.compress(ASKING) + b"x", 415, "unsupported_encoding"),
        ("br", brotli.compress(ASKING) + b"x", 400, "undecodable_body"),
        ("gzip, gzip", ASKING, 415, "unsupported_encoding"),
        ("compress", ASKING, 415, "unsupported_encoding"),
        ("identity", ASKING, 200, ""),
    ],
)
async def test_an_encoded_body_is_whole_and_one_or_refused(
    coding: str, body: bytes, status: int, code: str, audit: Notebook
) -> None:
    app = governed(Inner(), audit, limits=Limits(body=1_000_000))
    headers = [JSON, (b"content-encoding", coding.encode())]

    call = await Call(app, request(headers=headers), [body]).whole()

    assert call.status == status
    assert not code or call.code == code


@pytest.mark.parametrize(
    "content_type", [b"text/plain", b"application/json; charset=utf-16", b""]
)
async def test_only_json_can_be_judged(content_type: bytes, audit: Notebook) -> None:
    scope = request(headers=[(b"content-type", content_type)])

    call = await Call(governed(Inner(), audit), scope).whole()

    assert (call.status, call.code) == (415, "unsupported_media_type")


async def test_what_is_forbidden_is_refused_and_nothing_is_sent(
    audit: Notebook,
) -> None:
    inner = Inner()
    tool = {"type": "image_generation", "model": "gpt-image-2"}

    call = await Call(governed(inner, audit), body=[asking(tool)]).whole()

    assert call.status == 403
    assert call.headers["x-should-retry"] == "false"
    assert call.headers["content-length"] == str(len(call.body))
    assert call.headers["x-imagegate-decision"] == audit.decision.decision_id
    assert inner.scopes == []
    assert audit.events == ["request_blocked", "exchange_finished"]


# -- who asks, and what goes wrong ----------------------------------------------------


async def test_who_asks_is_in_every_record(audit: Notebook) -> None:
    async def identify(scope: Scope) -> Principal:
        assert scope["type"] == "http"
        return Principal(id="anna", verified=True, source="key")

    await Call(governed(Inner(), audit, identify=identify)).whole()

    assert {record.principal_id for record in audit.records} == {"anna"}


async def test_who_is_not_let_in_is_refused_before_the_body_is_read(
    audit: Notebook,
) -> None:
    async def identify(_scope: Scope) -> Principal:
        raise MalformedRequest("invalid_api_key", "no such key", status=401)

    app = governed(Inner(), audit, identify=identify)
    async with Call(app, body=None) as call:
        await call.done()

    assert (call.status, call.code) == (401, "invalid_api_key")
    assert audit.events == ["request_malformed", "exchange_finished"]


async def test_a_fault_of_our_own_fails_closed_and_says_nothing_of_the_request(
    audit: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    async def identify(_scope: Scope) -> Principal:
        raise RuntimeError("sk-canary")

    inner = Inner()
    call = await Call(governed(inner, audit, identify=identify)).whole()

    assert (call.status, call.code) == (500, "internal_error")
    assert inner.scopes == []
    assert audit.completion.outcome == "refused"
    said = capsys.readouterr()
    assert "imagegate.request_failed" in said.err
    assert "canary" not in said.err + said.out + call.body.decode()


class Failing:
    """A decider that cannot decide."""

    def __init__(self, real: Decider, error: Exception) -> None:
        self.real = real
        self.error = error

    def __getattr__(self, name: str) -> Any:
        if name == "decide":
            raise self.error
        return getattr(self.real, name)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ZeroDivisionError("canary"), 500, "internal_error"),
        (MalformedRequest("odd", "it is odd", pointer="/tools"), 400, "odd"),
    ],
)
async def test_a_request_that_cannot_be_decided_on_is_refused(
    error: Exception, status: int, code: str, audit: Notebook
) -> None:
    by = gate()
    by.decider = Failing(by.decider, error)  # type: ignore[assignment] # as it were
    inner = Inner()

    call = await Call(governed(inner, audit, by=by)).whole()

    assert (call.status, call.code) == (status, code)
    assert inner.scopes == []
    assert audit.events == ["request_malformed", "exchange_finished"]


async def test_a_hundred_at_once_are_told_apart(audit: Notebook) -> None:
    calls = [Call(governed(Inner(), audit)) for _ in range(100)]

    await asyncio.gather(*(call.whole() for call in calls))

    ids = {call.headers["x-imagegate-decision"] for call in calls}
    assert len(ids) == 100
    assert {record.decision_id for record in audit.records} == ids
