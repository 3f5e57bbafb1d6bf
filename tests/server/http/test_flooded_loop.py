"""Peers without a key that flood the server: what they make one turn of the event loop cost.

A packet of a live call waits for the turn in which it arrives, and for nothing else:

    turn   │ a b c d │ packet e f g │ h i j k │ packet …
             └ requests of strangers: a few in each turn, however many arrive

Turns are measured by the processor time of the loop's thread, which other processes do not add to,
and compared with the longest turn that one peer makes which asks politely.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.server.conftest import Running, ServerFactory

# Far more than a turn of one polite request, and far less than all that arrives at once.
AT_MOST_TIMES = 10
# Another process holds its connections open, and begins rounds, for so long.
HOLDS_SECS, FLOODS_SECS = "0.5", "1"


@contextmanager
def timed_turns() -> Iterator[list[float]]:
    """The processor time of each turn of the running loop, in seconds, while this lasts."""
    loop = asyncio.get_running_loop()
    turns: list[float] = []
    began = time.thread_time()

    def turn() -> None:
        nonlocal began, ticking
        now = time.thread_time()
        turns.append(now - began)
        began = now
        ticking = loop.call_soon(turn)

    ticking = loop.call_soon(turn)
    try:
        yield turns
    finally:
        ticking.cancel()


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """No garbage collection counts as a turn: how long they are is the collector's policy."""
    gc.disable()
    yield
    gc.enable()


async def longest_of_a_polite_peer(server: Running, path: str) -> float:
    for _ in range(3):
        await server.http.get(path)
    with timed_turns() as turns:
        for _ in range(20):
            await server.http.get(path)
    return max(turns)


@pytest.mark.parametrize(
    ("path", "requests", "connections"), [("/", "10000", "10"), ("/openapi.json", "200", "50")]
)
async def test_a_flood_makes_no_turn_much_longer_than_one_request_does(
    start_server: ServerFactory, path: str, requests: str, connections: str
) -> None:
    async with start_server() as server:
        alone = await longest_of_a_polite_peer(server, path)
        port = server.url.rsplit(":", 1)[1]
        words = (port, path, requests, connections, HOLDS_SECS, FLOODS_SECS)
        with timed_turns() as turns:
            flood = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "server.bench.flooder", *words
            )
            assert await flood.wait() == 0
        # The processor may be slower than it was before.
        alone = max(alone, await longest_of_a_polite_peer(server, path))
    # What a flood makes long, it makes long in each of its rounds; the host does so once.
    flooded = sorted(turns)[-2]
    print(f"{path}: alone {alone * 1e3:.1f} ms, flooded {flooded * 1e3:.1f} ms, {sum(turns):.1f} s")
    assert flooded < AT_MOST_TIMES * alone
