"""Messages of a WebSocket, in both directions, as far as their place is told.

What a client sends is read as strictly as a body. What the provider sends is read
leniently, like an event of a stream; besides it tells on which lane it came, and of
which response it speaks.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Final

import msgspec

from imagegate.engine.body import TOP_KEYS, Body, read_body
from imagegate.engine.deltas import is_delta
from imagegate.engine.errors import MalformedRequest
from imagegate.engine.events import Event
from imagegate.engine.lenient import as_object, decode, identifier, word
from imagegate.engine.meaning import read_event
from imagegate.engine.reducer import message
from imagegate.engine.surface import Door

_STREAM_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")
# Within a string, a quote has a backslash before it.
_ON_LANE: Final = re.compile(rb'"stream_id": ?"([A-Za-z0-9_.-]{1,256})"')


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sent.

    Attributes:
        body: As it was read.
        type: None when it names none, or not by a string.
        stream_id: The lane; None for the one without a name.
    """

    body: Body
    type: str | None
    stream_id: str | None

    def text(self, key: str) -> str | None:
        """Return a member that is a string."""
        value = self.body.get(key)
        return None if value is None else value.text()


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider told.

    Attributes:
        type: None when nothing could be read.
        stream_id: The lane that it names.
        response_id: The response that it speaks of.
        steer_id: Of a word on steering: which.
        target: Of a word on steering: which response is steered.
        events: What it says of images.
    """

    type: str | None = None
    stream_id: str | None = None
    response_id: str | None = None
    steer_id: str | None = None
    target: str | None = None
    events: tuple[Event, ...] = ()


def read_sent(data: bytes, door: Door) -> Generator[None, None, Sent]:
    """Read a client's message; each yield is a moment to let others run.

    Raises:
        MalformedRequest: When it cannot be judged.
    """
    body = yield from read_body(data, places=door.places, known=TOP_KEYS)
    kind, lane = body.get("type"), body.get("stream_id")
    stream_id = None if lane is None or lane.is_null else lane.text() or ""
    if stream_id is not None and not _STREAM_ID.fullmatch(stream_id):
        said = "a stream_id is 1 to 256 letters, digits, `_`, `.` and `-`"
        raise MalformedRequest("bad_stream_id", said, pointer="/stream_id")
    return Sent(
        body=body, type=None if kind is None else kind.text(), stream_id=stream_id
    )


class _Lane(msgspec.Struct):
    stream_id: str


def lane_of(data: bytes) -> str | None:
    """Guess the lane of a message that cannot be judged, to say so where it waits."""
    try:
        found = msgspec.json.decode(data, type=_Lane).stream_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if _STREAM_ID.fullmatch(found) else None


def read_told(data: bytes) -> Told:
    """Read a message of the provider's."""
    text = message(data)
    if is_delta(text.text):
        # Nothing that could be recorded: a glance will do.
        found = _ON_LANE.search(text.text)
        return Told(stream_id=found and found[1].decode())
    events = read_event(text, end=len(data))
    try:
        said = as_object(decode(text.text))
    except (ValueError, RecursionError):
        return Told(events=events)
    response, steer = as_object(said.get("response")), as_object(said.get("steer"))
    return Told(
        type=word(said.get("type")),
        stream_id=word(said.get("stream_id")),
        response_id=identifier(response.get("id"))
        or identifier(said.get("response_id")),
        steer_id=identifier(steer.get("id")),
        target=identifier(steer.get("previous_response_id")),
        events=events,
    )
