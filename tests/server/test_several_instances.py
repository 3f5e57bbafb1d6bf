"""Two servers that share a database and a Redis: a token is good on either, and once over both."""

import asyncio
from typing import Any
from xml.etree import ElementTree

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from agent.live_calls_in_redis import LiveCallsInRedis
from server import resources
from server.calls.call_registry import CallRegistry
from server.cli.main import app
from server.emulators.twilio import NoAnswer, TwilioEmulator
from tests.server.conftest import THEIRS, ServerFactory
from tests.server.routes.test_overload import INBOUND
from tests.server.routes.test_twilio_media import (
    CONNECTED,
    PIPELINES,
    closed_with,
    say,
    socket,
    start_of,
    token_for,
)


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> list[CallRegistry]:
    """The registry of each server that starts."""
    made: list[CallRegistry] = []

    class Kept(CallRegistry):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.append(self)

    monkeypatch.setattr(resources, "CallRegistry", Kept)
    return made


async def test_a_token_is_good_on_any_instance_and_once_over_all(
    start_server: ServerFactory, twilio: TwilioEmulator, redis_url: str
) -> None:
    twilio.anyone = NoAnswer()
    shared = {"redis_url": redis_url, "stream_token_secret": "shared by both"}
    async with start_server(**shared) as one, start_server(**shared) as other:
        assert (await one.http.get("/health/ready")).status_code == 200
        call = await one.place()
        token = await token_for(one, call)
        async with socket(other, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, token))
            await other.until_metric(PIPELINES, 1)
            async with socket(one, call["id"]) as again:
                await say(again, CONNECTED, start_of(call, token, "MZ2"))
                assert await closed_with(again) == 1008
        assert await one.metric(PIPELINES) == 0


async def test_without_redis_a_stream_comes_in_and_its_token_is_used_up_on_this_instance(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    async with start_server(redis_url="redis://127.0.0.1:9/0") as server:
        call = await server.place()
        token = await token_for(server, call)
        async with socket(server, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, token))
            await server.until_metric(PIPELINES, 1)
            async with socket(server, call["id"]) as again:
                await say(again, CONNECTED, start_of(call, token, "MZ2"))
                assert await closed_with(again) == 1008


async def test_calls_are_limited_over_all_instances_and_a_place_is_given_back(
    start_server: ServerFactory, twilio: TwilioEmulator, redis_url: str
) -> None:
    twilio.anyone = NoAnswer()
    shared = {"redis_url": redis_url, "max_fleet_calls": 2}
    async with start_server(**shared) as one, start_server(**shared) as other:
        first, _ = await one.place(), await other.place()
        refused = await other.http.post("/calls", json={"phone_number": THEIRS})
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        waits = asyncio.create_task(
            other.http.get(f"/calls/{first['id']}/result", params={"wait": 60}, timeout=90)
        )
        await one.http.post(f"/calls/{first['id']}/terminate")
        ended = await waits
        assert (ended.status_code, ended.json()["status"]) == (200, "canceled")
        async with Redis.from_url(redis_url) as redis:
            while await redis.zcard("{voice-ai}:admitted") > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await other.place()


async def test_a_call_that_reaches_an_instance_that_stops_asks_again_while_there_is_another(
    start_server: ServerFactory, redis_url: str, registries: list[CallRegistry]
) -> None:
    shared = {"redis_url": redis_url}
    async with start_server(**shared, instance_url="http://one") as one:
        registries[0].places.draining = True
        alone = await one.twilio_posts("/twilio/inbound", INBOUND)
        async with start_server(**shared, instance_url="http://two") as two:
            asks_again = await one.twilio_posts("/twilio/inbound", INBOUND)
            taken = await two.twilio_posts("/twilio/inbound", INBOUND)
    verbs = [
        [verb.tag for verb in ElementTree.fromstring(answer.text)]
        for answer in (alone, asks_again, taken)
    ]
    assert verbs == [["Say", "Hangup"], ["Pause", "Redirect"], ["Connect", "Redirect"]]


async def test_an_instance_that_starts_takes_no_other_instances_call_for_abandoned(
    start_server: ServerFactory, twilio: TwilioEmulator, redis_url: str
) -> None:
    twilio.anyone = NoAnswer()
    shared = {"redis_url": redis_url, "stream_token_secret": "shared by both", "in_fleet": True}
    async with start_server(**shared) as one, Redis.from_url(redis_url) as redis:
        call = await one.place()
        async with socket(one, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, await token_for(one, call)))
            await one.until_metric(PIPELINES, 1)
            while await LiveCallsInRedis(redis).owner(call["id"]) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            async with start_server(**shared, base_url=one.url):
                pass
            events = (await one.http.get(f"/calls/{call['id']}/events")).json()["events"]
    kinds = [event["kind"] for event in events]
    assert "life.stream_started" in kinds
    assert "life.instance_stopped" not in kinds


async def test_instances_are_listed_with_the_calls_that_they_carry(
    start_server: ServerFactory,
    twilio: TwilioEmulator,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twilio.anyone = NoAnswer()
    monkeypatch.setenv("REDIS_URL", redis_url)
    shared = {"redis_url": redis_url, "max_concurrent_calls": 7}
    async with (
        start_server(**shared, instance_url="http://one") as one,
        start_server(**shared, instance_url="http://two"),
    ):
        call = await one.place()
        token = await token_for(one, call)
        async with socket(one, call["id"]) as stream:
            await say(stream, CONNECTED, start_of(call, token))
            await one.until_metric(PIPELINES, 1)
            async with Redis.from_url(redis_url) as redis:
                # They report every two seconds.
                while (await LiveCallsInRedis(redis).instances())["http://one"].held != 1:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            listed = await asyncio.to_thread(CliRunner().invoke, app, ["instances"])
    assert listed.output.splitlines() == [
        "http://one  ready, 1 of 7 places taken",
        f"  {call['id']}",
        "http://two  ready, 0 of 7 places taken",
    ]
