"""What is asked and answered: requests that a policy changes, answers as they come.

The provider's answers are written here whole, framing included, so that the mock only
sends them: one HTTP chunk for each event, as the API does it. They echo the tool as
the policy enforces it, for that is what the provider is sent.
"""

from __future__ import annotations

import base64
import json
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEGABYTE = 1024 * 1024
IMAGE = 2 * MEGABYTE
LARGE_IMAGE = 4 * MEGABYTE
INPUT_IMAGE = 10 * MEGABYTE
DELTAS = 200
TICKS, TICK_MS = 12, 1000
AS_ASKED, AS_ENFORCED = '"quality":"high"', '"quality":"low"'
"""How the tool is told from the one that the policy makes of it."""

_PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(
    ">I4sIIBBBBB", 13, b"IHDR", 1536, 848, *b"\x08\x02\0\0\0"
)
_FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather of a place",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
        "required": ["city"],
    },
}
_ASKED = {
    "type": "image_generation",
    "model": "gpt-image-2",
    "quality": "high",
    "size": "2000x1120",
    "output_format": "png",
    "moderation": "low",
    "partial_images": 3,
}
_ENFORCED = _ASKED | {
    "quality": "low",
    "size": "1536x848",
    "moderation": "auto",
    "partial_images": 1,
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """One kind of traffic.

    Attributes:
        name: In the table.
        answer: The provider's answer, by its name in the request.
        image: Bytes of base64 in the request.
        stream: Whether events are asked for.
        connections: At once.
        rate: Requests a second, if not as many as can be.
        bar: What the ratio to nginx may be.
        against_litellm: What the ratio to LiteLLM may be.
    """

    name: str
    answer: str
    image: int = 0
    stream: bool = False
    connections: int
    rate: float | None = None
    bar: float
    against_litellm: float | None = None


SMALL = Work(
    name="small JSON, 64 connections",
    answer="json",
    connections=64,
    bar=5,
    against_litellm=1 / 75,
)
WORKS = (
    SMALL,
    Work(
        name="text SSE, 200 deltas",
        answer="text",
        stream=True,
        connections=16,
        bar=2.4,
        against_litellm=1 / 240,
    ),
    Work(
        name="image SSE, 200 deltas + 3 x 2 MB",
        answer="images",
        stream=True,
        connections=8,
        bar=1.4,
        against_litellm=1 / 18,
    ),
    Work(name="JSON answer of 4 MB", answer="large", connections=8, bar=1.4),
    Work(
        name="10 MB image in the request",
        answer="json",
        image=INPUT_IMAGE,
        connections=4,
        bar=2.2,
        against_litellm=1 / 5,
    ),
)
PACED = Work(
    name="added p50 at 80 requests/s", answer="json", connections=64, rate=80, bar=2
)
HELD = Work(
    name="RSS with open streams", answer="held", stream=True, connections=2000, bar=2
)
STALLED = Work(
    name="RSS per stalled reader of 6 MB",
    answer="images",
    stream=True,
    connections=50,
    bar=0.3,
)


# -- requests -----------------------------------------------------------------------


def request(work: Work) -> bytes:
    """Write a request as the SDK does: compact, and not escaped beyond need."""
    content: list[dict[str, str]] = [
        {"type": "input_text", "text": "Draw a cat on a mat, as wide as a window."}
    ]
    if work.image:
        url = "data:image/png;base64," + _base64(work.image)
        content.append({"type": "input_image", "image_url": url})
    body = {
        "model": f"bench-{work.answer}",
        "instructions": "You are a helpful assistant. " * 8,
        "tools": [_ASKED, _FUNCTION],
        "stream": work.stream,
        "metadata": {"user": "u-123"},
        "input": [{"role": "user", "content": content}],
    }
    return _compact(body).encode()


# -- answers ------------------------------------------------------------------------


def write_answers(folder: Path) -> list[str]:
    """Write every answer into a file, and say how the provider is told of them."""
    whole = {
        "json": _plain(_finished(_message())),
        "large": _plain(_finished(_picture(_png(LARGE_IMAGE)))),
        "text": _chunked(_events(image=0)),
        "images": _chunked(_events(image=IMAGE)),
    }
    words: list[str] = []
    for name, data in whole.items():
        words += ["--answer", name, _kept(folder / name, data)]
    head = _chunked([_event("response.created", 0, response=_response())], end=b"")
    tick = _chunk(_delta(1, 0))
    held = _kept(folder / "held", head), _kept(folder / "tick", tick)
    return [*words, "--held", "held", *held, str(TICKS), str(TICK_MS)]


def _kept(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def _response(status: str = "in_progress", **said: Any) -> dict[str, Any]:
    return {
        "id": "resp_0123456789abcdef0123456789abcdef0123456789abcdef",
        "object": "response",
        "created_at": 1795219200,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "You are a helpful assistant. " * 8,
        "max_output_tokens": None,
        "max_tool_calls": 8,
        "model": "gpt-5.2-2026-03-01",
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": "none", "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [{**_ENFORCED, "background": "auto", "n": 1}, _FUNCTION],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": {"user": "u-123"},
        **said,
    }


def _finished(*output: dict[str, Any]) -> dict[str, Any]:
    usage = {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 220,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 340,
    }
    return _response("completed", output=list(output), usage=usage)


def _message(text: str = "Here it is.") -> dict[str, Any]:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    return {
        "id": "msg_0123456789abcdef",
        "type": "message",
        "status": "completed",
        "content": [part],
        "role": "assistant",
    }


def _picture(result: str | None = None, status: str = "completed") -> dict[str, Any]:
    item = {"id": "ig_0123456789abcdef", "type": "image_generation_call"}
    if result is None:
        return {**item, "status": status}
    done = {"background": "opaque", "output_format": "png", "quality": "low"}
    return {**item, "status": status, **done, "result": result, "size": "1536x848"}


def _events(*, image: int) -> Iterator[bytes]:
    """Tell of a response in words, and perhaps of a picture in it: thrice."""
    yield _event("response.created", 0, response=_response())
    yield _event("response.in_progress", 1, response=_response())
    output = []
    if image:
        picture = _png(image)
        output.append(_picture(picture))
        yield from _drawn(picture)
    for number in range(DELTAS):
        yield _delta(8 + number, len(output))
    text = "".join(f" token{number}" for number in range(DELTAS))
    output.append(_message(text))
    yield _event("response.completed", 8 + DELTAS, response=_finished(*output))


def _drawn(picture: str) -> Iterator[bytes]:
    place = {"output_index": 0}
    named = {**place, "item_id": "ig_0123456789abcdef"}
    call = "response.image_generation_call."
    begun = _picture(status="in_progress")
    yield _event("response.output_item.added", 2, **place, item=begun)
    yield _event(f"{call}in_progress", 3, **named)
    yield _event(f"{call}generating", 4, **named)
    shown = {"partial_image_index": 0, "partial_image_b64": picture}
    yield _event(f"{call}partial_image", 5, **named, **shown)
    yield _event(f"{call}completed", 6, **named)
    yield _event("response.output_item.done", 7, **place, item=_picture(picture))


def _delta(number: int, index: int) -> bytes:
    return _event(
        "response.output_text.delta",
        number,
        item_id="msg_0123456789abcdef",
        output_index=index,
        content_index=0,
        delta=f" token{number}",
        logprobs=[],
        obfuscation="aZ3kQ9",
    )


def _event(kind: str, number: int, **said: Any) -> bytes:
    data = _compact({"type": kind, "sequence_number": number, **said})
    return f"event: {kind}\ndata: {data}\n\n".encode()


# -- bytes --------------------------------------------------------------------------


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _base64(size: int) -> str:
    return base64.b64encode(random.Random(1).randbytes(size * 3 // 4)).decode()  # noqa: S311 - no secret


def _png(size: int) -> str:
    """Return base64 that begins as a picture of the right size does."""
    rest = random.Random(2).randbytes(size * 3 // 4 - len(_PNG))  # noqa: S311 - no secret
    return base64.b64encode(_PNG + rest).decode()


_HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Content-Type: %b\r\n"
    b"openai-processing-ms: 412\r\n"
    b"openai-version: 2020-10-01\r\n"
    b"x-request-id: req_0123456789abcdef0123456789abcdef\r\n"
    b"x-ratelimit-remaining-requests: 9999\r\n"
)


def _plain(value: object) -> bytes:
    body = _compact(value).encode()
    return b"%b%b%b" % (
        _HEAD % b"application/json",
        b"Content-Length: %d\r\n\r\n" % len(body),
        body,
    )


def _chunked(
    events: Iterator[bytes] | list[bytes], *, end: bytes = b"0\r\n\r\n"
) -> bytes:
    head = _HEAD % b"text/event-stream; charset=utf-8"
    chunks = b"".join(map(_chunk, events))
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + end


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
