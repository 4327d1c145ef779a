"""A provider that notes the bytes it gets, and believes nothing else about them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

ANSWER = (
    b'{"id":"resp_1","object":"response","status":"completed","model":"gpt-5",'
    b'"output":[],"tools":[],"usage":null,"error":null}'
)


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

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class Recorder(asyncio.Protocol):
    """One connection of the gateway's; each whole request is told, then answered."""

    def __init__(self, tell: Callable[[Seen], None]) -> None:
        self._tell = tell
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (read := _read(self._data)) is not None:
            seen, self._data = read
            self._tell(seen)
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
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
