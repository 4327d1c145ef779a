"""From an ASGI request to a body that was read strictly, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import TypeVar

import msgspec
from starlette.types import Message, Receive, Scope

from imagegate.engine.body import RESPONSES, TOP_KEYS, Body, read_body
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.surface import IMAGE_DEPLOYMENT_HEADER, Door
from imagegate.middleware.encoding import coding_of, decode

_T = TypeVar("_T")

SINGLE = (
    b"host",
    b"content-type",
    b"content-length",
    b"content-encoding",
    b"transfer-encoding",
    b"authorization",
    b"api-key",
    b"openai-organization",
    b"openai-project",
    IMAGE_DEPLOYMENT_HEADER.encode(),
)
"""Of these, two are two stories: servers differ in which one they believe."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a request is taken.

    Attributes:
        body: Bytes of the body, before and after decoding. The API takes 50 MB
            of images; base64 makes 67 of them.
        seconds: From the first to the last byte of the body.
    """

    body: int = 72 * 1024 * 1024
    seconds: float = 120.0


class Gone(Exception):  # noqa: N818 - a fact, not an error
    """The client left before its request was whole."""


async def take_body(receive: Receive, limits: Limits) -> bytes:
    """Collect a body, as long as it stays within its limits.

    Raises:
        MalformedRequest: For a body that is too large or too slow.
        Gone: When the client leaves.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.seconds):
            while True:
                message: Message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                part: bytes = message.get("body", b"")
                size += len(part)
                if size > limits.body:
                    raise MalformedRequest(
                        "body_too_large",
                        f"the body has over {limits.body} bytes",
                        status=413,
                    )
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise MalformedRequest(
            "body_too_slow", "the body did not come in time", status=408
        ) from None


def check_headers(headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse headers that servers read differently.

    Raises:
        MalformedRequest: For a second one of those that matter, or the twin of
            one with an underscore.
    """
    seen: set[bytes] = set()
    for key, _ in headers:
        name = key.lower()
        plain = name.replace(b"_", b"-")
        if plain in SINGLE and (plain in seen or plain != name):
            said = plain.decode()
            raise MalformedRequest(
                "duplicate_header", f"the header {said} comes twice, or as a twin"
            )
        seen.add(plain)


def values_of(headers: Sequence[tuple[bytes, bytes]], name: str) -> list[str]:
    """Return the values of a header, trimmed and in lower case."""
    wanted = name.encode()
    return [
        value.decode("latin-1").strip().lower()
        for key, value in headers
        if key.lower() == wanted
    ]


async def read(scope: Scope, data: bytes, door: Door, limits: Limits) -> Body:
    """Decode and read a body, letting others run between the pieces.

    Raises:
        MalformedRequest: When it cannot be judged.
    """
    headers = scope["headers"]
    _check_type(values_of(headers, "content-type"))
    coding = coding_of(values_of(headers, "content-encoding"))
    if coding is not None:
        data = await _stepwise(decode(data, coding, limit=limits.body))
    places = door.places if door.reading != "none" else RESPONSES
    return await _stepwise(read_body(data, places=places, known=TOP_KEYS))


def _check_type(values: list[str]) -> None:
    spelled = [part.strip() for value in values for part in value.split(";")]
    if spelled in (["application/json"], ["application/json", "charset=utf-8"]):
        return
    raise MalformedRequest(
        "unsupported_media_type",
        "Content-Type must be application/json; only JSON can be judged here",
        status=415,
    )


async def _stepwise(steps: Generator[None, None, _T]) -> _T:
    """Run a generator to its end, giving way at each of its yields."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: _T = end.value
            return value
        await asyncio.sleep(0)
