"""The head of an answer, as uvicorn would write it, at a third of the price.

It looks at every name and every value by itself. What follows from names is found out
once for each list of them here, since applications answer with the same ones all day
long, and the values are looked at together. No value is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    RequestResponseCycle,
)

_MAX_HEADS: Final = 64
"""How many lists of names are remembered."""
_WITHOUT_BODY: Final = (204, 304)
_LENGTH: Final = b"content-length"
_CONNECTION: Final = b"connection"
_CODING: Final = b"transfer-encoding"
_Pairs: TypeAlias = Iterable[tuple[bytes, bytes]]


class _Names(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What follows from the names of headers alone.

    Attributes:
        left_out: Where those are that do not go on.
        sound: Nothing in the others can end a header, or the head.
        lines: The others, with a place for each value.
        lengths: Where among them the length of the body is.
        connection: Where something is said of the connection.
    """

    left_out: tuple[int, ...]
    sound: bool
    lines: bytes
    lengths: tuple[int, ...]
    connection: tuple[int, ...]


@lru_cache(_MAX_HEADS)
def _names(names: tuple[bytes, ...], *, closing: bool) -> _Names:
    """Find out what follows; a coding is the server's to say, and so is a close."""
    ours = (_CODING, _CONNECTION) if closing else (_CODING,)
    lower = [*map(bytes.lower, names)]
    kept = [name for name in lower if name not in ours]
    return _Names(
        left_out=tuple([at for at, name in enumerate(lower) if name in ours]),
        sound=not HEADER_RE.search(b"".join(kept)),
        lines=b"".join([name.replace(b"%", b"%%") + b": %b\r\n" for name in kept]),
        lengths=tuple([at for at, name in enumerate(kept) if name == _LENGTH]),
        connection=tuple([at for at, name in enumerate(kept) if name == _CONNECTION]),
    )


def begin(
    cycle: RequestResponseCycle, status: int, given: _Pairs, *, closing: bool
) -> bytes:
    """Return the head of an answer, and note in its cycle what follows from it.

    Args:
        cycle: The cycle of uvicorn's, which sends the body.
        status: The status.
        given: The application's headers.
        closing: The connection ends behind the answer, and not by uvicorn, which
            would close it at once, in the client's face.

    Raises:
        ValueError: For an answer that gives two lengths, or one that is no number.
        RuntimeError: For a header that could be read as something else.
    """
    headers = [*cycle.default_headers, *given]
    names = _names(tuple([name for name, _ in headers]), closing=closing)
    values = [value for _, value in headers]
    if names.left_out:
        values = [each for at, each in enumerate(values) if at not in names.left_out]
    if len(names.lengths) > 1:
        raise ValueError("an answer has one content-length")
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    if not names.sound or HEADER_VALUE_RE.search(b"".join(values)):
        raise RuntimeError("a header that could be read as another")
    end = b"\r\n"
    if names.lengths:
        cycle.expected_content_length = int(values[names.lengths[0]].decode())
        cycle.chunked_encoding = False
    elif cycle.scope["method"] != "HEAD" and status not in _WITHOUT_BODY:
        cycle.chunked_encoding, end = True, b"transfer-encoding: chunked\r\n\r\n"
    if closing:
        cycle.keep_alive = True
    elif names.connection and _says_close([values[at] for at in names.connection]):
        cycle.keep_alive = False
    elif not cycle.keep_alive:
        closing = True
    if closing:
        end = b"connection: close\r\n" + end
    return STATUS_LINE[status] + names.lines % tuple(values) + end


def _says_close(values: Iterable[bytes]) -> bool:
    words = [word.strip() for value in values for word in value.lower().split(b",")]
    return b"close" in words
