"""Saying who asks, by whichever way the operator has chosen."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from starlette.types import Scope

from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.identity.front import Front
from imagegate.identity.issuer import Issuer
from imagegate.identity.keyring import KeyRing
from imagegate.identity.presented import (
    CredentialHeader,
    looks_like_token,
    presented,
)
from imagegate.identity.refusals import (
    former_key,
    no_credential,
    unknown_credential,
    wrong_key,
    wrong_token,
)
from imagegate.identity.secret import PREFIX, read_secret

Clock = Callable[[], datetime.datetime]


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


def identify_by(  # noqa: PLR0913 - the ways that there are
    *,
    keys: KeyRing | None = None,
    issuers: Sequence[Issuer] = (),
    front: Front | None = None,
    header: CredentialHeader = "authorization",
    required: bool = True,
    clock: Clock = _now,
) -> Callable[[Scope], Awaitable[Principal]]:
    """Return what says who asks, for `PolicyMiddleware(identify=…)`.

    Args:
        keys: The keys of our own.
        issuers: The providers whose tokens are taken.
        front: Whose headers are believed where no credential is shown: one that is
            wrong is refused, whoever vouches.
        header: Where a client's credential is.
        required: Whoever shows nothing is refused, and not anonymous. What is shown
            and wrong is refused in any case.
        clock: What time it is.

    Raises:
        ValueError: When nobody could be identified.
    """
    if not (keys or issuers or front):
        raise ValueError("say by what: `keys`, `issuers` or `front`")
    return _Resolver(
        keys=keys,
        issuers=issuers,
        front=front,
        header=header,
        required=required,
        clock=clock,
    ).identify


class _Resolver:
    """The ways that there are; never written to after it is made."""

    def __init__(  # noqa: PLR0913 - the same
        self,
        *,
        keys: KeyRing | None,
        issuers: Sequence[Issuer],
        front: Front | None,
        header: CredentialHeader,
        required: bool,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._issuers = {each.issuer: each for each in issuers}
        self._front = front
        self._header: Final = header
        self._required = required
        self._clock = clock
        ways = {"key": keys, "jwt": issuers}
        self._ways = frozenset(way for way, there in ways.items() if there)

    async def identify(self, scope: Scope) -> Principal:
        """Say who asks, from the head of a request.

        Raises:
            MalformedRequest: For a credential that is wrong, or missing.
        """
        shown = presented(scope["headers"], self._header) if self._ways else None
        if shown is not None and shown.startswith(PREFIX):
            return await self._by_key(shown)
        if shown is not None and self._issuers and looks_like_token(shown):
            return await self._by_token(shown)
        named = None if self._front is None else self._front.who(scope)
        if named is None and self._required:
            if shown is not None:
                raise unknown_credential(self._ways)
            raise no_credential(self._ways, self._header)
        return named or ANONYMOUS

    async def _by_key(self, shown: str) -> Principal:
        secret = read_secret(shown)
        if secret is None or self._keys is None:
            raise wrong_key()
        found = (await self._keys.keys()).find(secret)
        if found is None:
            raise wrong_key()
        key, who = found
        state = key.state(self._clock())
        if state != "active":
            raise former_key(state, who)
        return who

    async def _by_token(self, shown: str) -> Principal:
        from imagegate.identity.token import issuer_in  # noqa: PLC0415 - an extra

        issuer = self._issuers.get(issuer_in(shown))
        if issuer is None:
            raise wrong_token("is of an issuer that is not taken here")
        return await issuer.who(shown)
