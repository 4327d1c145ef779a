"""UTF-8 and nothing else: what is not is refused before anybody decodes it.

Readers disagree on byte order marks, UTF-16 and half characters; some guess. So
the bytes are held to RFC 8259, piece by piece, as decoding ten megabytes at once
would keep others waiting.
"""

from __future__ import annotations

from collections.abc import Iterator

from imagegate.engine.errors import MalformedRequest

# Decoding this much needs no fresh memory, which would take longer than the text.
_PIECE = 1 << 16
# Longer white space is gone through in pieces.
_SHORT = 1 << 17
# About a millisecond of pieces.
_PIECES = 16


def check_encoding(data: bytes) -> Iterator[None]:
    """Refuse whatever is not UTF-8 without a byte order mark, piece by piece."""
    if not data or (len(data) <= _SHORT and data.isspace()):
        raise empty_body()
    if data.startswith(b"\xef\xbb\xbf"):
        raise MalformedRequest(
            "byte_order_mark", "the body begins with a byte order mark"
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data[:4]:
        raise MalformedRequest("not_utf8", "the body is UTF-16 or UTF-32, not UTF-8")
    if not data.isascii():
        yield from _check_utf8(data)


def empty_body() -> MalformedRequest:
    """Say that there is nothing but white space."""
    return MalformedRequest("empty_body", "the body is empty, expected an object")


def _check_utf8(data: bytes) -> Iterator[None]:
    view, start, number = memoryview(data), 0, 0
    while start < len(data):
        number += 1
        stop = _character_end(data, start + _PIECE)
        try:
            str(view[start:stop], "utf-8")
        except UnicodeDecodeError as error:
            raise MalformedRequest(
                "not_utf8",
                "the body is not UTF-8",
                pointer=f"byte {start + error.start}",
            ) from None
        start = stop
        if number % _PIECES == 0:
            yield


def _character_end(data: bytes, stop: int) -> int:
    """Move a cut past the rest of a character: at most three bytes."""
    for end in range(stop, stop + 4):
        if end >= len(data) or data[end] & 0xC0 != 0x80:  # noqa: PLR2004 - RFC 3629
            return end
    return stop  # four continuation bytes: not UTF-8, wherever it is cut
