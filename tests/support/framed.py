"""WebSocket frames on the wire, written and read by the plainest rules there are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_SMALL, _LARGE = 126, 1 << 16
KEY = b"\x11\x22\x33\x44"


def frame(  # noqa: PLR0913 - what a frame has
    code: int,
    data: bytes = b"",
    *,
    fin: bool = True,
    mask: bool = True,
    reserved: int = 0,
    wide: int = 0,
) -> bytes:
    """Write a frame; `wide` is how many bytes spell a length that needs fewer."""
    size, masked = len(data), 0x80 * mask
    first = bytes([0x80 * fin | reserved << 4 | code])
    if wide == 8 or size >= _LARGE:
        first += struct.pack("!BQ", 127 | masked, size)
    elif wide == 2 or size >= _SMALL:
        first += struct.pack("!BH", 126 | masked, size)
    else:
        first += struct.pack("!B", size | masked)
    return first + KEY + covered(data) if mask else first + data


def covered(data: bytes) -> bytes:
    """Mask, or unmask."""
    key = (KEY * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(
        len(data), "big"
    )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame as it came."""

    code: int
    fin: bool
    reserved: int
    masked: bool
    data: bytes


def frames_in(data: bytes) -> Iterator[tuple[Frame, int]]:
    """Yield the whole frames in the bytes, each with the place where it ends."""
    at = 0
    while len(data) - at >= 2:
        size, end = data[at + 1] & 0x7F, at + 2
        masked = bool(data[at + 1] & 0x80)
        if size >= _SMALL:
            wide = 2 if size == _SMALL else 8
            size, end = int.from_bytes(data[end : end + wide], "big"), end + wide
        key, start = data[end : end + 4], end + 4 * masked
        if len(data) < start + size:
            return
        text = data[start : start + size]
        if masked:
            text = bytes(byte ^ key[i % 4] for i, byte in enumerate(text))
        yield (
            Frame(
                code=data[at] & 0xF,
                fin=bool(data[at] & 0x80),
                reserved=data[at] >> 4 & 7,
                masked=masked,
                data=text,
            ),
            start + size,
        )
        at = start + size
