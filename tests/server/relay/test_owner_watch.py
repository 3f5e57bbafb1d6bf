"""OwnerWatch: an instance is asked for as long as any stream is passed on to it."""

import asyncio

import httpx

from server.relay.owner_watch import OwnerWatch

URL = "http://owner:8000"


def nobody_answers(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("nobody listens", request=request)


async def test_a_stream_that_begins_just_as_the_last_one_has_ended_is_watched() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(nobody_answers)) as http:
        watch, lost = OwnerWatch(http), asyncio.Event()
        with watch.watched(URL, lost.set):
            pass
        # What asks has just ended, and those who wait for its end have not heard of it.
        await asyncio.sleep(0)
        with watch.watched(URL, lost.set):
            async with asyncio.timeout(5):
                await lost.wait()
        await watch.close()
