"""The format and size of an image, from the first characters of its base64.

The picture itself is never decoded. PNG, GIF and WebP say their size in the
first thirty bytes; JPEG says it behind its tables, often within `HEAD`.
"""

from __future__ import annotations

import binascii
import struct
from typing import Final

from imagegate.engine.events import Payload

HEAD: Final = 512  # characters of base64; reaches a plain JPEG's frame header

# Start-of-frame markers; C4, C8 and CC in their midst are tables (T.81, B.1).
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def payload(head: str, length: int) -> Payload:
    """Say what `length` characters of base64 that begin with `head` hold."""
    raw = _decode(head[:HEAD])
    media = _media(raw)
    edges = _EDGES[media](raw) if media in _EDGES else None
    return Payload(
        length=length,
        media=media,
        dimensions=f"{edges[0]}x{edges[1]}" if edges and all(edges) else None,
    )


def _decode(head: str) -> bytes:
    try:
        return binascii.a2b_base64(head[: len(head) & ~3], strict_mode=True)
    except ValueError:
        return b""


def _media(raw: bytes) -> str | None:
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in _MAGIC if raw.startswith(magic)), None)


def _png(raw: bytes) -> tuple[int, int] | None:
    return _two(">II", raw, 16) if raw[12:16] == b"IHDR" else None


def _gif(raw: bytes) -> tuple[int, int] | None:
    return _two("<HH", raw, 6)


def _webp(raw: bytes) -> tuple[int, int] | None:
    """Read RFC 9649: extended, lossless and lossy keep the size differently."""
    kind = raw[12:16]
    if kind == b"VP8X" and len(raw) >= 30:  # noqa: PLR2004 - end of the header
        width, height = raw[24:27], raw[27:30]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8L" and raw[20:21] == b"\x2f":
        bits = int.from_bytes(raw[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and raw[23:26] == b"\x9d\x01\x2a":
        edges = _two("<HH", raw, 26)
        return edges and (edges[0] & 0x3FFF, edges[1] & 0x3FFF)
    return None


def _jpeg(raw: bytes) -> tuple[int, int] | None:
    at = 2
    while raw[at : at + 1] == b"\xff" and len(raw) > at + 3:
        if raw[at + 1] in _FRAMES:
            edges = _two(">HH", raw, at + 5)
            return edges and (edges[1], edges[0])
        at += 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return None


def _two(form: str, raw: bytes, at: int) -> tuple[int, int] | None:
    if len(raw) < at + struct.calcsize(form):
        return None
    first, second = struct.unpack_from(form, raw, at)
    return first, second


_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"<svg", "svg"),
    (b"<?xml", "svg"),
)
_EDGES: Final = {"png": _png, "jpeg": _jpeg, "gif": _gif, "webp": _webp}
