"""Counters in Redis or Valkey, shared by any number of gateways.

Each call is one script, which the server runs as a whole. Keys end by themselves, an
hour after their window. Their names tell what is counted, and never who.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from imagegate.quotas.store import (
    BACKGROUND_SECONDS,
    HOLD_SECONDS,
    SLACK,
    QuotasLost,
    Reading,
    Slot,
    Step,
    held_until,
)
from imagegate.redis_server import connected

_WORTH: Final = """
local function forget(held, worth, till)
  for _, place in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', till)) do
    redis.call('ZREM', worth, place)
  end
  redis.call('ZREMRANGEBYSCORE', held, '-inf', till)
end
local function worth_of(worth)
  local sum = 0
  local kept = redis.call('ZRANGEBYSCORE', worth, '-inf', '+inf', 'WITHSCORES')
  for at = 2, #kept, 2 do sum = sum + tonumber(kept[at]) end
  return sum
end
"""
"""Money: a second set has the worth of each place, beside the one of its end."""
_TAKE: Final = f"""{_WORTH}
local now, till, places = ARGV[1], ARGV[2], tonumber(ARGV[3])
local found = {{}}
for i = 1, #KEYS, 3 do
  local used, held, worth = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local slot = 4 + places + (i - 1)
  local holds, price = ARGV[slot + 1], ARGV[slot + 2]
  found[#found + 1] = tonumber(redis.call('GET', used) or '0')
  if holds == '1' then
    if price == '' then
      redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
      found[#found + 1] = redis.call('ZCARD', held)
    else
      forget(held, worth, now)
      found[#found + 1] = worth_of(worth)
    end
    for j = 1, places do
      redis.call('ZADD', held, till, ARGV[3 + j])
      if price ~= '' then redis.call('ZADD', worth, price, ARGV[3 + j]) end
    end
    redis.call('EXPIRE', held, ARGV[slot])
    if price ~= '' then redis.call('EXPIRE', worth, ARGV[slot]) end
  else
    found[#found + 1] = 0
    redis.call('INCR', used)
    redis.call('EXPIRE', used, ARGV[slot])
  end
end
return found
"""
_SETTLE: Final = """
local now, add, if_held = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local paid, unpaid = tonumber(ARGV[4]), tonumber(ARGV[5])
local drops, holds = tonumber(ARGV[6]), tonumber(ARGV[7])
for i = 1, #KEYS, 3 do
  local used, held, worth = KEYS[i], KEYS[i + 1], KEYS[i + 2]
  local slot = 8 + drops + holds + (i - 1) / 3 * 4
  local price, kept = ARGV[slot + 3], ARGV[slot + 3]
  local before = nil
  for j = 1, drops do
    local place = ARGV[7 + j]
    local score = redis.call('ZSCORE', held, place)
    if not before and score and tonumber(score) > tonumber(now) then
      before = j - 1
      if price ~= '' and if_held == '1' then
        kept = redis.call('ZSCORE', worth, place)
      end
    end
    redis.call('ZREM', held, place)
    if price ~= '' then redis.call('ZREM', worth, place) end
  end
  local number = add
  if if_held == '1' and not before then
    number = 0
  elseif price ~= '' then
    local gone = if_held == '1' and before or 0
    number = paid + (unpaid - gone) * tonumber(kept)
  elseif if_held == '1' then
    number = math.max(0, add - before)
  end
  if number ~= 0 then
    if redis.call('INCRBY', used, number) < 0 then redis.call('SET', used, 0) end
    redis.call('EXPIRE', used, ARGV[slot])
  end
  for j = 1, holds do
    redis.call('ZADD', held, ARGV[slot + 1], ARGV[7 + drops + j])
    if price ~= '' then redis.call('ZADD', worth, price, ARGV[7 + drops + j]) end
  end
  if holds > 0 then
    redis.call('EXPIRE', held, ARGV[slot + 2])
    if price ~= '' then redis.call('EXPIRE', worth, ARGV[slot + 2]) end
  end
end
return 0
"""


class RedisQuotas:
    """Keeps counters where several gateways find them."""

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        prefix: str = "imagegate",
    ) -> None:
        """Describe the server; nothing is asked of it yet.

        Args:
            url: `redis://host:6379/0`, `rediss://…` with TLS, or `unix:///path`.
            password: Of the user in the URL, or of the default one.
            prefix: What the names of keys begin with; gateways that share counters
                share it.
        """
        self._redis, self._errors = connected(url, password=password)
        self._take = self._redis.register_script(_TAKE)
        self._settle = self._redis.register_script(_SETTLE)
        # In a cluster, what one script touches has to be in one place.
        self._prefix = f"{{{prefix}}}"

    async def take(
        self, slots: Sequence[Slot], places: Sequence[str], now: float
    ) -> Sequence[Reading]:
        """Take places in the slots that hold them, and count one in the others."""
        arguments: list[Any] = [now, now + HOLD_SECONDS, len(places), *places]
        for slot in slots:
            lasts = _holds(slot, now) if slot.holds else _lasts(slot, now)
            arguments += [lasts, int(slot.holds), _price(slot)]
        found = await self._run(self._take, slots, arguments)
        return [Reading(*found[at : at + 2]) for at in range(0, len(found), 2)]

    async def settle(self, step: Step, now: float) -> None:
        """Make a change."""
        counts = [len(step.drop), len(step.hold)]
        money = [step.paid, step.unpaid]
        arguments: list[Any] = [now, step.add, int(step.if_held), *money, *counts]
        arguments += [*step.drop, *step.hold]
        for slot in step.slots:
            till = held_until(slot, now)
            arguments += [_lasts(slot, now), till, _holds(slot, now), _price(slot)]
        await self._run(self._settle, step.slots, arguments)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _run(
        self,
        script: Any,  # noqa: ANN401 - of the extra
        slots: Sequence[Slot],
        arguments: Sequence[Any],
    ) -> list[int]:
        keys = [key for slot in slots for key in self._keys(slot)]
        try:
            found: list[int] = await script(keys=keys, args=arguments)
        except self._errors as error:
            # Its text may quote what was sent.
            raise QuotasLost(type(error).__name__) from error
        return found

    def _keys(self, slot: Slot) -> tuple[str, str, str]:
        beginning = f"{self._prefix}:{slot.name}"
        kept = f"{beginning}:held", f"{beginning}:worth"
        return f"{beginning}:{slot.window}", *kept


def _lasts(slot: Slot, now: float) -> int:
    """Say for how many seconds a window is kept."""
    return max(1, math.ceil(slot.ends - now)) + SLACK


def _price(slot: Slot) -> int | str:
    return "" if slot.price is None else slot.price


def _holds(slot: Slot, now: float) -> int:
    """Say for how many seconds places are kept: as long as one of them may be held.

    The key ends as a whole, so that a place which is held for an hour must not take
    along one that the background holds for a month.
    """
    return max(_lasts(slot, now), BACKGROUND_SECONDS)
