"""The head of a request as it goes on the wire, and nothing that could end it early.

What is checked here was made by the forwarder, which takes names and values from
clients; a mistake there must not become a second request on the connection. The
checks delete what may be there and look at what is left, at the speed of C.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from imagegate.upstream.client import UpstreamError, UpstreamRequest

TOGETHER: Final = 64 * 1024
"""Up to here a head and pieces of a body are copied into one write."""
_HEADS: Final = 128
"""How many lists of names are remembered."""
_SHORT: Final = 4 * 1024
"""Bytes of a head whose names are."""
_AT_ONCE: Final = 1024 * 1024
"""A body of 10 MB is neither copied nor encrypted whole, nor written to somebody who
has refused it."""

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
    headers, target = request.headers, request.target
    method, lines = request.method.encode(), b"\r\n".join(map(b": ".join, headers))
    head = b"%b %b HTTP/1.1\r\n%b\r\n\r\n" % (method, target, lines)
    length_in = remembered if len(head) <= _SHORT else _length_in
    length = length_in(tuple([name for name, _ in headers]))
    if (
        head.translate(None, _VALUE) != b"\r\n" * (len(headers) + 2)
        or target.translate(None, _VISIBLE)
        or method.translate(None, _TOKEN)
        or not (method and target)
        or length is None
        or (size if length < 0 else headers[length][1] != b"%d" % size)
    ):
        # Not even a chain of errors may hold what is refused.
        raise UpstreamError("request_malformed", status=400) from None
    return head


def _length_in(names: tuple[bytes, ...]) -> int | None:
    """Say which of the headers tells the body's length.

    Returns:
        -1 where none does; None for names that cannot be sent, or that do not name
        one host and at most one length.
    """
    if (
        names.count(b"host") != 1
        or names.count(b"content-length") > 1
        or b"transfer-encoding" in names
        or b"" in names
        or b"".join(names).translate(None, _NAME)
    ):
        return None
    return names.index(b"content-length") if b"content-length" in names else -1


remembered: Final = lru_cache(_HEADS)(_length_in)
"""The same; applications send the same names all day."""


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
