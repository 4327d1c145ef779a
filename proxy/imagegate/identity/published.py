"""Keys that an identity provider publishes, fetched when they are needed, and kept.

Nobody waits for a fetch while there are keys: they are renewed behind the requests,
and the old ones hold for a bounded time if that fails. A token with a key that is not
known yet makes one fetch, and others wait for that; a flood of them makes one every few
seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from imagegate import log
from imagegate.identity.refusals import unavailable

if TYPE_CHECKING:
    from imagegate.identity.jwks import KeySet

Source = Callable[[], Awaitable[tuple[bytes, float | None]]]
"""Fetches a document, and says for how many seconds it holds, if its server does."""


AGAIN_SECONDS: Final = 10.0
"""Between two fetches, whatever is asked."""
FETCH_SECONDS: Final = 10.0
UNTENDED_SECONDS: Final = 60.0
"""Behind the time of keys, in which a request would have had them renewed. Where none
came they may be days old, and are looked at before the next one is answered.
"""
_USUAL: Final = 3600.0
_LEAST, _MOST = 60.0, 86_400.0


class PublishedError(Exception):
    """Why keys cannot be used, in words of ours that the log may tell."""


class Published:
    """The keys of one issuer.

    Args:
        source: Fetches them.
        read: Reads them; raises for what is none.
        stale: How many seconds keys hold that could not be renewed.
        name: For the log.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        source: Source,
        read: Callable[[bytes], KeySet],
        *,
        stale: float,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._read = read
        self._stale = stale
        self._name = name
        self._clock = clock
        self._keys: KeySet | None = None
        self._fresh_until = self._until = self._again = 0.0
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def keys(self, known: Callable[[KeySet], bool]) -> KeySet:
        """Return the keys, after another look at the provider if one is missing.

        Raises:
            MalformedRequest: When there are none, or the one that is missing cannot be
                looked for; nobody can tell who asks then.
        """
        held = self._held()
        if held is None or not known(held) or self._untended():
            await self._fetched()
        elif self._clock() >= self._fresh_until:
            self._fetch()
        held = self._held()
        # A key that is not known may be a new one, as long as nobody can say.
        if held is None or (self._failed and not known(held)):
            raise unavailable()
        return held

    def _untended(self) -> bool:
        """Whether keys are old, and nobody has tried of late to renew them."""
        tended = max(self._fresh_until, self._again)
        return self._clock() >= tended + UNTENDED_SECONDS

    def _held(self) -> KeySet | None:
        return self._keys if self._clock() < self._until else None

    async def _fetched(self) -> None:
        task = self._fetch()
        if task is not None:
            # A client that leaves does not take the keys from the others.
            await asyncio.shield(task)

    def _fetch(self) -> asyncio.Task[None] | None:
        """Fetch, or join who does; None when that was just tried."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._clock()
        if now < self._again:
            return None
        self._again = now + AGAIN_SECONDS
        self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                data, seconds = await self._source()
            keys = self._read(data)
        except Exception as error:  # noqa: BLE001 - whatever a source raises
            self._failed = True
            said = {"issuer": self._name, "still_held": self._held() is not None}
            log.error("imagegate.jwks_not_fetched", **said, **_why(error))
            return
        if self._failed or self._keys is None:
            log.info("imagegate.jwks_fetched", issuer=self._name)
        self._failed = False
        now, given = self._clock(), _USUAL if seconds is None else seconds
        self._keys = keys
        self._fresh_until = now + min(max(given, _LEAST), _MOST)
        self._until = self._fresh_until + self._stale


def _why(error: Exception) -> dict[str, str]:
    """Say what was wrong, as far as it is ours to say, and where."""
    told = isinstance(error, PublishedError)
    problem = str(error) if told else str(getattr(error, "code", ""))
    return {**({"problem": problem} if problem else {}), **log.place_of(error)}
