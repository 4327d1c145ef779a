"""Which headers go on, in both directions."""

from __future__ import annotations

from collections.abc import Iterator

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
_NOTHING: frozenset[bytes] = frozenset()
_IN_A_VALUE = b"\t" + bytes(set(range(0x20, 0x100)) - {0x7F})
_WITHOUT_BODY = (204, 304)


def _nominated(headers: Headers) -> frozenset[bytes]:
    """Return the names that `Connection` says belong to this connection only."""
    said = [value for key, value in headers if key.lower() == b"connection"]
    if not said:
        return _NOTHING
    names = {name.strip().lower() for value in said for name in value.split(b",")}
    return frozenset(names - _ESSENTIAL)


def to_upstream(
    headers: Headers, withheld: frozenset[bytes] = frozenset()
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the client's headers that the provider gets, its credential excepted.

    A name with an underscore is dropped: some servers read it as its twin with a
    hyphen, and would see two of what was judged as one.

    Args:
        headers: The client's.
        withheld: Those that are not the provider's business either.
    """
    unwanted = _NOT_THEIRS | withheld | _nominated(headers)
    for key, value in headers:
        name = key.lower()
        if name in unwanted or b"_" in name or name.startswith(_PREFIXES):
            continue
        yield name, value


def to_client(headers: Headers, *, status: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the provider's headers that the client gets."""
    unwanted = _NOT_THE_CLIENTS | _nominated(headers)
    if status in _WITHOUT_BODY:
        # It counts a body that is not sent, and servers wait for it.
        unwanted |= {b"content-length"}
    for key, value in headers:
        name = key.lower()
        if name not in unwanted and not name.startswith(b"proxy-"):
            yield name, value


def check_answer(status: int, headers: Headers) -> None:
    """Refuse the head of an answer that could be read in two ways, or not relayed."""
    names = {key.lower() for key, _ in headers}
    if (
        not 200 <= status < 600  # noqa: PLR2004 - what a final answer can be
        or {b"content-length", b"transfer-encoding"} <= names
        or b"".join([value for _, value in headers]).translate(None, _IN_A_VALUE)
    ):
        raise UpstreamError("answer_malformed", status=502)
