"""Format and size of an image from the first characters of its base64."""

from __future__ import annotations

import base64
import struct

import pytest

from imagegate.engine.events import Payload
from imagegate.engine.pixels import payload

REST = b"\0" * 200
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 1536, 1024)
JFIF = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
FRAME = b"\xff\xc0\0\x11\x08" + struct.pack(">HH", 1024, 1536)
TABLE = b"\xff\xdb\0\x43" + b"\1" * 65
RIFF = b"RIFF\0\0\0\0WEBP"
LOSSLESS = (1536 - 1) | (1024 - 1) << 14


def look(raw: bytes) -> tuple[str | None, str | None]:
    found = payload(base64.b64encode(raw).decode(), 7)
    return found.media, found.dimensions


@pytest.mark.parametrize(
    ("raw", "media"),
    [
        pytest.param(PNG, "png", id="png"),
        pytest.param(JFIF + TABLE * 2 + FRAME, "jpeg", id="jpeg"),
        pytest.param(JFIF + b"\xff\xc4\0\x04ab" + FRAME, "jpeg", id="jpeg-huffman"),
        pytest.param(b"GIF89a" + struct.pack("<HH", 1536, 1024), "gif", id="gif"),
        pytest.param(b"GIF87a" + struct.pack("<HH", 1536, 1024), "gif", id="gif-87"),
        pytest.param(
            RIFF + b"VP8X\x0a\0\0\0\0\0\0\0\xff\x05\0\xff\x03\0", "webp", id="extended"
        ),
        pytest.param(
            RIFF + b"VP8L\0\0\0\0\x2f" + struct.pack("<I", LOSSLESS),
            "webp",
            id="lossless",
        ),
        pytest.param(
            RIFF + b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 1536, 1024),
            "webp",
            id="lossy",
        ),
    ],
)
def test_the_size_is_read_from_the_image_itself(raw: bytes, media: str) -> None:
    """What the item says of itself is not asked."""
    assert look(raw + REST) == (media, "1536x1024")


@pytest.mark.parametrize(
    ("raw", "media"),
    [
        pytest.param(PNG[:12] + b"junk" + PNG[16:] + REST, "png", id="png-no-header"),
        pytest.param(PNG[:20], "png", id="png-short"),
        pytest.param(PNG[:16] + REST, "png", id="png-zero"),
        pytest.param(b"GIF89a\1", "gif", id="gif-short"),
        pytest.param(JFIF + TABLE * 9 + FRAME, "jpeg", id="jpeg-frame-too-far"),
        pytest.param(JFIF + FRAME[:6], "jpeg", id="jpeg-short"),
        pytest.param(JFIF + REST, "jpeg", id="jpeg-broken"),
        pytest.param(RIFF + b"VP8X", "webp", id="webp-short"),
        pytest.param(RIFF + b"VP8L" + REST, "webp", id="webp-lossless-broken"),
        pytest.param(RIFF + b"VP8 " + REST, "webp", id="webp-lossy-broken"),
        pytest.param(
            RIFF + b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a", "webp", id="webp-lossy-short"
        ),
        pytest.param(RIFF + b"what" + REST, "webp", id="webp-unknown"),
        pytest.param(b'<svg width="1536">' + REST, "svg", id="svg"),
        pytest.param(b"<?xml version='1.0'?>" + REST, "svg", id="xml"),
        pytest.param(b"hello" + REST, None, id="unknown"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_a_size_that_cannot_be_read_is_none(raw: bytes, media: str | None) -> None:
    """Headers that lie, break off or lie too far away say nothing."""
    assert look(raw) == (media, None)


@pytest.mark.parametrize("head", ["data:image/png;base64,", "é" * 8, "====", "iV="])
def test_what_is_no_base64_says_nothing(head: str) -> None:
    """The length is known all the same."""
    assert payload(head, 9) == Payload(length=9)
