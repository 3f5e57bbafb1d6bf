"""LiveCallsInRedis: the registry of live calls of all instances that share a Redis.

A module of its own, so that a server without Redis starts without importing its client.
"""

from collections.abc import Sequence
from typing import Any

from loguru import logger
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent.live_calls import LiveCallsInMemory

# The braces keep all keys on one node of a Redis cluster, as scripts need it. `live` orders the
# calls by when their lease expires, by Redis's clock, so that instances' clocks do not matter.
_LIVE = "{voice-ai}:live"
_OWNER = "{voice-ai}:owner:"
_TOKEN = "{voice-ai}:token:"  # noqa: S105

_CLAIM = """
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
redis.call('ZADD', KEYS[1], tonumber(redis.call('TIME')[1]) + ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3] * 2)
return 1
"""
# A lease that is missing expired or was lost by Redis; a call that is still carried gets it back.
_RENEW = """
local expires = tonumber(redis.call('TIME')[1]) + ARGV[2]
for i = 2, #KEYS do
  local owner = redis.call('GET', KEYS[i])
  if not owner or owner == ARGV[1] then
    redis.call('SET', KEYS[i], ARGV[1], 'EX', ARGV[2])
    redis.call('ZADD', KEYS[1], expires, ARGV[i + 1])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[2] * 2)
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
"""
_ALL = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""
_COUNT = """
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1])
return redis.call('ZCARD', KEYS[1])
"""


class LiveCallsInRedis:
    """For all instances that share a Redis; a lease expires after `ttl_secs` unless renewed.

    The client is not closed here.
    """

    def __init__(self, client: Redis, ttl_secs: int = 7200) -> None:
        self._client = client
        self._ttl_secs = ttl_secs
        # Only its tokens are used, while Redis is unavailable.
        self._seen_here = LiveCallsInMemory()
        self._claim = client.register_script(_CLAIM)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)
        self._all = client.register_script(_ALL)
        self._count = client.register_script(_COUNT)

    async def claim(self, call_id: str, instance: str) -> None:
        """As `LiveCalls.claim`."""
        await self._claim(keys=[_LIVE, _OWNER + call_id], args=[call_id, instance, self._ttl_secs])

    async def renew(self, call_ids: Sequence[str], instance: str) -> None:
        """As `LiveCalls.renew`, in one round trip."""
        keys = [_LIVE, *(_OWNER + call_id for call_id in call_ids)]
        await self._renew(keys=keys, args=[instance, self._ttl_secs, *call_ids])

    async def owner(self, call_id: str) -> str | None:
        """As `LiveCalls.owner`."""
        return _text(await self._client.get(_OWNER + call_id))

    async def release(self, call_id: str, instance: str) -> None:
        """As `LiveCalls.release`."""
        await self._release(keys=[_LIVE, _OWNER + call_id], args=[call_id, instance])

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


def _text(value: Any) -> str | None:
    # A client answers with bytes or, with `decode_responses`, with text.
    return value.decode() if isinstance(value, bytes) else value
