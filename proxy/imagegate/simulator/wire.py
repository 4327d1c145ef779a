"""Sending an answer: well, or as badly as ordered."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from imagegate.simulator.asgi import Receive, Send
from imagegate.simulator.behaviour import Behaviour
from imagegate.simulator.received import Received

_EVENTS = "text/event-stream; charset=utf-8"


class Answer(msgspec.Struct, kw_only=True):
    """A status, headers, and a body in pieces, made while they are sent."""

    status: int = 200
    headers: dict[str, str]
    pieces: Iterable[bytes]


def json_answer(value: Any, *, status: int = 200) -> Answer:  # noqa: ANN401 - JSON
    """Return an answer of one piece."""
    body = encode(value)
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    return Answer(status=status, headers=headers, pieces=[body])


def stream_answer(pieces: Iterable[bytes]) -> Answer:
    """Return an answer of server-sent events."""
    return Answer(headers={"content-type": _EVENTS}, pieces=pieces)


def encode(value: Any) -> bytes:  # noqa: ANN401 - JSON
    """Return compact JSON; what a client made up may be beyond the fast encoder."""
    try:
        return msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return json.dumps(value, separators=(",", ":")).encode()


def framed(event: dict[str, Any]) -> bytes:
    """Return an event in OpenAI's framing."""
    name = str(event["type"]).encode()
    return b"event: " + name + b"\ndata: " + encode(event) + b"\n\n"


async def deliver(
    answer: Answer,
    behaviour: Behaviour,
    received: Received,
    receive: Receive,
    send: Send,
) -> None:
    """Send the answer until it is over or the client has left."""
    sending = asyncio.ensure_future(_send_all(answer, behaviour, received, send))
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done():
            received.end("cut" if sending.result() else "finished")
    finally:
        sending.cancel()
        leaving.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)
        if not received.ended.is_set():
            received.end("left")


async def _left(receive: Receive) -> None:
    await receive()  # the body has been read: whatever comes now is the disconnect


async def _send_all(
    answer: Answer, behaviour: Behaviour, received: Received, send: Send
) -> bool:
    """Return whether the answer was cut."""
    await asyncio.sleep(behaviour.head_delay_ms / 1000)
    if behaviour.silent:
        await _for_ever()
    received.status = answer.status
    await send(_head(answer, behaviour))
    room = behaviour.truncate
    pieces = iter(_encoded(answer.pieces, behaviour))
    try:
        for piece in pieces:
            await asyncio.sleep(behaviour.delay_ms / 1000)
            for chunk in _chunks(piece, behaviour):
                allowed = _allowed(chunk, room, received)
                await _send_chunk(allowed, behaviour, received, send)
                if len(allowed) < len(chunk):
                    return True
    finally:
        _close(pieces)
        _close(answer.pieces)
    await send({"type": "http.response.body", "body": b""})
    return False


def _allowed(chunk: bytes, room: int | None, received: Received) -> bytes:
    return chunk if room is None else chunk[: max(room - received.sent, 0)]


async def _send_chunk(
    chunk: bytes, behaviour: Behaviour, received: Received, send: Send
) -> None:
    if behaviour.hang is not None:
        chunk, rest = _split(chunk, behaviour.hang - received.sent)
    else:
        rest = b""
    if chunk:
        received.note(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(behaviour.chunk_delay_ms / 1000)
    if rest or behaviour.hang == received.sent:
        await _for_ever()


def _split(chunk: bytes, at: int) -> tuple[bytes, bytes]:
    return chunk[:at], chunk[at:]


def _head(answer: Answer, behaviour: Behaviour) -> dict[str, Any]:
    headers = answer.headers | behaviour.header
    if behaviour.gzip:
        headers["content-encoding"] = "gzip"
        headers.pop("content-length", None)
    return {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [(n.encode(), value.encode()) for n, value in headers.items()],
    }


def _encoded(pieces: Iterable[bytes], behaviour: Behaviour) -> Iterator[bytes]:
    """Yield the pieces, each one readable at once if they are compressed."""
    if not behaviour.gzip:
        yield from pieces
        return
    deflate = zlib.compressobj(wbits=31)
    for piece in pieces:
        yield deflate.compress(piece) + deflate.flush(zlib.Z_SYNC_FLUSH)
    yield deflate.flush()


def _chunks(piece: bytes, behaviour: Behaviour) -> Iterator[bytes]:
    step = behaviour.chunk or len(piece) or 1
    return (piece[at : at + step] for at in range(0, len(piece), step))


def _close(pieces: Iterable[bytes]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


async def _for_ever() -> None:
    await asyncio.Event().wait()
