"""A provider of identities by OIDC, and where it publishes its keys.

The reader of tokens, PyJWT, is an extra: `pip install 'imagegate[jwt]'`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from imagegate.engine.policy import Principal
from imagegate.identity.claims import principal_of
from imagegate.identity.published import Published, PublishedError

if TYPE_CHECKING:
    from imagegate.identity.jwks import KeySet
    from imagegate.identity.token import Head

Fetch = Callable[[str], Awaitable[tuple[bytes, float | None]]]
"""Fetches a document of an address, and says for how many seconds it holds. It follows
no redirects, takes no more than a megabyte, and raises for anything but a 200."""

USUAL: Final = ("RS256", "ES256", "EdDSA")
_TAKEN: Final = frozenset({"key", "user"})
_FILE_SECONDS: Final = 60.0


class MissingExtraError(Exception):
    """PyJWT is not installed."""


def check_installed() -> None:
    """Say what to install, where it is missing.

    Raises:
        MissingExtraError: With the command.
    """
    if find_spec("jwt") is None or find_spec("cryptography") is None:
        raise MissingExtraError("tokens need PyJWT: pip install 'imagegate[jwt]'")


class Issuer:
    """Reads the tokens of one provider; never written to after it is made."""

    def __init__(  # noqa: PLR0913 - what an operator says of a provider
        self,
        issuer: str,
        audience: Sequence[str],
        *,
        fetch: Fetch | None = None,
        jwks: str | Path | None = None,
        algorithms: Sequence[str] = USUAL,
        user: str = "sub",
        team: str = "groups",
        attributes: Mapping[str, str] | None = None,
        leeway: float = 30.0,
        stale: float = 14_400.0,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe a provider; nothing is fetched before a request needs it.

        Args:
            issuer: The `iss` of its tokens, to the letter.
            audience: What stands in their `aud`: any of these.
            fetch: Fetches documents.
            jwks: The address or the file of its keys; without, the provider is asked
                for it at `/.well-known/openid-configuration`.
            algorithms: With which tokens may be signed.
            user: The claim that names who asks.
            team: The one that lists teams; empty for none.
            attributes: Other claims by the attributes that policies match on.
            leeway: Seconds by which clocks may differ.
            stale: Seconds for which keys hold that could not be renewed.
            name: Tells the users of several providers apart.
            clock: Seconds that never go back.

        Raises:
            MissingExtraError: Without PyJWT.
            ValueError: For what could not be verified, or not be had safely.
        """
        check_installed()
        from imagegate.identity.jwks import ALGORITHMS, read_jwks  # noqa: PLC0415 - an extra

        if not issuer or not audience or not all(audience):
            raise ValueError("say whose tokens, and for whom: `issuer` and `audience`")
        wrong = [each for each in algorithms if each not in ALGORITHMS]
        if wrong or not algorithms:
            known = ", ".join(ALGORITHMS)
            raise ValueError(f"{wrong or 'no algorithm'}: choose of {known}")
        said = {**(attributes or {}), **({"team": team} if team else {})}
        if _TAKEN & said.keys() or "team" in (attributes or {}):
            raise ValueError("`key`, `team` and `user` are no attributes of their own")
        self.issuer: Final = issuer
        self._audience = tuple(audience)
        self._algorithms = tuple(algorithms)
        self._user = user
        self._attributes = said
        self._leeway = leeway
        self._label = f"jwt:{name}" if name else "jwt"
        self._source = _source(issuer, jwks, fetch)
        self._read = partial(read_jwks, algorithms=self._algorithms)
        self._published = Published(
            self._source,
            self._read,
            stale=stale,
            name=issuer,
            clock=clock,
        )

    async def look(self) -> list[str]:
        """Fetch its keys, and return with what tokens can be signed that they prove.

        Raises:
            Exception: What fetching raises; a `PublishedError` says why.
        """
        data, _ = await self._source()
        return self._read(data).algorithms

    async def who(self, token: str) -> Principal:
        """Return who asks with a token.

        Raises:
            MalformedRequest: When it proves nothing.
        """
        from imagegate.identity.token import claims_of, head_of  # noqa: PLC0415 - an extra

        head = head_of(token, self._algorithms)
        keys = await self._published.keys(partial(_known, head))
        claims = claims_of(
            token,
            head,
            keys,
            issuer=self.issuer,
            audience=self._audience,
            leeway=self._leeway,
        )
        return principal_of(
            claims,
            user=self._user,
            attributes=self._attributes,
            source=self._label,
            proof=f"issuer {self.issuer}",
        )


def _known(head: Head, keys: KeySet) -> bool:
    return bool(keys.for_token(head.kid, head.alg))


class _Configuration(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


def _source(
    issuer: str, jwks: str | Path | None, fetch: Fetch | None
) -> Callable[[], Awaitable[tuple[bytes, float | None]]]:
    """Return what fetches the keys."""
    if isinstance(jwks, Path):
        return partial(_read, jwks)
    if fetch is None:
        raise ValueError("say what fetches the keys: `fetch`, or a file for `jwks`")
    check_address(jwks or issuer)
    if jwks is not None:
        return partial(fetch, jwks)
    return partial(_discovered, issuer, fetch)


async def _read(file: Path) -> tuple[bytes, float]:
    return await asyncio.to_thread(file.read_bytes), _FILE_SECONDS


async def _discovered(issuer: str, fetch: Fetch) -> tuple[bytes, float | None]:
    """Ask a provider where its keys are, and fetch them."""
    said, _ = await fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    try:
        configuration = msgspec.json.decode(said, type=_Configuration)
    except (ValueError, RecursionError):
        raise PublishedError("its configuration cannot be read") from None
    if configuration.issuer != issuer:
        raise PublishedError("its configuration names another `issuer`, to the letter")
    try:
        check_address(configuration.jwks_uri)
    except ValueError:
        raise PublishedError("its `jwks_uri` is no address to be trusted") from None
    return await fetch(configuration.jwks_uri)


def check_address(url: str) -> None:
    """Refuse an address where anybody on the way could put keys of their own.

    Raises:
        ValueError: With what would be right.
    """
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and " " not in url
    safe = parts.scheme == "https" or _is_here(parts.hostname or "")
    known = parts.scheme in {"http", "https"} and parts.hostname
    if not (plain and known and safe) or parts.username or parts.fragment:
        raise ValueError(f"expected an address such as https://login.example: {url!r}")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
