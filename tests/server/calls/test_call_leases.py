"""CallLeases on live calls outlast their time to live, on a real Valkey server."""

import asyncio
from collections.abc import Sequence

from redis.asyncio import Redis

from agent.live_calls import LiveCallsInMemory
from server.calls.call_leases import CallLeases
from server.emulators.twilio import NoAnswer, TwilioEmulator
from tests.server.conftest import ServerFactory
from tests.server.routes.test_twilio_media import (
    CONNECTED,
    PIPELINES,
    say,
    socket,
    start_of,
    token_for,
)


async def until_it_is(redis: Redis, key: str, value: bytes | None) -> None:
    while await redis.get(key) != value:  # noqa: ASYNC110 (another process tells nobody)
        await asyncio.sleep(0.01)


async def test_a_call_that_is_carried_keeps_its_owner(
    start_server: ServerFactory, twilio: TwilioEmulator, redis_url: str
) -> None:
    twilio.anyone = NoAnswer()
    settings = {"redis_url": redis_url, "redis_session_ttl": 1, "instance_url": "http://here"}
    async with Redis.from_url(redis_url) as redis, start_server(**settings) as server:
        call = await server.place()
        token = await token_for(server, call)
        owner = f"{{voice-ai}}:owner:{call['id']}"
        async with socket(server, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, token))
            await server.until_metric(PIPELINES, 1)
            for _ in range(2):
                # As if its time were over: it is claimed again, and runs from anew.
                await redis.delete(owner)
                await until_it_is(redis, owner, b"http://here")
                assert 0 < await redis.pttl(owner) <= 1000
            await server.http.post(f"/calls/{call['id']}/terminate")
            await server.until_metric(PIPELINES, 0)
            await until_it_is(redis, owner, None)


async def test_a_redis_that_fails_is_asked_again() -> None:
    class Flaky(LiveCallsInMemory):
        failures = 2

        async def renew(self, call_ids: Sequence[str], instance: str) -> None:
            if self.failures:
                self.failures -= 1
                raise ConnectionError("no Redis")
            await super().renew(call_ids, instance)
            kept.set()

    kept = asyncio.Event()
    live_calls = Flaky()
    leases = CallLeases(live_calls, lambda: ["c1"], instance="here", ttl_secs=0.03)
    leases.open()
    await kept.wait()
    await leases.close()
    assert await live_calls.all() == {"c1": "here"}


async def test_a_call_that_ends_while_it_is_kept_is_released_after_all() -> None:
    class Slow(LiveCallsInMemory):
        async def renew(self, call_ids: Sequence[str], instance: str) -> None:
            carried.clear()
            await super().renew(call_ids, instance)

        async def release(self, call_id: str, instance: str) -> None:
            await super().release(call_id, instance)
            released.set()

    carried, released = ["c1"], asyncio.Event()
    live_calls = Slow()
    leases = CallLeases(live_calls, lambda: list(carried), instance="here", ttl_secs=0.03)
    leases.open()
    await released.wait()
    await leases.close()
    assert await live_calls.all() == {}
