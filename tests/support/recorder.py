"""A provider that notes the bytes it gets, and believes nothing else about them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import cast

from framed import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    frame,
    frames_in,
)

MADE = "resp_1"
"""What everything is called that is made."""
ANSWER = (
    b'{"id":"resp_1","object":"response","status":"completed","model":"gpt-5",'
    b'"output":[],"tools":[],"usage":null,"error":null}'
)
_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request, read by the plainest rules there are.

    `faults` says what a stricter or a laxer reader could understand otherwise.
    """

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    faults: list[str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def for_websocket(self) -> bool:
        return self.values("upgrade") == ["websocket"]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True, kw_only=True)
class Said:
    """One message of a WebSocket, by which handshake, and what was made on it."""

    handshake: Seen
    binary: bool
    data: bytes
    made: frozenset[str]
    faults: list[str]


class Recorder(asyncio.Protocol):
    """One connection of the gateway's; each whole request is told, then answered."""

    def __init__(
        self, tell: Callable[[Seen], None], tell_said: Callable[[Said], None]
    ) -> None:
        self._tell = tell
        self._tell_said = tell_said
        self._data = b""
        self._speaking: Speaking | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._speaking is None and (read := _read(self._data)) is not None:
            seen, self._data = read
            self._tell(seen)
            if seen.for_websocket:
                self._speaking = Speaking(seen)
                self._transport.write(_accept(seen))
            else:
                self._transport.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
                )
        if self._speaking is not None:
            self._hear(self._speaking)

    def _hear(self, speaking: Speaking) -> None:
        whole = list(frames_in(self._data))
        for each, _ in whole:
            if each.code == CLOSE:
                self._transport.write(frame(CLOSE, each.data, mask=False))
                self._transport.close()
            elif each.code == PING:
                self._transport.write(frame(PONG, each.data, mask=False))
            elif each.code != PONG and (said := speaking.take(each)) is not None:
                self._tell_said(said)
                for text in speaking.answer(said):
                    self._transport.write(frame(TEXT, text, mask=False))
        self._data = self._data[whole[-1][1] if whole else 0 :]


@dataclass(kw_only=True)
class Heard:
    """A message of which some fragments have come."""

    code: int
    data: bytes
    faults: list[str]


@dataclass
class Speaking:
    """The WebSocket that a connection has become."""

    handshake: Seen
    made: set[str] = field(default_factory=set)
    _begun: Heard | None = None
    _numbers: count[int] = field(default_factory=count)

    def take(self, each: Frame) -> Said | None:
        """Take a frame with data; return the message that it completes."""
        faults = [] if each.masked else ["a frame without a mask"]
        faults += ["reserved bits"] if each.reserved else []
        if each.code == CONTINUATION and self._begun is not None:
            self._begun.data += each.data
            self._begun.faults += faults
        else:
            faults += ["a message in a message"] if self._begun else []
            faults += [] if each.code in {TEXT, BINARY} else [f"opcode {each.code}"]
            self._begun = Heard(code=each.code, data=each.data, faults=faults)
        if not each.fin:
            return None
        whole, self._begun = self._begun, None
        return Said(
            handshake=self.handshake,
            binary=whole.code == BINARY,
            data=whole.data,
            made=frozenset(self.made),
            faults=whole.faults,
        )

    def answer(self, said: Said) -> list[bytes]:
        """Answer as a provider would, at once and with nothing made."""
        try:
            asked = json.loads(said.data)
            kind = asked["type"]
        except (ValueError, KeyError, TypeError):
            return []
        lane = asked.get("stream_id")
        on = {} if lane is None else {"stream_id": lane}
        if kind == "response.create":
            ident = f"resp_{next(self._numbers)}"
            self.made.add(ident)
            response = {"id": ident, "object": "response", "tools": []}
            kinds = ("response.created", "response.completed")
            return [_event(each, response=response, **on) for each in kinds]
        if kind == "response.inject":
            target = asked.get("response_id")
            return [_event("response.inject.created", response_id=target)]
        steer = {"id": "steer_1", "previous_response_id": "?"}
        steer["previous_response_id"] = asked.get("previous_response_id")
        return [_event("response.steer.failed", steer=steer)]


def _event(kind: str, **members: object) -> bytes:
    return json.dumps({"type": kind, **members}).encode()


def _accept(seen: Seen) -> bytes:
    key = "".join(seen.values("sec-websocket-key")).encode()
    # RFC 6455 wants SHA-1.
    digest = hashlib.sha1(key + _SALT, usedforsecurity=False).digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
        % base64.b64encode(digest)
    )


def _read(data: bytes) -> tuple[Seen, bytes] | None:
    """Take a request from the front of the bytes, if there is a whole one."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    pairs = [line.partition(b":")[::2] for line in lines]
    headers = [
        (name.decode("latin-1").lower(), value.decode("latin-1").strip())
        for name, value in pairs
    ]
    lengths = [value for name, value in headers if name == "content-length"]
    size = int(lengths[0]) if lengths else 0
    if len(rest) < size:
        return None
    method, target, version = first.decode("latin-1").split(" ")
    seen = Seen(
        method=method,
        target=target,
        headers=headers,
        body=rest[:size],
        faults=list(_faults(head, version, headers, lengths)),
    )
    return seen, rest[size:]


def _faults(
    head: bytes, version: str, headers: list[tuple[str, str]], lengths: list[str]
) -> list[str]:
    names = [name for name, _ in headers]
    checks = {
        "version": version != "HTTP/1.1",
        "bare line end": b"\n" in head.replace(b"\r\n", b"")
        or b"\r" in head.replace(b"\r\n", b""),
        "control characters": any(
            byte < 32 for byte in head.replace(b"\r\n", b"").replace(b"\t", b"")
        ),
        "several lengths": len(lengths) > 1,
        "odd length": not all(each.isascii() and each.isdigit() for each in lengths),
        "transfer-encoding": "transfer-encoding" in names,
        "several hosts": names.count("host") != 1,
        "odd names": not all(
            name.replace("-", "").isalnum() and name.isascii() for name in names
        ),
    }
    return [fault for fault, found in checks.items() if found]
