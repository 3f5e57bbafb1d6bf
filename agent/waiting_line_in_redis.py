"""WaitingLineInRedis: one line for all instances that share a Redis.

A module of its own, so that a server without Redis starts without importing its client.
"""

from loguru import logger
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent.waiting_line import FORGOTTEN_AFTER_SECS, LinePlace, WaitingLineInMemory

# Callers ordered by when they came, and by when they asked last, both by Redis's clock. The braces
# keep both keys on one node of a Redis cluster.
_CAME = "{voice-ai-line}:came"
_ASKED = "{voice-ai-line}:asked"
_STAND = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, sid in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])) do
  redis.call('ZREM', KEYS[1], sid)
  redis.call('ZREM', KEYS[2], sid)
end
local came = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not came then
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  came = math.max(now, last[2] and last[2] + 1 or 0)
  redis.call('ZADD', KEYS[1], came, ARGV[1])
end
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {redis.call('ZRANK', KEYS[1], ARGV[1]), math.max(0, now - came)}
"""
_LEAVE = """
local time = redis.call('TIME')
local came = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if not came then return false end
return math.max(0, time[1] * 1000 + math.floor(time[2] / 1000) - came)
"""


class WaitingLineInRedis:
    """Without Redis, callers wait in the line of this instance. The client is not closed here."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._stand = client.register_script(_STAND)
        self._leave = client.register_script(_LEAVE)
        self._here = WaitingLineInMemory()

    async def stand(self, call_sid: str) -> LinePlace:
        """As `WaitingLine.stand`."""
        here = await self._here.stand(call_sid)
        forgotten_ms = round(FORGOTTEN_AFTER_SECS * 1000)
        try:
            ahead, ms = await self._stand(keys=[_CAME, _ASKED], args=[call_sid, forgotten_ms])
        except RedisError as error:
            logger.bind(error=type(error).__name__).error(
                "Redis failed; a caller waits in the line of this instance alone"
            )
            return here
        return LinePlace(int(ahead), max(here.waited_secs, int(ms) / 1000))

    async def leave(self, call_sid: str) -> float | None:
        """As `WaitingLine.leave`."""
        here = await self._here.leave(call_sid)
        try:
            ms = await self._leave(keys=[_CAME, _ASKED], args=[call_sid])
        except RedisError:
            return here
        return here if ms is None else int(ms) / 1000
