"""What an operator chooses about who is asking, as types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from imagegate.identity.front import Front
from imagegate.identity.issuer import USUAL, Fetch, Issuer
from imagegate.identity.labels import is_label
from imagegate.identity.presented import CredentialHeader


class KeyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of our own.

    Attributes:
        file: What `imagegate keys` keeps; read again when it changes.
    """

    file: Path | None = None


class HeaderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Headers in which a front says who asks.

    Attributes:
        peers: The addresses of the front, or networks where nobody else is.
        user: The header that names who asks.
        team: The one that lists teams, with commas between.
        attributes: Others, each as `ATTRIBUTE=HEADER`.
    """

    peers: tuple[str, ...] = ()
    user: str = "x-forwarded-user"
    team: str = "x-forwarded-groups"
    attributes: tuple[str, ...] = ()


class TokenOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Bearer tokens of a provider of identities, by OIDC.

    Attributes:
        issuer: The `iss` of its tokens; without one, none are taken.
        audience: What stands in their `aud`: any of these.
        algorithms: With which they may be signed.
        jwks_url: Where its keys are; without, the provider is asked.
        jwks_file: The same in a file.
        user: The claim that names who asks.
        team: The one that lists teams.
        attributes: Others, each as `ATTRIBUTE=CLAIM`.
        leeway_seconds: By which clocks may differ.
        stale_seconds: For which keys hold that could not be renewed.
    """

    issuer: str | None = None
    audience: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = USUAL
    jwks_url: str | None = None
    jwks_file: Path | None = None
    user: str = "sub"
    team: str = "groups"
    attributes: tuple[str, ...] = ()
    leeway_seconds: float = 30.0
    stale_seconds: float = 14_400.0


class IdentityOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How it is found out who asks; without any of it, nobody is asked.

    Attributes:
        required: Whoever shows nothing is refused, and not anonymous.
        header: Where a client's credential for this gateway is: `authorization`, with
            `api-key` beside it, or a header of its own next to a provider's key.
        keys: The keys of our own.
        headers: What a front says.
        jwt: Tokens of a provider of identities.
    """

    required: bool = True
    header: CredentialHeader = "authorization"
    keys: KeyOptions = msgspec.field(default_factory=KeyOptions)
    headers: HeaderOptions = msgspec.field(default_factory=HeaderOptions)
    jwt: TokenOptions = msgspec.field(default_factory=TokenOptions)

    @property
    def by_credential(self) -> bool:
        """Whether clients show something that is meant for this gateway."""
        return self.keys.file is not None or self.jwt.issuer is not None

    @property
    def chosen(self) -> bool:
        """Whether anybody can be identified."""
        return self.by_credential or bool(self.headers.peers)

    @property
    def closed(self) -> bool:
        """Whether nobody gets by who is not identified."""
        return self.chosen and self.required


def front_of(options: HeaderOptions) -> Front | None:
    """Return the front; None when there is none.

    Raises:
        ValueError: With what would be right.
    """
    if not options.peers:
        return None
    return Front(
        options.peers,
        user=options.user,
        team=options.team,
        attributes=read_pairs(options.attributes),
    )


def issuer_of(options: TokenOptions, fetch: Fetch) -> Issuer | None:
    """Return the provider of identities; None when there is none.

    Raises:
        MissingExtraError: Without the reader of tokens.
        ValueError: With what would be right.
    """
    if options.issuer is None:
        if options != TokenOptions():
            raise ValueError("say whose tokens: `identity.jwt.issuer`")
        return None
    if options.jwks_url and options.jwks_file:
        raise ValueError("its keys are at an address or in a file, not in both")
    return Issuer(
        options.issuer,
        options.audience,
        fetch=fetch,
        jwks=options.jwks_file or options.jwks_url,
        algorithms=options.algorithms,
        user=options.user,
        team=options.team,
        attributes=read_pairs(options.attributes),
        leeway=options.leeway_seconds,
        stale=options.stale_seconds,
    )


def read_pairs(said: Sequence[str]) -> dict[str, str]:
    """Read `ATTRIBUTE=WHERE`; a name alone is both.

    Raises:
        ValueError: When an attribute comes twice, or is no name.
    """
    found: dict[str, str] = {}
    for each in said:
        name, _, where = each.partition("=")
        if not is_label(name) or name in found:
            raise ValueError(f"{each!r}: write ATTRIBUTE=WHERE, each attribute once")
        found[name] = where or name
    return found
