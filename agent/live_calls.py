"""Registry of live calls across instances (who carries which call), and of used one-time tokens.

In Redis when several instances share it, in memory when there is one. All of it may be lost: it is
not the record. Each call is a lease, which expires when its instance dies.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from loguru import logger
from redis.asyncio import Redis
from redis.exceptions import RedisError


class LiveCalls(Protocol):
    """The live calls of all instances. Methods raise `RedisError` when Redis fails.

    `use_token` does not: without Redis, a token is checked against those that this process has
    seen. The signature still proves that a stream comes from Twilio.
    """

    async def claim(self, call_id: str, instance: str) -> None:
        """Give `instance` the call's lease, whoever had it before; `renew` extends it."""
        ...

    async def renew(self, call_ids: Sequence[str], instance: str) -> None:
        """Extend the leases of `instance` on these calls; it takes no other instance's lease."""
        ...

    async def owner(self, call_id: str) -> str | None:
        """The instance that carries the call."""
        ...

    async def release(self, call_id: str, instance: str) -> None:
        """End the lease of `instance` on the call; another instance's lease is left alone."""
        ...

    async def count(self) -> int:
        """How many calls are carried by any instance."""
        ...

    async def all(self) -> dict[str, str]:
        """Every live call's id, and its instance."""
        ...

    async def use_token(self, token_id: str, ttl_secs: int) -> bool:
        """Mark a one-time token, valid for at most `ttl_secs` more, as used; True only once."""
        ...

    async def ping(self) -> None:
        """Raise when the registry cannot be used."""
        ...


class LiveCallsInMemory:
    """For one instance: lost when the process ends."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        # Token → the loop's time at which it expires.
        self._used: dict[str, float] = {}

    async def claim(self, call_id: str, instance: str) -> None:
        """As `LiveCalls.claim`."""
        self._owners[call_id] = instance

    async def renew(self, call_ids: Sequence[str], instance: str) -> None:
        """As `LiveCalls.renew`."""
        for call_id in call_ids:
            self._owners.setdefault(call_id, instance)

    async def owner(self, call_id: str) -> str | None:
        """As `LiveCalls.owner`."""
        return self._owners.get(call_id)

    async def release(self, call_id: str, instance: str) -> None:
        """As `LiveCalls.release`."""
        if self._owners.get(call_id) == instance:
            del self._owners[call_id]

    async def count(self) -> int:
        """As `LiveCalls.count`."""
        return len(self._owners)

    async def all(self) -> dict[str, str]:
        """As `LiveCalls.all`."""
        return dict(self._owners)

    async def use_token(self, token_id: str, ttl_secs: int) -> bool:
        """As `LiveCalls.use_token`."""
        now = asyncio.get_running_loop().time()
        self._used = {token: until for token, until in self._used.items() if until > now}
        if token_id in self._used:
            return False
        self._used[token_id] = now + ttl_secs
        return True

    async def ping(self) -> None:
        """Memory is always there."""


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
