"""A provider by configuration, and what a client's path becomes there.

Nothing the client says chooses the host: its path is appended to what the operator
wrote, or refused. A path that a lenient server would read as another one is refused,
for it could leave the folder that the operator named, with the operator's key.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias
from urllib.parse import quote, unquote_to_bytes, urlsplit

import msgspec
from starlette.types import Scope

from imagegate.upstream.client import PORTS, Origin, UpstreamError
from imagegate.upstream.credentials import Credential, PassThrough
from imagegate.upstream.headers import ACCOUNTS

# Visible ASCII; neither the end of a path, nor what some servers take for a slash.
_PATH = re.compile(rb"/[^\x00-\x20\x7f-\xff#?\\]*")
_QUERY = re.compile(rb"[^\x00-\x20\x7f-\xff#]*")
_KEYS = frozenset(
    (
        b"access-token",
        b"api-key",
        b"apikey",
        b"authorization",
        b"code",
        b"key",
        b"ocp-apim-subscription-key",
        b"sig",
        b"subscription-key",
        b"token",
    )
)
"""Parameters in which servers take a credential."""
_SAFE = re.compile(rb"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
"""What needs no closer look: nothing is encoded, and no segment begins with a dot."""
_SEGMENT_ENDS = re.compile(rb"[/\\;]")
Projects: TypeAlias = Literal["own", "client"]


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """A provider.

    Attributes:
        name: For messages.
        base: Scheme, host and perhaps a path: `https://api.openai.com`.
        credential: With what the provider is asked.
        withheld: Headers, in lower case, that tell who asks, and are not sent on.
        project: Whose project and organisation are asked for beside a credential of the
            gateway's: the credential's `own`, or those that a `client` names.
    """

    name: str
    base: str
    credential: Credential = msgspec.field(default_factory=PassThrough)
    withheld: frozenset[bytes] = frozenset()
    project: Projects = "own"

    def __post_init__(self) -> None:
        """Find mistakes when the gateway starts, not at the first request."""
        parts = urlsplit(self.base)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(f"expected http[s]://host[:port][/path]: {self.base!r}")
        if parts.username is not None or "?" in self.base or "#" in self.base:
            raise ValueError(f"neither credentials, query nor fragment: {self.base!r}")
        path = parts.path.encode()
        if path and (not _PATH.fullmatch(path) or _climbs(path)):
            raise ValueError(f"expected a plain path: {self.base!r}")
        self.origin.authority  # noqa: B018 - a host that is no ASCII raises

    @property
    def origin(self) -> Origin:
        """Whom to connect to."""
        return Origin.of(urlsplit(self.base))

    @property
    def kept_back(self) -> frozenset[bytes]:
        """Headers, in lower case, that are not sent on."""
        if self.project == "client" or isinstance(self.credential, PassThrough):
            return self.withheld
        return self.withheld | ACCOUNTS

    @property
    def path(self) -> bytes:
        """What stands before each path, without a slash at its end."""
        return urlsplit(self.base).path.rstrip("/").encode()


def path_of(scope: Scope) -> bytes:
    """Return the path below the mount point, spelled as the client spelled it."""
    raw = scope.get("raw_path")
    # Some servers put the query behind the raw path.
    path: bytes = quote(scope["path"]).encode() if raw is None else raw
    path = path.partition(b"?")[0].removeprefix(scope.get("root_path", "").encode())
    if not _SAFE.fullmatch(path) and (not _PATH.fullmatch(path) or _climbs(path)):
        raise UpstreamError("bad_target", status=400)
    return path


def query_of(scope: Scope, credential: Credential) -> bytes:
    """Return the query with its question mark; nothing when there is none.

    Where the gateway asks with a credential of its own, none of the client's goes
    along: neither in a header nor here.
    """
    query: bytes = scope.get("query_string", b"")
    if not query:
        return b""
    if not _QUERY.fullmatch(query):
        raise UpstreamError("bad_target", status=400)
    if not isinstance(credential, PassThrough):
        query = b"&".join(part for part in query.split(b"&") if not _is_key(part))
    return b"?" + query if query else b""


def _is_key(parameter: bytes) -> bool:
    name = unquote_to_bytes(parameter.partition(b"=")[0]).lower()
    return name.strip().replace(b"_", b"-") in _KEYS


def _climbs(path: bytes) -> bool:
    """Whether a segment is `.` or `..`, however often it is encoded."""
    while b"%" in path and (decoded := unquote_to_bytes(path)) != path:
        path = decoded
    return any(part in (b".", b"..") for part in _SEGMENT_ENDS.split(path))
