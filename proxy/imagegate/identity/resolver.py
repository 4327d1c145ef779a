"""Saying who asks, by whichever way the operator has chosen."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import Scope

from imagegate.engine.policy import ANONYMOUS, Principal
from imagegate.identity.front import Front
from imagegate.identity.keyring import KeyRing
from imagegate.identity.presented import CredentialHeader, presented
from imagegate.identity.refusals import no_credential, wrong_key
from imagegate.identity.secret import PREFIX, read_secret

Clock = Callable[[], datetime.datetime]


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


def identify_by(
    *,
    keys: KeyRing | None = None,
    front: Front | None = None,
    header: CredentialHeader = "authorization",
    required: bool = True,
    clock: Clock = _now,
) -> Callable[[Scope], Awaitable[Principal]]:
    """Return what says who asks, for `PolicyMiddleware(identify=…)`.

    Args:
        keys: The keys of our own.
        front: Whose headers are believed where no credential is shown: one that is
            wrong is refused, whoever vouches.
        header: Where a client's credential is.
        required: Whoever shows nothing is refused, and not anonymous. What is shown
            and wrong is refused in any case.
        clock: What time it is.

    Raises:
        ValueError: When nobody could be identified.
    """
    if keys is None and front is None:
        raise ValueError("say by what: `keys` or `front`")
    return _Resolver(
        keys=keys, front=front, header=header, required=required, clock=clock
    ).identify


class _Resolver:
    """The ways that there are; never written to after it is made."""

    def __init__(
        self,
        *,
        keys: KeyRing | None,
        front: Front | None,
        header: CredentialHeader,
        required: bool,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._front = front
        self._header: Final = header
        self._required = required
        self._clock = clock
        self._ways = frozenset(["key"] if keys else [])

    async def identify(self, scope: Scope) -> Principal:
        """Say who asks, from the head of a request.

        Raises:
            MalformedRequest: For a credential that is wrong, or missing.
        """
        shown = presented(scope["headers"], self._header) if self._ways else None
        if shown is not None and shown.startswith(PREFIX):
            return await self._by_key(shown)
        named = None if self._front is None else self._front.who(scope)
        if named is None and self._required:
            if shown is not None:
                raise wrong_key()
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
            raise wrong_key(state, who=who.id)
        return who
