"""The head of a request as it goes on the wire, and nothing that could end it early.

What is checked here was made by the forwarder, which takes names and values from
clients; a mistake there must not become a second request on the connection. The
checks delete what may be there and look at what is left, at the speed of C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from imagegate.upstream.client import UpstreamError, UpstreamRequest

TOGETHER: Final = 64 * 1024
"""Up to here a head and pieces of a body are copied into one write."""
_AT_ONCE: Final = 256 * 1024
"""A body of 10 MB is neither copied nor encrypted whole."""

_VISIBLE: Final = bytes(range(0x21, 0x7F))
_VALUE: Final = b"\t " + _VISIBLE + bytes(range(0x80, 0x100))
_TOKEN: Final = bytes(set(_VISIBLE) - set(b'"(),/:;<=>?@[\\]{}'))


def head_of(request: UpstreamRequest, size: int) -> bytes:
    """Write the head of a request.

    Args:
        request: The request.
        size: How many bytes its body has.

    Raises:
        UpstreamError: For what cannot be written, or could be read in two ways. It
            does not say what: that may be a key.
    """
    method, headers = request.method.encode("utf-8"), request.headers
    lines = b"\r\n".join(map(b": ".join, headers))
    names = [name for name, _ in headers]
    if (
        lines.translate(None, _VALUE) != b"\r\n" * (len(names) - 1)
        or b"".join(names).translate(None, _TOKEN)
        or b"" in names
        or request.target.translate(None, _VISIBLE)
        or method.translate(None, _TOKEN)
        or not (names and method and request.target)
        or not _framed(lines, size)
    ):
        # Not even a chain of errors may hold what is refused.
        raise UpstreamError("request_malformed", status=400) from None
    return b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (method, request.target, lines)


def portions(
    head: bytes, body: Iterable[bytes | memoryview]
) -> Iterator[bytes | memoryview]:
    """Yield a request as it is written: what is small together, what is big in parts.

    What is big is not copied.
    """
    small: list[bytes | memoryview] = [head]
    size = len(head)
    for piece in body:
        if size + len(piece) > TOGETHER:
            yield b"".join(small)
            small, size = [], 0
        if len(piece) > TOGETHER:
            view = memoryview(piece)
            for start in range(0, len(view), _AT_ONCE):
                yield view[start : start + _AT_ONCE]
        else:
            small.append(piece)
            size += len(piece)
    if small:
        yield b"".join(small)


def _framed(lines: bytes, size: int) -> bool:
    """Whether the headers name one host, and the length that the body has."""
    known = b"\r\n%b\r\n" % lines.lower()
    said = known.count(b"\r\ncontent-length:")
    return (
        known.count(b"\r\nhost:") == 1
        and b"\r\ntransfer-encoding:" not in known
        and (
            (said == 1 and b"\r\ncontent-length: %d\r\n" % size in known)
            or (said == size == 0)
        )
    )
