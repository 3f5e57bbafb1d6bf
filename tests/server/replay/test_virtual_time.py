"""Calls in virtual time: the same messages every time, far faster than they last."""

import asyncio
import re
import socket
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from server.replay import thread_work
from server.replay.reading import read_scenarios
from server.replay.results import Replay, Verdict
from server.replay.runner import RunOptions, play_one
from server.replay.virtual_time import VirtualTimeLoop
from server.twilio import rest_http

SCENARIOS = Path(__file__).parents[3] / "scenarios"
# What is made anew for each call.
NAMES = re.compile(r"(CA|MZ)?[0-9a-f]{32}|127\.0\.0\.1:\d+")


def replay(file: str, name: str) -> Replay:
    (scenario,) = [s for s in read_scenarios(SCENARIOS / file) if s.name.endswith(f"/{name}")]
    return play_one(scenario, RunOptions())


def run(scene: Coroutine[Any, Any, None]) -> float:
    """Run a coroutine; how long it took on the virtual clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        began = loop.time()
        runner.run(scene)
        return loop.time() - began


async def steps(told: list[str], number: int = 5) -> None:
    """Keep the loop busy for some turns of it."""
    for _ in range(number):
        await asyncio.sleep(0)
        told.append("loop")


def test_a_sleep_takes_its_time_on_the_virtual_clock_alone() -> None:
    began = time.perf_counter()
    assert run(asyncio.sleep(3600)) == 3600
    assert (time.perf_counter() - began) * 100 < 3600


def test_the_clock_stands_while_a_thread_works() -> None:
    async def scene() -> None:
        may_end = threading.Event()
        loop = asyncio.get_running_loop()
        began = loop.time()
        work = loop.run_in_executor(None, may_end.wait)
        slept = asyncio.create_task(asyncio.sleep(5))
        threading.Timer(0.05, may_end.set).start()
        await work
        assert loop.time() == began
        await slept
        assert loop.time() == began + 5

    run(scene())


def test_the_end_waits_for_threads_as_long_as_they_work() -> None:
    may_end = threading.Event()

    async def scene() -> None:
        asyncio.get_running_loop().run_in_executor(None, may_end.wait)
        threading.Timer(0.1, may_end.set).start()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scene())
        loop = runner.get_loop()
        began = loop.time()
        loop.run_until_complete(loop.shutdown_default_executor())
        assert may_end.is_set()
        assert loop.time() == began


def test_what_a_thread_did_comes_when_nothing_else_is_left_to_do() -> None:
    async def scene() -> None:
        told: list[str] = []
        loop = asyncio.get_running_loop()
        quick = loop.run_in_executor(None, lambda: "thread")
        quick.add_done_callback(lambda done: told.append(done.result()))
        await steps(told, 100)
        await quick
        assert told == [*["loop"] * 100, "thread"]

    run(scene())


def test_what_a_thread_says_comes_when_nothing_else_is_left_to_do() -> None:
    async def scene() -> None:
        told: list[str] = []
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(told.append, "thread"))
        thread.start()
        thread.join()
        await steps(told)
        await asyncio.sleep(1)
        assert told == [*["loop"] * 5, "thread"]

    run(scene())


def test_what_a_thread_wants_called_can_be_cancelled() -> None:
    async def scene() -> None:
        told: list[str] = []
        loop = asyncio.get_running_loop()

        def say() -> None:
            loop.call_soon_threadsafe(told.append, "not this").cancel()
            loop.call_soon_threadsafe(told.append, "this")

        thread = threading.Thread(target=say)
        thread.start()
        thread.join()
        await asyncio.sleep(1)
        assert told == ["this"]

    run(scene())


def test_what_a_thread_sends_comes_when_nothing_else_is_left_to_do() -> None:
    async def scene() -> None:
        told: list[str] = []
        connected, all_told = asyncio.Event(), asyncio.Event()
        may_send, sent = threading.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                told.append(line.decode().strip())
            writer.close()
            if {"thread", "ours"} <= set(told):
                all_told.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()

        def talk() -> None:
            with socket.create_connection(address) as there:
                loop.call_soon_threadsafe(connected.set)
                may_send.wait()
                there.sendall(b"thread\n")
                sent.set()

        async with server:
            talking = loop.run_in_executor(None, talk)
            await connected.wait()
            _, ours = await asyncio.open_connection(*address)
            may_send.set()
            sent.wait()
            ours.write(b"ours\n")
            await steps(told)
            ours.close()
            await talking
            await all_told.wait()
        assert told.index("ours") < told.index("thread")
        assert told[-1] == "thread"

    run(scene())


def test_work_for_threads_is_done_in_the_order_in_which_it_was_given() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        done: list[int] = []

        def work(number: int, secs: float) -> None:
            time.sleep(secs)
            done.append(number)

        secs = (0.05, 0.02, 0.0)
        works = [loop.run_in_executor(None, work, *each) for each in enumerate(secs)]
        seen: list[int] = []
        for number, each in enumerate(works):
            each.add_done_callback(lambda _, number=number: seen.append(number))
        await asyncio.gather(*works)
        await asyncio.sleep(0)
        assert done == seen == [0, 1, 2]

    assert run(scene()) == 0


def test_a_thread_may_wait_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_work, "PATIENCE_SECS", 0.02)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        told = threading.Event()
        waits = loop.run_in_executor(None, told.wait, 10)
        tells = loop.run_in_executor(None, told.set)
        assert await waits
        await tells

    run(scene())


def test_work_that_nobody_waits_for_any_more_is_not_begun() -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        begun: list[str] = []
        loop.run_in_executor(None, begun.append, "cancelled").cancel()
        await loop.run_in_executor(None, begun.append, "wanted")
        assert begun == ["wanted"]

    run(scene())


def test_what_a_thread_raises_reaches_who_asked() -> None:
    async def scene() -> None:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    run(scene())


def told(replayed: Replay) -> list[tuple[object, ...]]:
    """The whole timeline, but for names that are made anew for each call."""
    return [
        (round(e.at, 9), e.lane, e.kind, e.text, NAMES.sub("…", str(e.detail)))
        for e in replayed.timeline
    ]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("conversation.yaml", "barge_in_twice"),
        pytest.param("line.yaml", "maximum_duration", marks=pytest.mark.long),
        pytest.param("line.yaml", "noisy_line", marks=pytest.mark.long),
        ("tools.yaml", "tool_call"),
    ],
)
def test_the_same_scenario_twice_gives_the_same_messages_twice(
    file: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replay(file, name)
    request = rest_http.TwilioHttp.request

    def slow_request(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.02)
        answer = request(*args, **kwargs)
        time.sleep(0.02)
        return answer

    # Threads are as fast as the machine lets them: that must not show.
    monkeypatch.setattr(rest_http.TwilioHttp, "request", slow_request)
    second = replay(file, name)
    assert first.verdict is Verdict.PASSED, first.failures
    assert told(first) == told(second)
    assert first.sound == second.sound
    assert first.transcript == second.transcript


def test_calls_are_replayed_far_faster_than_they_last() -> None:
    # What a process does once (imports, migrations) is not the replay's.
    replay("line.yaml", "busy")
    began = time.process_time()
    played = replay("line.yaml", "silent_caller")
    # Of its own time: how much of a core it gets is up to the machine.
    took_secs = time.process_time() - began
    assert played.verdict is Verdict.PASSED, played.failures
    assert played.call_secs > 5 * took_secs
