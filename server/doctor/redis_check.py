"""Checks Redis, where it is set: whether it answers."""

import asyncio

from server.doctor.findings import Finding, fail, ok, reason, skip
from server.settings.settings import Settings
from server.settings.written_values import without_password

NAME = "redis"
WITHIN_SECS = 3.0


async def check_redis(settings: Settings) -> list[Finding]:
    """Ask for an answer."""
    if settings.redis_url is None:
        return [skip(NAME, "REDIS_URL is not set: fine for one instance")]
    from redis.asyncio import Redis

    shown = without_password(settings.redis_url)
    client = Redis.from_url(
        settings.redis_url, socket_timeout=WITHIN_SECS, socket_connect_timeout=WITHIN_SECS
    )
    try:
        async with asyncio.timeout(WITHIN_SECS):
            await client.ping()
    except Exception as error:  # any failure of a client's own kind means the same here
        return [
            fail(
                NAME, f"{shown} cannot be used: {reason(error)}", "Start it, or correct REDIS_URL."
            )
        ]
    finally:
        await client.aclose()
    return [ok(NAME, shown)]
