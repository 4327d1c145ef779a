"""Which headers go on, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imagegate.upstream.client import Headers

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
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

_MISLEADING = frozenset(
    (
        b"forwarded",
        b"via",
        b"x-real-ip",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-original-uri",
        b"x-rewrite-url",
        b"cookie",
        b"max-forwards",
    )
)
"""Tell a server upstream another story than the request line, or who asks."""

_PREFIXES = (b"x-forwarded-", b"x-imagegate-", b"proxy-", b"sec-websocket-")
CREDENTIALS = frozenset((b"authorization", b"api-key"))
_NOT_RELAYED = frozenset((b"set-cookie", b"set-cookie2", b"alt-svc", b"trailer"))


def nominated(headers: Headers) -> frozenset[bytes]:
    """Return the names that `Connection` says belong to this connection only."""
    return frozenset(
        name.strip().lower()
        for key, value in headers
        if key.lower() == b"connection"
        for name in value.split(b",")
    )


def to_upstream(
    headers: Headers, *, drop: Iterable[bytes] = ()
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the client's headers that the provider gets.

    A name with an underscore is dropped: some servers read it as its twin with a
    hyphen, and would see two of what was judged as one.
    """
    unwanted = HOP_BY_HOP | _OURS | _MISLEADING | frozenset(drop)
    # What we set ourselves is not the client's to take away.
    extras = nominated(headers) - CREDENTIALS - {b"content-type"}
    for key, value in headers:
        name = key.lower()
        if name in unwanted or name in extras or b"_" in name:
            continue
        if not name.startswith(_PREFIXES):
            yield name, value


def to_client(headers: Headers) -> Iterator[tuple[bytes, bytes]]:
    """Yield the provider's headers that the client gets.

    A redirect stays what it is, but its target is not passed on: an SDK would
    follow it past this gateway, with the key.
    """
    unwanted = HOP_BY_HOP | _NOT_RELAYED | nominated(headers)
    chunked = any(key.lower() == b"transfer-encoding" for key, _ in headers)
    for key, value in headers:
        name = key.lower()
        if name in unwanted or name == b"location":
            continue
        # Both framings at once is an attack or a mistake; chunked wins.
        if not (chunked and name == b"content-length"):
            yield name, value
