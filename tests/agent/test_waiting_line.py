"""The line of callers who wait, in memory and on a real Valkey server: the same promises."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from agent import waiting_line, waiting_line_in_redis
from agent.waiting_line import WaitingLine, WaitingLineInMemory
from agent.waiting_line_in_redis import WaitingLineInRedis
from tests.agent.test_live_calls import redis

__all__ = ["redis"]


@pytest.fixture(params=["memory", "redis"])
def line(request: pytest.FixtureRequest, redis: Redis) -> WaitingLine:
    return WaitingLineInMemory() if request.param == "memory" else WaitingLineInRedis(redis)


async def test_callers_stand_in_the_order_in_which_they_came(line: WaitingLine) -> None:
    for number in range(5):
        assert (await line.stand(f"CA{9 - number}")).ahead == number
    assert (await line.stand("CA9")).ahead == 0
    assert (await line.stand("CA5")).ahead == 4


async def test_whoever_leaves_lets_the_others_move_up(line: WaitingLine) -> None:
    await line.stand("CA1")
    first = await line.stand("CA2")
    assert await line.leave("CA1") is not None
    assert await line.leave("CA1") is None
    second = await line.stand("CA2")
    assert (first.ahead, second.ahead) == (1, 0)
    assert second.waited_secs >= first.waited_secs == 0
    assert (await line.stand("CA1")).ahead == 1, "at the end of the line"


async def test_whoever_does_not_ask_again_is_forgotten(
    line: WaitingLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await line.stand("CA1")
    for module in (waiting_line, waiting_line_in_redis):
        monkeypatch.setattr(module, "FORGOTTEN_AFTER_SECS", 0.05)
    async with asyncio.timeout(5):
        while (await line.stand("CA2")).ahead:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_nothing_is_left_in_redis_without_an_end(redis: Redis) -> None:
    await WaitingLineInRedis(redis).stand("CA1")
    keys = await redis.keys()
    assert len(keys) == 2
    assert all([0 < await redis.pttl(key) <= 20_000 for key in keys])


async def test_without_redis_callers_wait_in_this_instance_s_line() -> None:
    away = Redis(unix_socket_path="/nowhere", retry=Retry(NoBackoff(), 0))
    line = WaitingLineInRedis(away)
    assert (await line.stand("CA1")).ahead == 0
    assert (await line.stand("CA2")).ahead == 1
    assert await line.leave("CA1") is not None
    assert (await line.stand("CA2")).ahead == 0
    await away.aclose()
