"""Two servers that share a database and a Redis: a token is good on either, and once over both."""

from server.emulators.twilio import NoAnswer, TwilioEmulator
from tests.server.conftest import ServerFactory
from tests.server.routes.test_twilio_media import (
    CONNECTED,
    PIPELINES,
    closed_with,
    say,
    socket,
    start_of,
    token_for,
)


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
