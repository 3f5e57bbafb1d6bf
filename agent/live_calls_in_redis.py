"""LiveCallsInRedis: the registry of live calls of all instances that share a Redis.

A module of its own, so that a server without Redis starts without importing its client.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from loguru import logger
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent.live_calls import (
    RESCUED_WITHIN_SECS,
    STRANDED_FOR_SECS,
    InstanceReport,
    LiveCallsInMemory,
    Whereabouts,
)

# The braces keep all keys on one node of a Redis cluster, as scripts need it. `live`, `admitted`
# and `instances` are ordered by when an entry expires, by Redis's clock, so that instances' clocks
# do not matter.
_LIVE = "{voice-ai}:live"
_ADMITTED = "{voice-ai}:admitted"
_INSTANCES = "{voice-ai}:instances"
_INSTANCE = "{voice-ai}:instance:"
_OWNER = "{voice-ai}:owner:"
# The instance that has a place for a call: it dialled, or was asked for TwiML first.
_HOME = "{voice-ai}:home:"
FENCE = "{voice-ai}:fence:"
# When instances have reported last, and the calls that each had then.
_REPORTED = "{voice-ai}:reported"
_CARRIED = "{voice-ai}:carried:"
_RESCUE = "{voice-ai}:rescue:"
_TOKEN = "{voice-ai}:token:"  # noqa: S105

_CLAIM = """
local fence = redis.call('INCR', KEYS[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] * 1000 + now[2] / 1000 + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 2)
return fence
"""
# A lease that is missing expired or was lost by Redis; a call that is still carried gets it back.
_RENEW = """
local now = redis.call('TIME')
local expires = now[1] * 1000 + now[2] / 1000 + ARGV[2]
local count = (#KEYS - 1) / 2
local fences = {}
for i = 1, count do
  local owner_key, fence_key = KEYS[1 + i], KEYS[1 + count + i]
  local call_id, fence = ARGV[3 + i], tonumber(ARGV[3 + count + i])
  local owner = redis.call('GET', owner_key)
  local newest = tonumber(redis.call('GET', fence_key) or '0')
  if fence == 0 and owner == ARGV[1] and newest > 0 then
    -- Its claim is just being answered: the number is that one's.
    fence = newest
  elseif fence == 0 then
    fence = newest + 1
  elseif newest > fence or (owner and owner ~= ARGV[1]) then
    fence = -1
  end
  if fence > 0 then
    redis.call('SET', fence_key, fence, 'PX', ARGV[3])
    redis.call('SET', owner_key, ARGV[1], 'PX', ARGV[2])
    redis.call('ZADD', KEYS[1], expires, call_id)
  end
  fences[i] = fence
end
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
return fences
"""
_RELEASE = """
if redis.call('GET', KEYS[3]) == ARGV[2] then redis.call('DEL', KEYS[3]) end
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
"""
_ADMIT = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not known and ARGV[3] ~= '' and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('ZADD', KEYS[1], ms + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 2)
if ARGV[4] ~= '' then redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[2]) end
return 1
"""
# A call that began cold elsewhere has a place there, too: its home stays where it was prepared.
_REPORT = """
local now = redis.call('TIME')
local expires = now[1] * 1000 + now[2] / 1000 + ARGV[3]
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[1], expires, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 2)
redis.call('ZADD', KEYS[4], now[1] * 1000 + now[2] / 1000, ARGV[1])
redis.call('PEXPIRE', KEYS[4], ARGV[5])
redis.call('SET', KEYS[5], ARGV[4], 'PX', ARGV[5])
for i = 6, #ARGV do
  redis.call('ZADD', KEYS[3], expires, ARGV[i])
  local home = redis.call('GET', KEYS[i])
  if not home or home == ARGV[1] then redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[3]) end
end
redis.call('PEXPIRE', KEYS[3], ARGV[3] * 2)
return 1
"""
_STRANDED = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms - ARGV[2])
local found = {}
for _, instance in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms - ARGV[1])) do
  found[#found + 1] = instance
  found[#found + 1] = redis.call('GET', ARGV[3] .. instance) or ''
end
return found
"""
_FIND = """
local instance = redis.call('GET', KEYS[1]) or redis.call('GET', KEYS[2])
if not instance then return false end
return {instance, redis.call('GET', ARGV[1] .. instance)}
"""
_ALL = """
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000 + now[2] / 1000)
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
_COUNT = """
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000 + now[2] / 1000)
return redis.call('ZCARD', KEYS[1])
"""


class LiveCallsInRedis:
    """For all instances that share a Redis; a lease expires after `lease_secs` unless renewed.

    Fencing numbers are kept for `ttl_secs` after the last lease. The client is not closed here.
    """

    def __init__(
        self, client: Redis, ttl_secs: int = 7200, *, lease_secs: float | None = None
    ) -> None:
        self._client = client
        self._lease_ms = round(1000 * (ttl_secs if lease_secs is None else lease_secs))
        self._fence_ms = max(ttl_secs * 1000, self._lease_ms)
        # Only its tokens are used, while Redis is unavailable.
        self._seen_here = LiveCallsInMemory()
        self._claim = client.register_script(_CLAIM)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)
        self._admit = client.register_script(_ADMIT)
        self._report = client.register_script(_REPORT)
        self._stranded = client.register_script(_STRANDED)
        self._find = client.register_script(_FIND)
        self._all = client.register_script(_ALL)
        self._count = client.register_script(_COUNT)

    async def claim(self, call_id: str, instance: str) -> int:
        """As `LiveCalls.claim`."""
        keys = [_LIVE, _OWNER + call_id, FENCE + call_id]
        args: list[str | int] = [call_id, instance, self._lease_ms, self._fence_ms]
        return int(await self._claim(keys=keys, args=args))

    async def renew(self, leases: Mapping[str, int], instance: str) -> dict[str, int]:
        """As `LiveCalls.renew`, in one round trip."""
        call_ids = list(leases)
        owners = [_OWNER + call_id for call_id in call_ids]
        keys = [_LIVE, *owners, *(FENCE + call_id for call_id in call_ids)]
        args: list[str | int] = [
            instance,
            self._lease_ms,
            self._fence_ms,
            *call_ids,
            *leases.values(),
        ]
        fences = await self._renew(keys=keys, args=args)
        return dict(zip(call_ids, map(int, fences), strict=True))

    async def owner(self, call_id: str) -> str | None:
        """As `LiveCalls.owner`."""
        return _text(await self._client.get(_OWNER + call_id))

    async def find(self, call_id: str) -> Whereabouts | None:
        """As `LiveCalls.find`, in one round trip."""
        found = await self._find(keys=[_OWNER + call_id, _HOME + call_id], args=[_INSTANCE])
        if found is None:
            return None
        instance, said = map(_text, found)
        return Whereabouts(str(instance), _report(said).url if said else None)

    async def find_all(self, call_ids: Sequence[str]) -> dict[str, str]:
        """As `LiveCalls.find_all`, in one round trip."""
        if not call_ids:
            return {}
        keys = [key + call_id for key in (_OWNER, _HOME) for call_id in call_ids]
        said = [*map(_text, await self._client.mget(keys))]
        pairs = zip(call_ids, said[: len(call_ids)], said[len(call_ids) :], strict=True)
        found = {call_id: owner or home for call_id, owner, home in pairs}
        return {call_id: instance for call_id, instance in found.items() if instance is not None}

    async def release(self, call_id: str, instance: str) -> None:
        """As `LiveCalls.release`."""
        keys = [_LIVE, _OWNER + call_id, _HOME + call_id]
        await self._release(keys=keys, args=[call_id, instance])

    async def stranded(self) -> dict[str, Whereabouts]:
        """As `LiveCalls.stranded`: one round trip, and another one when an instance is silent."""
        args: list[str | int] = [self._lease_ms, round(STRANDED_FOR_SECS * 1000), _CARRIED]
        found = [_text(part) for part in await self._stranded(keys=[_REPORTED], args=args)]
        calls: dict[str, Whereabouts] = {}
        for instance, said in zip(found[::2], found[1::2], strict=True):
            carried = json.loads(said) if said else {"url": None, "calls": []}
            where = Whereabouts(str(instance), carried["url"])
            calls |= dict.fromkeys(carried["calls"], where)
        if not calls:
            return {}
        owners = await self._client.mget([_OWNER + call_id for call_id in calls])
        unowned = zip(calls.items(), owners, strict=True)
        return {call_id: where for (call_id, where), owner in unowned if owner is None}

    async def rescue(self, call_id: str) -> bool:
        """As `LiveCalls.rescue`."""
        px = round(RESCUED_WITHIN_SECS * 1000)
        return bool(await self._client.set(_RESCUE + call_id, 1, nx=True, px=px))

    async def count(self) -> int:
        """As `LiveCalls.count`."""
        return int(await self._count(keys=[_LIVE]))

    async def all(self) -> dict[str, str]:
        """As `LiveCalls.all`."""
        call_ids = [str(_text(member)) for member in await self._all(keys=[_LIVE])]
        if not call_ids:
            return {}
        owners = await self._client.mget([_OWNER + call_id for call_id in call_ids])
        named = zip(call_ids, map(_text, owners), strict=True)
        return {call_id: owner for call_id, owner in named if owner is not None}

    async def admit(self, call_id: str, limit: int | None, instance: str | None = None) -> bool:
        """As `LiveCalls.admit`; without Redis, there is no limit over all instances."""
        most = "" if limit is None else limit
        args: list[str | int] = [call_id, self._lease_ms, most, instance or ""]
        try:
            return bool(await self._admit(keys=[_ADMITTED, _HOME + call_id], args=args))
        except RedisError as error:
            logger.bind(error=type(error).__name__).error(
                "Redis failed; a call was admitted without counting those of other instances"
            )
            return True

    async def dismiss(self, call_id: str) -> None:
        """As `LiveCalls.dismiss`."""
        async with self._client.pipeline(transaction=False) as both:
            both.zrem(_ADMITTED, call_id)
            both.delete(_HOME + call_id)
            await both.execute()

    async def report(self, instance: str, report: InstanceReport, call_ids: Sequence[str]) -> None:
        """As `LiveCalls.report`, in one round trip."""
        homes = [_HOME + call_id for call_id in call_ids]
        alive = [_INSTANCES, _INSTANCE + instance]
        keys = [*alive, _ADMITTED, _REPORTED, _CARRIED + instance, *homes]
        args: list[str | int] = [
            instance,
            json.dumps(asdict(report)),
            self._lease_ms,
            json.dumps({"url": report.url, "calls": list(call_ids)}),
            round(STRANDED_FOR_SECS * 1000),
            *call_ids,
        ]
        await self._report(keys=keys, args=args)

    async def leave(self, instance: str) -> None:
        """As `LiveCalls.leave`."""
        async with self._client.pipeline(transaction=False) as both:
            both.zrem(_INSTANCES, instance)
            both.zrem(_REPORTED, instance)
            both.delete(_INSTANCE + instance, _CARRIED + instance)
            await both.execute()

    async def instances(self) -> dict[str, InstanceReport]:
        """As `LiveCalls.instances`."""
        names = [str(_text(member)) for member in await self._all(keys=[_INSTANCES])]
        if not names:
            return {}
        said = await self._client.mget([_INSTANCE + name for name in names])
        named = zip(names, map(_text, said), strict=True)
        return {name: _report(text) for name, text in named if text}

    async def use_token(self, token_id: str, ttl_secs: int) -> bool:
        """As `LiveCalls.use_token`."""
        try:
            first = await self._client.set(_TOKEN + token_id, 1, nx=True, ex=max(1, ttl_secs))
        except RedisError as error:
            logger.bind(error=type(error).__name__).error(
                "Redis failed; a token was checked only here"
            )
            return await self._seen_here.use_token(token_id, ttl_secs)
        return bool(first) and await self._seen_here.use_token(token_id, ttl_secs)

    async def ping(self) -> None:
        """As `LiveCalls.ping`."""
        await self._client.ping()


def _report(text: str) -> InstanceReport:
    return InstanceReport(**json.loads(text))


def _text(value: Any) -> str | None:
    # A client answers with bytes or, with `decode_responses`, with text.
    return value.decode() if isinstance(value, bytes) else value
