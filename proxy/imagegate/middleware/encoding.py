"""Content codings, undone piece by piece and under a limit.

A request's body is decoded whole, exactly and within the limit, or refused: the
provider would read what nobody judged. Codex compresses with zstd by default. An
answer is decoded for the observer alone, beside its relay.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Protocol

import brotli

from imagegate.engine.errors import MalformedRequest
from imagegate.zstd import zstd

CODINGS = ("zstd", "gzip", "deflate", "br")
_PIECE = 1 << 20
"""A piece this large takes about a millisecond to inflate."""
_WINDOW_LOG = 23
"""8 MB of window: RFC 9659 forbids more in HTTP, and every stream may take so much."""

_FREE = 8 << 20
"""Bytes that a body may decode to, however short it came."""
_RATIO = 100
"""How much longer it may become beyond that. JSON shrinks to a tenth, of images to
three quarters; what shrinks to a hundredth was made to fill a memory.
"""


class _Decoder(Protocol):
    def take(self, data: bytes) -> bytes:
        """Give input, or nothing, and take at most a piece of output."""

    @property
    def finished(self) -> bool:
        """Whether the one member has ended."""

    @property
    def rest(self) -> bytes:
        """What follows the member."""


class _Zlib:
    """gzip and deflate; deflate is the zlib format, as RFC 9110 says."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    def take(self, data: bytes) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, _PIECE)

    @property
    def finished(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data


class _Zstd:
    def __init__(self) -> None:
        limit: dict[int, int] = {
            zstd.DecompressionParameter.window_log_max: _WINDOW_LOG
        }
        self._inner = zstd.ZstdDecompressor(options=limit)

    def take(self, data: bytes) -> bytes:
        return self._inner.decompress(data, max_length=_PIECE)

    @property
    def finished(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        return self._inner.unused_data


class _Brotli:
    """brotli says itself when something follows: it is an error there."""

    rest = b""

    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def take(self, data: bytes) -> bytes:
        part: bytes = self._inner.process(data, output_buffer_limit=_PIECE)
        return part

    @property
    def finished(self) -> bool:
        return bool(self._inner.is_finished())


_DECODERS: Mapping[str, Callable[[], _Decoder]] = {
    "zstd": _Zstd,
    "gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "br": _Brotli,
}
_BROKEN = (zlib.error, zstd.ZstdError, brotli.error)


class BrokenCodingError(Exception):
    """The data is not what its coding says, or more than one member of it."""


class Decoding:
    """An encoded stream, read as it comes."""

    def __init__(self, coding: str) -> None:
        """Begin a stream in one of `CODINGS`."""
        self._decoder = _DECODERS[coding]()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what a chunk completes, each piece of bounded size.

        Raises:
            BrokenCodingError: When there is no telling what the rest says.
        """
        given = chunk
        while not self._decoder.finished:
            try:
                part = self._decoder.take(given)
            except _BROKEN:
                raise BrokenCodingError from None
            given = b""
            if not part:
                break
            yield part
        if given or self._decoder.rest:
            raise BrokenCodingError


def coding_of(values: list[str]) -> str | None:
    """Return the one coding that `Content-Encoding` names; None for none.

    Raises:
        MalformedRequest: For a coding that is not known, or more than one.
    """
    if values in ([], ["identity"]):
        return None
    if len(values) == 1 and values[0] in CODINGS:
        return values[0]
    known = ", ".join(CODINGS)
    raise MalformedRequest(
        "unsupported_encoding",
        f"Content-Encoding must be one of {known}, once, or absent",
        status=415,
    )


def decode(
    data: bytes,
    coding: str,
    *,
    limit: int,
    count: Callable[[int], None] = lambda _: None,
) -> Generator[None, None, bytes]:
    """Decode a body piece by piece, giving way between the pieces.

    Args:
        data: The body as it came.
        coding: One of `CODINGS`.
        limit: How long it may become.
        count: Told of each piece's length; raises where it is too much.

    Raises:
        MalformedRequest: When it does not decode to exactly one member within the
            limit, or is many times as long as it came.
    """
    decoder = _DECODERS[coding]()
    parts: list[bytes] = []
    size, given = 0, data
    limit = min(limit, max(_FREE, _RATIO * len(data)))
    while not decoder.finished:
        try:
            part = decoder.take(given)
        except _BROKEN:
            raise _undecodable(coding) from None
        if not (part or decoder.finished):
            raise _undecodable(coding)
        given = b""
        parts.append(part)
        size += len(part)
        count(len(part))
        if size > limit:
            raise MalformedRequest(
                "body_too_large",
                f"the body has over {limit} bytes when it is decoded",
                status=413,
            )
        yield
    if decoder.rest:
        raise MalformedRequest(
            "unsupported_encoding",
            f"the body is more than one {coding} member",
            status=415,
        )
    return b"".join(parts)


def _undecodable(coding: str) -> MalformedRequest:
    return MalformedRequest("undecodable_body", f"the body is not whole {coding} data")
