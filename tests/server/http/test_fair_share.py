"""Requests that arrive together start a few in a turn of the loop, in their order."""

import asyncio

from starlette.types import Receive, Scope, Send

from server.http.fair_share import STARTS_EACH_TURN, FairShare


async def _nothing() -> dict[str, str]:
    raise AssertionError("nobody reads")


async def _send(_message: object) -> None:
    raise AssertionError("nobody answers")


async def test_a_few_requests_start_in_each_turn_and_all_in_their_order() -> None:
    turn, started = 0, list[tuple[int, int]]()

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count_turns)

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        started.append((turn, scope["number"]))

    share = FairShare(app)
    count_turns()
    requests = [share({"type": "http", "number": n}, _nothing, _send) for n in range(50)]
    await asyncio.gather(*requests)
    assert [number for _, number in started] == list(range(50))
    turns = [turn for turn, _ in started]
    assert max(turns.count(each) for each in turns) == STARTS_EACH_TURN


async def test_who_goes_away_while_it_waits_takes_no_turn() -> None:
    started = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        started.append(scope["number"])

    share = FairShare(app)
    requests = [
        asyncio.create_task(share({"type": "http", "number": n}, _nothing, _send))
        for n in range(4 * STARTS_EACH_TURN)
    ]
    await asyncio.sleep(0)
    for request in requests[STARTS_EACH_TURN : 3 * STARTS_EACH_TURN]:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    last = range(3 * STARTS_EACH_TURN, 4 * STARTS_EACH_TURN)
    assert started == [*range(STARTS_EACH_TURN), *last]


async def test_a_media_stream_waits_for_no_turn() -> None:
    passed = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        passed.append(scope["type"])

    share = FairShare(app)
    for _ in range(3 * STARTS_EACH_TURN):
        await share({"type": "websocket"}, _nothing, _send)
    assert len(passed) == 3 * STARTS_EACH_TURN
