"""Refusals, as the clients of the API read them."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import openai
import pytest
from openai._streaming import Stream

from imagegate.engine.decision import Block, Reason, Violation
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.refusal import MAX_VIOLATIONS, Refusal, refuse, refuse_answer
from imagegate.engine.surface import Lost

QUALITY = Violation(
    pointer="/tools/0/quality",
    field="quality",
    before="high",
    by=Reason(
        rule="settings.quality.max",
        layer="baseline",
        reason="costs",
        owner="ai@example.com",
    ),
    message="`quality` is high, which is not allowed: at most medium",
    fix="set `quality` to medium",
    allowed=("low", "medium"),
)
CLIENT = openai.OpenAI(api_key="k", base_url="http://127.0.0.1:9")


def answer(refusal: Refusal) -> httpx2.Response:
    """Send a refusal to a client."""
    return httpx2.Response(
        refusal.status,
        headers=list(refusal.headers),
        content=refusal.body,
        request=httpx2.Request("POST", "http://127.0.0.1:9/v1/responses"),
    )


def raised(refusal: Refusal) -> openai.APIStatusError:
    """Let the SDK make of a refusal what it does."""
    return CLIENT._make_status_error_from_response(answer(refusal))


def test_a_block_raises_the_typed_exception() -> None:
    """With a place, a code, and a sentence that says what would pass."""
    error = raised(refuse(Block(violations=(QUALITY,)), decision_id="d-1"))

    assert isinstance(error, openai.PermissionDeniedError)
    assert (error.code, error.param, error.type, error.request_id) == (
        "image_policy_violation",
        "tools[0].quality",
        "invalid_request_error",
        "d-1",
    )
    assert error.message == (
        "Error code: 403 - `quality` is high, which is not allowed: at most medium; "
        "set `quality` to medium"
    )


def test_a_block_explains_itself() -> None:
    """Every violation, by whose rule, and whom to ask."""
    plain = Violation(
        pointer="",
        field="x",
        before=None,
        by=Reason(rule="always.deployment"),
        message="the header comes twice",
    )
    refusal = refuse(Block(violations=(QUALITY, plain)), decision_id="d-1")

    explained = {
        "rule": "settings.quality.max",
        "reason": "costs",
        "owner": "ai@example.com",
        "allowed": ["low", "medium"],
        "fix": "set `quality` to medium",
    }
    sentence = f"{QUALITY.message}; {QUALITY.fix}"
    assert json.loads(refusal.body) == {
        "error": {
            "message": f"{sentence} (and 1 more)",
            "type": "invalid_request_error",
            "param": "tools[0].quality",
            "code": "image_policy_violation",
            **explained,
            "violations": [
                {"param": "tools[0].quality", "message": sentence, **explained},
                {
                    "param": None,
                    "message": "the header comes twice",
                    "rule": "always.deployment",
                    "reason": None,
                    "owner": None,
                    "allowed": [],
                    "fix": None,
                },
            ],
            "decision_id": "d-1",
        }
    }


def test_the_headers_keep_clients_from_asking_again() -> None:
    """And carry the id by which the decision is found."""
    refusal = refuse(Block(violations=(QUALITY,)), decision_id="d-1\r\n")

    assert dict(refusal.headers) == {
        "content-type": "application/json",
        "x-should-retry": "false",
        "x-request-id": "d-1",
        "x-imagegate-decision": "d-1",
    }
    assert CLIENT._should_retry(answer(refusal)) is False


def test_many_violations_are_not_all_told() -> None:
    """The client mends a few and asks again."""
    refusal = refuse(Block(violations=(QUALITY,) * 40), decision_id="d-1")

    assert len(refusal.error["violations"]) == MAX_VIOLATIONS
    assert refusal.error["message"].endswith("(and 39 more)")


@pytest.mark.parametrize(
    ("why", "status", "code", "param"),
    [
        (
            MalformedRequest("duplicate_key", "twice", pointer="/tools/1/size"),
            400,
            "duplicate_key",
            "tools[1].size",
        ),
        (
            MalformedRequest("not_utf8", "no text", pointer="byte 7"),
            400,
            "not_utf8",
            None,
        ),
        (
            MalformedRequest("wrong_key", "odd", pointer="/sk-123/tools", status=422),
            422,
            "wrong_key",
            "?.tools",
        ),
        (
            Lost(code="route_not_allowed", status=404, message="no such route"),
            404,
            "route_not_allowed",
            None,
        ),
    ],
    ids=["duplicate", "no-place", "odd-place", "lost"],
)
def test_what_cannot_be_judged_is_refused_likewise(
    why: MalformedRequest | Lost, status: int, code: str, param: str | None
) -> None:
    """With the status that the error hints at."""
    error = raised(refuse(why, decision_id="d-1"))

    assert (error.status_code, error.code, error.param) == (status, code, param)
    assert error.message == f"Error code: {status} - {why.message}"


def read_stream(data: bytes) -> list[Any]:
    """Read a stream as openai-python does."""
    response = httpx2.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=data,
        request=httpx2.Request("POST", "http://127.0.0.1:9/v1/responses"),
    )
    return list(Stream(cast_to=object, response=response, client=CLIENT))


@pytest.mark.parametrize("ends", ["\n\n", "\r\n\r", "\r\r"])
def test_a_cut_raises_in_the_middle_of_a_stream(ends: str) -> None:
    """Whatever line ends the stream had, and wherever it was left."""
    begun = f'data: {{"type":"response.created"}}{ends}'.encode()
    refusal = refuse_answer(
        "quality", "tools[0]", "settings.quality.max", decision_id="d-1"
    )

    with pytest.raises(openai.APIError) as caught:
        read_stream(begun + refusal.sse)

    error = caught.value
    assert (error.code, error.param, error.type) == (
        "image_policy_violation",
        "tools[0].quality",
        "invalid_request_error",
    )
    assert error.message == (
        "the provider took this request with a `quality` that is not allowed; "
        "the answer is cut off"
    )


def test_a_cut_begins_behind_a_whole_blank_line() -> None:
    """Simple clients look for CRLF CRLF, and its last LF was not sent yet."""
    refusal = refuse_answer("quality", "tools[0]", "x", decision_id="d-1")

    _, error = (b"data: {}\r\n\r" + refusal.sse).split(b"\r\n\r\n")

    assert error == refusal.sse[1:]


@pytest.mark.parametrize(("stream_id", "lane"), [("b", {"stream_id": "b"}), (None, {})])
def test_a_websocket_is_told_on_the_lane_that_asked(
    stream_id: str | None, lane: dict[str, str]
) -> None:
    """In the nested form; the flat one leaves the SDK without an error object."""
    refusal = refuse_answer("tool", "", "tool", decision_id="d-1")

    assert json.loads(refusal.message(stream_id)) == {
        "type": "error",
        "status": 403,
        **lane,
        "error": {
            "message": "the provider took this request with a `tool` that is not "
            "allowed; the answer is cut off",
            "type": "invalid_request_error",
            "param": "tool",
            "code": "image_policy_violation",
            "rule": "tool",
            "decision_id": "d-1",
        },
    }
