import asyncio

from pipelines.call.duration_limit import LimitWatch
from tests import virtual_time


def test_time_is_up_once_and_counted_from_the_answer() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        up_at = list[float]()
        watch = LimitWatch(60.0, lambda: up_at.append(loop.time()))
        answered_at = loop.time() - 20.0
        watch.start(answered_at)
        await asyncio.sleep(39.0)
        assert not watch.is_up
        await asyncio.sleep(60.0)
        assert watch.is_up
        assert up_at == [answered_at + 60.0]

    virtual_time.run(scenario())


def test_a_watch_that_was_stopped_says_nothing() -> None:
    async def scenario() -> None:
        said = list[str]()
        watch = LimitWatch(60.0, lambda: said.append("time is up"))
        watch.stop()
        watch.start(asyncio.get_running_loop().time())
        watch.stop()
        await asyncio.sleep(100.0)
        assert (said, watch.is_up) == ([], False)

    virtual_time.run(scenario())
