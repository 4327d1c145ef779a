"""Sights in Redis or Valkey, shared by any number of gateways.

Their keys are hashes, which tell neither who asked nor what an answer was called. Who
can write to the server can make anything seen: it belongs to the gateways alone.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from imagegate.engine.policy import Principal
from imagegate.redis_server import connected
from imagegate.seen.store import DAYS, Sight, SightLost, owner_of

_DAY: Final = 86_400
_PATIENCE: Final = 0.25
_PAUSE: Final = 1.0
"""Seconds for which nobody asks after one was not answered: an outage must not cost
each request its whole patience.
"""


class RedisSeen:
    """Keeps sights where several gateways find them."""

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        prefix: str = "imagegate",
        days: float = DAYS,
    ) -> None:
        """Describe the server; nothing is asked of it yet."""
        self._redis, self._errors = connected(url, password=password, seconds=_PATIENCE)
        self._prefix = prefix
        self._keep = math.ceil(days * _DAY)
        self._quiet_until = 0.0

    async def note(self, who: Principal, ids: Iterable[str], sight: Sight) -> None:
        """Keep what the state under these ids holds."""
        self._check()
        data = msgspec.json.encode(sight)
        try:
            async with self._redis.pipeline(transaction=False) as line:
                for name in ids:
                    line.set(self._key(who, name), data, ex=self._keep)
                await line.execute()
        except self._errors as error:
            raise self._lost(error) from error

    async def find(self, who: Principal, ids: Iterable[str]) -> Mapping[str, Sight]:
        """Return what is known of these ids for this principal."""
        self._check()
        names = list(ids)
        if not names:
            return {}
        try:
            rows = await self._redis.mget([self._key(who, name) for name in names])
        except self._errors as error:
            raise self._lost(error) from error
        try:
            return {
                name: msgspec.json.decode(row, type=Sight)
                for name, row in zip(names, rows, strict=True)
                if row is not None
            }
        except msgspec.MsgspecError as error:
            raise SightLost("what is kept there is no sight") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _key(self, who: Principal, name: str) -> str:
        owner = owner_of(who)
        whole = f"{len(owner)}:{owner}{name}".encode(errors="surrogatepass")
        return f"{self._prefix}:seen:{hashlib.sha256(whole).hexdigest()}"

    def _check(self) -> None:
        if time.monotonic() < self._quiet_until:
            raise SightLost("the server did not answer a moment ago")

    def _lost(self, error: Exception) -> SightLost:
        """Begin a pause; its text may quote what was sent, and is not told."""
        self._quiet_until = time.monotonic() + _PAUSE
        return SightLost(type(error).__name__)
