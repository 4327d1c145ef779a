"""Which headers go on, in both directions.

It follows from their names, and those are the same all day long: so it is found out
once for each list of names. No value is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

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

ACCOUNTS = frozenset((b"openai-organization", b"openai-project"))
"""What a key is used for, and who pays: its owner's to say."""

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

_SAID_BY_FRONTS = (
    b"cf-access-",
    b"remote-",  # Authelia's, and what CGI calls them
    b"x-amzn-oidc-",
    b"x-auth-request-",  # oauth2-proxy's
    b"x-authentik-",
    b"x-goog-authenticated-user-",
    b"x-goog-iap-",
    b"x-ms-client-principal",  # of Azure's App Service, like the next
    b"x-ms-token-",
    b"x-pomerium-",
    b"x-vouch-",
)
"""Who asks, and with which tokens, by those who authenticate in front of servers."""

_PREFIXES = (
    b"proxy-",
    b"sec-websocket-",
    b"x-forwarded-",
    b"x-imagegate-",
    *_SAID_BY_FRONTS,
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
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_NOTHING: frozenset[bytes] = frozenset()
_IN_A_VALUE = b"\t" + bytes(set(range(0x20, 0x100)) - {0x7F})
_WITHOUT_BODY = (204, 304)
_MAX_HEADS: Final = 64
"""How many lists of names are remembered, each for as much as a head may have."""
_Names: TypeAlias = tuple[bytes, ...]
Pairs: TypeAlias = list[tuple[bytes, bytes]]
_Places: TypeAlias = tuple[tuple[int, bytes], ...]
"""Which headers, and their names in lower case."""


class _Onward(NamedTuple):
    """What becomes of headers of a direction, by their names.

    Attributes:
        places: Which go on.
        connection: Where `Connection` says that others do not.
        framed: Where the body ends is told once, at most.
    """

    places: _Places
    connection: tuple[int, ...]
    framed: bool

    def picked(self, headers: Headers, *, counted: bool = True) -> Pairs:
        """Return the headers that go on.

        Args:
            headers: All of them.
            counted: Whether the length is among them.
        """
        if counted and not self.connection:
            return [(name, headers[at][1]) for at, name in self.places]
        unwanted = self._nominated(headers)
        if not counted:
            unwanted |= _COUNTED
        return [(n, headers[at][1]) for at, n in self.places if n not in unwanted]

    def _nominated(self, headers: Headers) -> frozenset[bytes]:
        """Return what is about this connection only because `Connection` says so."""
        said = b",".join([headers[at][1] for at in self.connection]).lower().split(b",")
        return frozenset(map(bytes.strip, said)) - _ESSENTIAL - _HOP_BY_HOP


def to_upstream(headers: Headers, withheld: frozenset[bytes] = _NOTHING) -> Pairs:
    """Return the client's headers that the provider gets, its credential excepted.

    A name with an underscore is dropped: some servers read it as its twin with a
    hyphen, and would see two of what was judged as one.

    Args:
        headers: The client's.
        withheld: Those that are not the provider's business either.
    """
    return _upward(tuple([name for name, _ in headers]), withheld).picked(headers)


def to_client(headers: Headers, *, status: int) -> Pairs:
    """Return the provider's headers that the client gets.

    Raises:
        UpstreamError: For a head that could be read in two ways, or not relayed.
    """
    onward = _downward(tuple([name for name, _ in headers]))
    if (
        not 200 <= status < 600  # noqa: PLR2004 - what a final answer can be
        or not onward.framed
        or b"".join([value for _, value in headers]).translate(None, _IN_A_VALUE)
    ):
        raise UpstreamError("answer_malformed", status=502)
    # A length of a body that is not sent is dropped: servers wait for it.
    return onward.picked(headers, counted=status not in _WITHOUT_BODY)


def credentials_in(headers: Headers) -> Pairs:
    """Return the headers in which a client shows its credential."""
    places = _shown(tuple([name for name, _ in headers]))
    return [(name, headers[at][1]) for at, name in places]


@lru_cache(_MAX_HEADS)
def _shown(names: _Names) -> _Places:
    lower = enumerate(map(bytes.lower, names))
    return tuple([(at, name) for at, name in lower if name in CREDENTIALS])


@lru_cache(_MAX_HEADS)
def _upward(names: _Names, withheld: frozenset[bytes]) -> _Onward:
    def goes(name: bytes) -> bool:
        ours = name in _NOT_THEIRS or name in withheld
        return not ours and b"_" not in name and not name.startswith(_PREFIXES)

    return _onward(names, goes)


@lru_cache(_MAX_HEADS)
def _downward(names: _Names) -> _Onward:
    def goes(name: bytes) -> bool:
        ours = name.startswith((b"proxy-", b"sec-websocket-"))
        return name not in _NOT_THE_CLIENTS and not ours

    return _onward(names, goes)


def _onward(names: _Names, goes: Callable[[bytes], bool]) -> _Onward:
    lower = [*map(bytes.lower, names)]
    return _Onward(
        places=tuple([(at, name) for at, name in enumerate(lower) if goes(name)]),
        connection=tuple([at for at, n in enumerate(lower) if n == b"connection"]),
        framed=not _FRAMING.issubset(lower),
    )
