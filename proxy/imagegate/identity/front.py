"""Headers in which a front says who asks: believed of listed peers, and of nobody else.

The peer is the other end of the connection, as the server knows it, and nothing that
a header says of it. From any other peer these headers are as if they were not there; a
front that lets its clients' own through is not a front, so from a listed one a second
header, or a twin with an underscore, is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final

from starlette.types import Scope

from imagegate.engine.policy import Principal
from imagegate.identity.labels import MOST_VALUES, is_label
from imagegate.identity.refusals import bad_header

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_TAKEN: Final = frozenset({"key", "team", "user"})
_CREDENTIALS: Final = frozenset({"authorization", "api-key", "x-imagegate-key"})


class Front:
    """What stands before the gateway, asks who is there, and says so in headers.

    Args:
        peers: Its addresses, or networks in which nobody else is: `10.0.0.7/32`.
        user: The header that names who asks.
        team: The one that lists teams, with commas between; empty for none.
        attributes: Other headers by the attributes that policies match on.

    Raises:
        ValueError: For peers that are no networks, or everybody, and for names that
            are no headers.
    """

    def __init__(
        self,
        peers: Sequence[str],
        *,
        user: str = "x-forwarded-user",
        team: str = "x-forwarded-groups",
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        self._peers = [_network(each) for each in peers]
        if not self._peers:
            raise ValueError("say which peers are believed")
        said = {**(attributes or {}), "user": user}
        if team:
            said["team"] = team
        if _TAKEN & (attributes or {}).keys():
            raise ValueError("`key`, `team` and `user` are no attributes of their own")
        self._named = {name: header.lower() for name, header in said.items()}
        names = [*self._named.values()]
        for each in names:
            if not _NAME.fullmatch(each) or each in _CREDENTIALS:
                raise ValueError(f"{each!r} is no header that says who asks")
        if len(set(names)) < len(names):
            raise ValueError("two attributes cannot come from one header")

    @property
    def headers(self) -> frozenset[bytes]:
        """The names of the headers: no provider's business."""
        return frozenset(name.encode() for name in self._named.values())

    def who(self, scope: Scope) -> Principal | None:
        """Return whom the front names; None when it names nobody.

        Raises:
            MalformedRequest: For what no front can have meant.
        """
        peer = _peer_of(scope)
        if peer is None or not any(peer in each for each in self._peers):
            return None
        said = self._said(scope)
        user = said.get(self._named["user"], "")
        if not user:
            return None
        attributes: dict[str, tuple[str, ...]] = {
            "user": (_label(self._named["user"], user),)
        }
        for name, header in self._named.items():
            if name != "user" and (values := _listed(header, said.get(header, ""))):
                attributes[name] = values
        return Principal(
            id=user,
            attributes=attributes,
            verified=True,
            source="header",
            proof=f"front {peer}",
        )

    def _said(self, scope: Scope) -> dict[str, str]:
        """Return the headers that count, each of which may come once."""
        found: dict[str, str] = {}
        names = frozenset(self._named.values())
        for key, value in scope["headers"]:
            name = key.decode("latin-1").lower()
            plain = name.replace("_", "-")
            if plain in names and (plain != name or plain in found):
                raise bad_header(plain, "comes twice, or as a twin")
            if plain in names:
                found[plain] = _text(plain, value)
        return found


def _network(text: str) -> _Network:
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}: write 10.0.0.7/32, or 10.1.0.0/16") from None
    if not found.prefixlen:
        raise ValueError(f"{text} is everybody, who could then be anybody")
    return found


def _peer_of(scope: Scope) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address at the other end; a mapped one as what it stands for."""
    client = scope.get("client")
    try:
        found = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode().strip(" \t")
    except UnicodeDecodeError:
        raise bad_header(name, "is no UTF-8") from None


def _label(name: str, text: str) -> str:
    if not is_label(text):
        raise bad_header(name, "holds what no name has")
    return text


def _listed(name: str, text: str) -> tuple[str, ...]:
    values = [each.strip(" \t") for each in text.split(",")]
    if len(values) > MOST_VALUES:
        raise bad_header(name, f"lists more than {MOST_VALUES} values")
    return tuple(_label(name, each) for each in values if each)
