"""Sights in Redis or Valkey, shared by any number of gateways.

Their keys are hashes, which tell neither who asked nor what an answer was called. Who
can write to the server can make anything seen: it belongs to the gateways alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from imagegate.engine.policy import Principal
from imagegate.patience import Patience
from imagegate.redis_server import AT_ONCE, connected
from imagegate.seen.store import DAYS, Sight, SightLost, joined, owner_of

_DAY: Final = 86_400
_PATIENCE: Final = 0.25  # for one question, all that it takes
_TRIES: Final = 16
"""How often a sight is joined with what others keep there meanwhile."""
_REPLACE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
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
        self._redis, self._errors = connected(url, password=password)
        self._replace = self._redis.register_script(_REPLACE)
        self._prefix = prefix
        self._keep = math.ceil(days * _DAY)
        self._quiet_until = 0.0
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def note(self, who: Principal, ids: Iterable[str], sight: Sight) -> None:
        """Keep what the state under these ids holds, beside what it held before."""
        data, keys = msgspec.json.encode(sight), [self._key(who, name) for name in ids]
        try:
            async with self._asking():
                await self._note(keys, data, sight)
        except self._errors as error:
            raise self._lost(error) from error
        except msgspec.MsgspecError as error:
            raise SightLost("what is kept there is no sight") from error

    async def _note(self, keys: Sequence[str], data: bytes, sight: Sight) -> None:
        async with self._redis.pipeline(transaction=False) as line:
            for key in keys:
                line.set(key, data, ex=self._keep, nx=True)
            kept = await line.execute()
        for key, new in zip(keys, kept, strict=True):
            if not new:
                await self._join(key, sight)

    async def _join(self, key: str, sight: Sight) -> None:
        """Join a sight with what is kept, whatever others do there meanwhile."""
        for _ in range(_TRIES):
            known = await self._redis.get(key)
            if known is None:
                data = msgspec.json.encode(sight)
                if await self._redis.set(key, data, ex=self._keep, nx=True):
                    return
                continue
            both = joined(msgspec.json.decode(known, type=Sight), sight)
            said = [known, msgspec.json.encode(both), self._keep]
            if await self._replace(keys=[key], args=said):
                return
        await self._redis.delete(key)
        raise SightLost("too many keep something there at once")

    async def find(self, who: Principal, ids: Iterable[str]) -> Mapping[str, Sight]:
        """Return what is known of these ids for this principal."""
        names = list(ids)
        if not names:
            return {}
        try:
            async with self._asking():
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

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Ask one question when it is its turn, unless none was answered just now."""
        async with self._turns:
            if time.monotonic() < self._quiet_until:
                raise SightLost("the server did not answer a moment ago")
            async with Patience(_PATIENCE):
                yield

    def _lost(self, error: Exception) -> SightLost:
        """Begin a pause; its text may quote what was sent, and is not told."""
        self._quiet_until = time.monotonic() + _PAUSE
        return SightLost(type(error).__name__)
