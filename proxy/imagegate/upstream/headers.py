"""Which headers go on, in both directions.

It follows from their names, and those are the same all day long: so it is found out
once for each list of names. No value is kept.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeAlias

from imagegate.upstream.client import Headers, UpstreamError

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    )
)
"""About one connection only, by RFC 9110 section 7.6.1 and its history."""

_OURS = frozenset((b"host", b"content-length", b"accept-encoding", b"expect"))
"""Written by us, whatever the client wrote."""

CREDENTIALS = frozenset((b"authorization", b"api-key"))
"""Where keys are; what becomes of them is the upstream's to say."""

_MISLEADING = frozenset(
    (
        b"client-ip",
        b"cookie",
        b"forwarded",
        b"max-forwards",
        b"true-client-ip",
        b"via",
        b"x-client-ip",
        b"x-forwarded",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-uri",
        b"x-original-url",
        b"x-real-ip",
        b"x-rewrite-url",
    )
)
"""Tell a server upstream another story than the request line, or who asks."""

_PREFIXES = (
    b"proxy-",
    b"sec-websocket-",
    b"x-forwarded-",
    b"x-imagegate-",
    b"x-ms-client-principal",  # who asks, where Azure has authenticated
)

_NOT_RELAYED = frozenset(
    (
        b"alt-svc",  # leads past this gateway, as the next four do
        b"azure-asyncoperation",
        b"location",
        b"operation-location",
        b"refresh",
        b"set-cookie",  # an answer to us, not to one of many clients
        b"set-cookie2",
    )
)
"""A redirect stays what it is, but an SDK that followed it would take its key along."""

_ESSENTIAL = CREDENTIALS | frozenset(
    (
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"x-ms-oai-image-generation-deployment",
    )
)
"""Says what the message is, and was judged: not `Connection`'s to take away."""

_NOT_THEIRS = _HOP_BY_HOP | _OURS | _MISLEADING | CREDENTIALS
_NOT_THE_CLIENTS = _HOP_BY_HOP | _NOT_RELAYED
_COUNTED = frozenset((b"content-length",))
_NOTHING: frozenset[bytes] = frozenset()
_IN_A_VALUE = b"\t" + bytes(set(range(0x20, 0x100)) - {0x7F})
_WITHOUT_BODY = (204, 304)
_MAX_HEADS: Final = 64
"""How many lists of names are remembered, each for as much as a head may have."""
_Names: TypeAlias = tuple[bytes, ...]
_Places: TypeAlias = tuple[tuple[int, bytes], ...]
"""Which headers, and their names in lower case."""


def to_upstream(
    headers: Headers, withheld: frozenset[bytes] = _NOTHING
) -> list[tuple[bytes, bytes]]:
    """Return the client's headers that the provider gets, its credential excepted.

    A name with an underscore is dropped: some servers read it as its twin with a
    hyphen, and would see two of what was judged as one.

    Args:
        headers: The client's.
        withheld: Those that are not the provider's business either.
    """
    names = tuple([name for name, _ in headers])
    return _picked(headers, _onward(names, withheld), _nominated(names, headers))


def to_client(headers: Headers, *, status: int) -> list[tuple[bytes, bytes]]:
    """Return the provider's headers that the client gets."""
    names = tuple([name for name, _ in headers])
    unwanted = _nominated(names, headers)
    if status in _WITHOUT_BODY:
        # It counts a body that is not sent, and servers wait for it.
        unwanted |= _COUNTED
    return _picked(headers, _backward(names), unwanted)


def credentials_in(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers in which a client shows its credential."""
    return _picked(headers, _shown(tuple([name for name, _ in headers])))


def check_answer(status: int, headers: Headers) -> None:
    """Refuse the head of an answer that could be read in two ways, or not relayed."""
    if (
        not 200 <= status < 600  # noqa: PLR2004 - what a final answer can be
        or _tells_two_lengths(tuple([name for name, _ in headers]))
        or b"".join([value for _, value in headers]).translate(None, _IN_A_VALUE)
    ):
        raise UpstreamError("answer_malformed", status=502)


def _picked(
    headers: Headers, places: _Places, unwanted: frozenset[bytes] = _NOTHING
) -> list[tuple[bytes, bytes]]:
    return [(name, headers[at][1]) for at, name in places if name not in unwanted]


def _nominated(names: _Names, headers: Headers) -> frozenset[bytes]:
    """Return what is about this connection only because `Connection` says so."""
    places = _connection(names)
    if not places:
        return _NOTHING
    said = b",".join([headers[at][1] for at in places]).lower().split(b",")
    return frozenset(map(bytes.strip, said)) - _ESSENTIAL - _HOP_BY_HOP


@lru_cache(_MAX_HEADS)
def _connection(names: _Names) -> tuple[int, ...]:
    return tuple(at for at, name in enumerate(names) if name.lower() == b"connection")


@lru_cache(_MAX_HEADS)
def _shown(names: _Names) -> _Places:
    lower = enumerate(map(bytes.lower, names))
    return tuple((at, name) for at, name in lower if name in CREDENTIALS)


@lru_cache(_MAX_HEADS)
def _onward(names: _Names, withheld: frozenset[bytes]) -> _Places:
    return tuple(
        (at, name)
        for at, name in enumerate(map(bytes.lower, names))
        if name not in _NOT_THEIRS
        and name not in withheld
        and b"_" not in name
        and not name.startswith(_PREFIXES)
    )


@lru_cache(_MAX_HEADS)
def _backward(names: _Names) -> _Places:
    return tuple(
        (at, name)
        for at, name in enumerate(map(bytes.lower, names))
        if name not in _NOT_THE_CLIENTS and not name.startswith(b"proxy-")
    )


@lru_cache(_MAX_HEADS)
def _tells_two_lengths(names: _Names) -> bool:
    return {b"content-length", b"transfer-encoding"} <= set(map(bytes.lower, names))
