"""CallLeases on live calls outlast their time to live, on a real Valkey server."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping

from redis.asyncio import Redis

from agent.live_calls import LiveCalls, LiveCallsInMemory
from server.calls.call_leases import CallLeases
from server.calls.leases import Leases
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


@contextlib.asynccontextmanager
async def here(live_calls: LiveCalls) -> AsyncIterator[LiveCalls]:
    yield live_calls


def leases_of(live_calls: LiveCalls, leases: Leases, lost: list[str] | None = None) -> CallLeases:
    return CallLeases(
        lambda: here(live_calls),
        leases,
        instance="here",
        ttl_secs=0.03,
        on_lost=(lost if lost is not None else []).append,
    )


def numbered(*call_ids: str) -> Leases:
    """The leases of calls that have begun."""
    leases = Leases()
    for call_id in call_ids:
        leases.begin(call_id)
    return leases


async def until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 (a thread tells nobody)
        await asyncio.sleep(0.005)


async def test_a_redis_that_fails_is_asked_again_and_the_call_goes_on() -> None:
    class Flaky(LiveCallsInMemory):
        failures = 2

        async def renew(self, leases: Mapping[str, int], instance: str) -> dict[str, int]:
            if self.failures:
                self.failures -= 1
                raise ConnectionError("no Redis")
            return await super().renew(leases, instance)

    numbers = numbered("c1")
    live_calls = Flaky()
    leases = leases_of(live_calls, numbers)
    leases.open()
    await until(lambda: numbers.of("c1") == 1)
    assert leases.holds("c1")
    await leases.close()
    assert await live_calls.all() == {"c1": "here"}


async def test_a_call_that_ends_while_it_is_kept_is_released_after_all() -> None:
    numbers = numbered("c1")

    class Slow(LiveCallsInMemory):
        async def renew(self, leases: Mapping[str, int], instance: str) -> dict[str, int]:
            numbers.end("c1")
            return await super().renew(leases, instance)

        async def release(self, call_id: str, instance: str) -> None:
            await super().release(call_id, instance)
            released.set()

    released = threading.Event()
    live_calls = Slow()
    leases = leases_of(live_calls, numbers)
    leases.open()
    await until(released.is_set)
    await leases.close()
    assert await live_calls.all() == {}


async def test_a_call_that_another_instance_has_taken_is_silent_here_and_told_of() -> None:
    live_calls = LiveCallsInMemory()
    numbers = numbered("c1", "c2")
    numbers.claimed("c1", await live_calls.claim("c1", "here"))
    lost: list[str] = []
    leases = leases_of(live_calls, numbers, lost)
    leases.open()
    await until(lambda: numbers.of("c2") == 1)
    assert leases.holds("c1")
    await live_calls.claim("c1", "there")
    await until(lambda: bool(lost))
    assert lost == ["c1"]
    assert not leases.holds("c1")
    assert leases.holds("c2")
    await leases.close()
    assert await live_calls.owner("c1") == "there"


async def test_who_was_frozen_for_longer_than_a_lease_is_silent_until_a_renewal() -> None:
    now = 0.0
    numbers = numbered("c1")
    numbers.claimed("c1", 1)
    leases = CallLeases(
        lambda: here(LiveCallsInMemory()),
        numbers,
        instance="here",
        ttl_secs=6.0,
        clock=lambda: now,
    )
    assert leases.holds("c1")
    now = 6.1  # nothing ran meanwhile
    assert not leases.holds("c1")
    leases.open()
    await until(lambda: leases.holds("c1"))
    await leases.close()
