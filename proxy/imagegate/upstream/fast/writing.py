"""The head of a request as it goes on the wire, and nothing that could end it early.

What is checked here was made by the forwarder, which takes names and values from
clients; a mistake there must not become a second request on the connection. The
checks delete what may be there and look at what is left, at the speed of C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from imagegate.upstream.client import Headers, UpstreamError, UpstreamRequest

TOGETHER: Final = 64 * 1024
"""Up to here a head and pieces of a body are copied into one write."""
_AT_ONCE: Final = 256 * 1024
"""A body of 10 MB is neither copied nor encrypted whole."""

_VISIBLE: Final = bytes(range(0x21, 0x7F))
_VALUE: Final = b"\t " + _VISIBLE + bytes(range(0x80, 0x100))
_TOKEN: Final = bytes(set(_VISIBLE) - set(b'"(),/:;<=>?@[\\]{}'))
_NAME: Final = bytes(set(_TOKEN) - set(range(0x41, 0x5B)))


def head_of(request: UpstreamRequest, size: int) -> bytes:
    """Write the head of a request.

    Args:
        request: The request.
        size: How many bytes its body has.

    Raises:
        UpstreamError: For what cannot be written, or could be read in two ways. It
            does not say what: that may be a key.
    """
    names = [name for name, _ in request.headers]
    target, lines = request.target, b"\r\n".join(map(b": ".join, request.headers))
    method = request.method.encode()
    head = b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (method, target, lines)
    if (
        head.translate(None, _VALUE) != b"\r\n" * (len(names) + 2)
        or b"".join(names).translate(None, _NAME)
        or b"" in names
        or method.translate(None, _TOKEN)
        or target.translate(None, _VISIBLE)
        or not (method and target and _framed(names, request.headers, size))
    ):
        # Not even a chain of errors may hold what is refused.
        raise UpstreamError("request_malformed", status=400) from None
    return head


def _framed(names: list[bytes], headers: Headers, size: int) -> bool:
    """Whether the headers name one host, and the length that the body has."""
    if names.count(b"host") != 1 or b"transfer-encoding" in names:
        return False
    said = names.count(b"content-length")
    if not said:
        return not size
    return said == 1 and headers[names.index(b"content-length")][1] == b"%d" % size


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
