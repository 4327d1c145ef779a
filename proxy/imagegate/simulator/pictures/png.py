"""PNG: noise in truecolour, deflated without looking for matches."""

from __future__ import annotations

import zlib
from struct import pack

from imagegate.simulator.pictures.canvas import Canvas

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUECOLOUR, _WITH_ALPHA = 2, 6


def png(canvas: Canvas) -> bytes:
    """Return a PNG file."""
    colour = _WITH_ALPHA if canvas.transparent else _TRUECOLOUR
    header = pack(">IIBBBBB", canvas.width, canvas.height, 8, colour, 0, 0, 0)
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", _deflated(_rows(canvas), flat=not canvas.bits)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return pack(">I", len(data)) + kind + data + pack(">I", crc)


def _rows(canvas: Canvas) -> bytes:
    # Only the upper bits are noise: Huffman coding then takes that many a byte.
    kept = (0xFF << (8 - canvas.bits)) & 0xFF
    table = bytes(value & kept | 0x10 & ~kept for value in range(256))
    stride = canvas.width * canvas.channels
    noise = canvas.noise(stride * canvas.height).translate(table)
    return b"".join(
        b"\0" + noise[start : start + stride] for start in range(0, len(noise), stride)
    )


def _deflated(data: bytes, *, flat: bool) -> bytes:
    # Looking for matches in noise only takes time; in one colour it finds them all.
    strategy = zlib.Z_DEFAULT_STRATEGY if flat else zlib.Z_HUFFMAN_ONLY
    deflate = zlib.compressobj(level=1, strategy=strategy)
    return deflate.compress(data) + deflate.flush()
