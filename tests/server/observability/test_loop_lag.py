"""What an operator sees of a blocked loop: its lag, and now and then a line with a stack."""

import asyncio
import sysconfig
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvloop
from loguru import logger

from server.observability import loop_lag
from server.observability.loop_lag import measured_loop_lag, one_frame_of, stack_of
from tests.server.conftest import ServerFactory

Run = Callable[[Awaitable[None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run  # type: ignore[misc]


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    seen: list[Any] = []
    sink = logger.add(lambda message: seen.append(message.record), level="WARNING")
    yield seen
    logger.remove(sink)


def named_function(secs: float) -> None:
    time.sleep(secs)


async def beats(lags: list[float], count: int = 1) -> None:
    until = len(lags) + count
    while len(lags) < until:  # noqa: ASYNC110 (nobody is told of each beat)
        await asyncio.sleep(0.001)


def test_a_blocked_loop_is_logged_with_the_function_that_blocked_it(
    run: Run, lines: list[Any]
) -> None:
    lags: list[float] = []

    async def play() -> None:
        with measured_loop_lag(lags.append):
            await beats(lags)
            lines.clear()  # a busy machine makes some, too
            named_function(0.3)
            await beats(lags)

    run(play())
    assert max(lags) >= 0.24
    (line,) = lines
    assert line["message"] == "The event loop was blocked"
    assert line["extra"]["late_ms"] >= 240
    assert line["extra"]["stack"].startswith("named_function (")
    assert " < play (" in line["extra"]["stack"]


def test_lines_are_seconds_apart_and_say_how_many_were_left_out(
    run: Run, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lags: list[float] = []

    async def play() -> None:
        with measured_loop_lag(lags.append):
            for _ in range(3):
                named_function(0.2)
                await beats(lags)
            monkeypatch.setattr(loop_lag, "LOGGED_EVERY_SECS", 0.0)
            named_function(0.2)
            await beats(lags)

    run(play())
    unlogged = [line["extra"]["unlogged"] for line in lines]
    assert unlogged[0] == 0
    assert unlogged[1] >= 2


def test_short_work_is_lag_and_no_stall(run: Run, lines: list[Any]) -> None:
    lags: list[float] = []

    async def play() -> None:
        with measured_loop_lag(lags.append):
            await beats(lags, 4)

    run(play())
    assert min(lags) >= 0.0
    assert [line for line in lines if "named_function" in line["extra"]["stack"]] == []


def test_in_development_the_start_is_not_logged_and_one_frame_is_later(
    run: Run, lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lags: list[float] = []

    async def play() -> None:
        with measured_loop_lag(lags.append, development=True):
            named_function(0.2)
            await beats(lags)
        assert lines == []
        monkeypatch.setattr(loop_lag, "STARTS_SECS", 0.0)
        with measured_loop_lag(lags.append, development=True):
            named_function(0.2)
            await beats(lags)

    run(play())
    assert max(lags) >= 0.14
    assert lines
    assert not [line for line in lines if " < " in line["extra"]["stack"]]


def test_one_frame_is_the_innermost_of_no_library() -> None:
    lib = sysconfig.get_paths()["stdlib"]
    dump = f"""Thread 0x00000000000000bb (most recent call first):
  File "<frozen importlib._bootstrap>", line 1 in _find
  File "{lib}/json/decoder.py", line 2 in decode
  File "{lib}/site-packages/httpx/_client.py", line 3 in send
  File "/home/ada/corner-bakery/tools.py", line 12 in look_up
  File "{lib}/site-packages/agent/tools/call.py", line 4 in run
"""
    assert one_frame_of(dump, 0xBB) == "look_up (/home/ada/corner-bakery/tools.py:12)"
    without = dump.replace("/home/ada/corner-bakery", f"{lib}/site-packages/numpy")
    assert one_frame_of(without, 0xBB) == f"run ({lib}/site-packages/agent/tools/call.py:4)"
    only = "\n".join(dump.splitlines()[:3])
    assert one_frame_of(only, 0xBB) == "_find (<frozen importlib._bootstrap>:1)"
    assert one_frame_of(dump, 0xCC) == ""


def test_nothing_beats_and_nothing_is_logged_once_it_is_over(run: Run, lines: list[Any]) -> None:
    lags: list[float] = []

    async def play() -> None:
        with measured_loop_lag(lags.append):
            await beats(lags)
        lines.clear()
        seen = len(lags)
        named_function(0.2)
        await asyncio.sleep(0.1)
        assert len(lags) == seen

    run(play())
    assert lines == []


def test_the_stack_is_that_of_the_loops_thread() -> None:
    dump = """Timeout (0:00:00.100000)!
Thread 0x00000000000000aa (most recent call first):
  File "/lib/threading.py", line 9 in wait

Thread 0x00000000000000bb (most recent call first):
  File "/app/speaker.py", line 12 in hear
  File "/app/gemini.py", line 3 in take
"""
    assert stack_of(dump, 0xBB) == "hear (/app/speaker.py:12) < take (/app/gemini.py:3)"
    assert stack_of(dump, 0xCC) == ""


async def test_a_server_shows_its_lag(start_server: ServerFactory) -> None:
    async with start_server() as server:
        count = "voice_ai_event_loop_lag_seconds_count"
        async with asyncio.timeout(20):
            while not (seen := await server.metric(count)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            # It goes on, and each measure is in the histogram.
            while not await server.metric(count) > seen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        all_of_them = 'voice_ai_event_loop_lag_seconds_bucket{le="+Inf"}'
        assert await server.metric(all_of_them) >= seen + 1
