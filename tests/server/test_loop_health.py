"""What an operator sees of a blocked loop: a bounded metric, and now and then a line."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from server import loop_health
from server.code_places import CodePlace
from server.loop_health import MOST_PLACES, OTHER_PLACES, StallReport
from server.loop_watchdog import Stall
from server.metrics import Metrics
from tests.server.conftest import Running, ServerFactory
from tests.server.test_metrics import samples

STACK = (CodePlace("json", "loads", 9), CodePlace("pipelines.gemini", "hear", 12))


def stall(place: str = "pipelines.gemini:hear in json", secs: float = 0.02) -> Stall:
    return Stall(place, secs, secs / 2, secs / 4, STACK, looks=3)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    seen: list[Any] = []
    sink = logger.add(lambda message: seen.append(message.record), level="WARNING")
    yield seen
    logger.remove(sink)


def test_every_stall_is_counted_with_its_place_and_how_long_it_was() -> None:
    metrics = Metrics()
    report = StallReport(metrics)
    report.take(stall(secs=0.02))
    report.take(stall(secs=0.05))
    report.take(stall("gc", secs=0.3))
    seen = samples(metrics)
    assert seen["voice_ai_loop_stall_seconds_count", ("pipelines.gemini:hear in json",)] == 2
    assert seen["voice_ai_loop_stall_seconds_sum", ("pipelines.gemini:hear in json",)] == 0.07
    assert seen["voice_ai_loop_stall_seconds_count", ("gc",)] == 1


def test_there_are_never_more_places_than_somebody_can_read() -> None:
    metrics = Metrics()
    report = StallReport(metrics)
    for _ in range(2):
        for number in range(MOST_PLACES + 7):
            report.take(stall(f"place {number}"))
    count = "voice_ai_loop_stall_seconds_count"
    seen = {labels[0]: n for (name, labels), n in samples(metrics).items() if name == count}
    assert len(seen) == MOST_PLACES + 1
    assert seen[OTHER_PLACES] == 14


def test_a_stall_that_callers_hear_is_logged_with_who_and_where(lines: list[Any]) -> None:
    report = StallReport(Metrics())
    report.take(stall(secs=0.099))
    assert lines == []
    report.take(stall(secs=0.25))
    (line,) = lines
    assert line["message"] == "The event loop was blocked"
    assert line["extra"]["place"] == "pipelines.gemini:hear in json"
    told = [line["extra"][name] for name in ("ms", "computed_ms", "waited_ms")]
    assert told == [250, 125, 62]
    assert line["extra"]["stack"] == "json:loads:9 < pipelines.gemini:hear:12"


def test_lines_are_seconds_apart_and_say_how_many_were_left_out(
    lines: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = StallReport(Metrics())
    for _ in range(5):
        report.take(stall(secs=0.2))
    assert [line["extra"]["unsaid"] for line in lines] == [0]
    monkeypatch.setattr(loop_health, "LOGGED_EVERY_SECS", 0.0)
    report.take(stall(secs=0.2))
    report.take(stall(secs=0.2))
    assert [line["extra"]["unsaid"] for line in lines] == [0, 4, 0]


async def until_some(server: Running, line: str) -> None:
    # Another process would have no other way to wait for it either.
    while not await server.metric(line):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def blocks() -> None:
    time.sleep(0.06)


async def test_a_server_shows_who_blocked_its_loop(start_server: ServerFactory) -> None:
    async with start_server() as server:
        line = f'voice_ai_loop_stall_seconds_count{{place="{__name__}:blocks"}}'
        while not await server.metric(line):
            blocks()
            await asyncio.sleep(0.02)
        await until_some(server, "voice_ai_event_loop_lag_seconds_count")
        assert await server.metric(line) >= 1


async def test_a_server_without_the_watchdog_still_knows_its_lag(
    start_server: ServerFactory,
) -> None:
    async with start_server(loop_watchdog=False) as server:
        assert "loop-watchdog" not in own_threads()
        await until_some(server, "voice_ai_event_loop_lag_seconds_count")
    async with start_server():
        assert own_threads().count("loop-watchdog") == 1
    assert "loop-watchdog" not in own_threads()


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]
