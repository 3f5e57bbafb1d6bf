"""The request before anybody's: all routes are prepared, and nothing is opened for it."""

import time

from server.app import create_app
from server.first_request import rehearse
from server.settings import Settings


async def test_it_is_for_nothing_and_needs_nothing() -> None:
    app = create_app(Settings())
    assert await rehearse(app) == 404


async def test_the_next_request_is_answered_far_faster() -> None:
    app = create_app(Settings())

    async def takes() -> float:
        began = time.thread_time()
        await rehearse(app)
        return time.thread_time() - began

    first = await takes()
    assert min([await takes() for _ in range(5)]) < first / 4
