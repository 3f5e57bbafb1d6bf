"""The bench itself, run as a person runs it: real processes, real sockets, real time.

Only orders and shares are asserted: how many milliseconds anything takes is the machine's affair.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.bench.figures import Figure
from server.cli.main import app

CALLS = 2
SETUP_SECS, THINKING_SECS = 0.6, 0.1
WORDS = [
    *("bench", "latency", "--calls", str(CALLS), "--at-once", str(CALLS), "--warm-up", "0"),
    *("--ring", "1.2", "--setup", str(SETUP_SECS), "--thinking", str(THINKING_SECS)),
]


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, dict[str, Any]]:
    """One run of one system."""
    file: Path = tmp_path_factory.mktemp("bench") / "new folder" / "latency.json"
    result = CliRunner().invoke(app, [*WORDS, "--system", "warm", "--json", str(file)])
    return result, json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, dict[str, Any]]:
    """One run of all three systems, for all tests of this file."""
    file: Path = tmp_path_factory.mktemp("bench") / "new folder" / "latency.json"
    result = CliRunner().invoke(app, [*WORDS, "--json", str(file)])
    return result, json.loads(file.read_text(encoding="utf-8"))


def p50(told: dict[str, Any], system: str, figure: Figure) -> float:
    value: float = told["systems"][system]["figures"][figure]["p50"]
    return value


@pytest.mark.long
def test_every_call_of_one_system_goes_as_it_should(ours: tuple[Result, dict[str, Any]]) -> None:
    result, told = ours
    assert told["systems"].keys() == {"warm"}
    assert told["systems"]["warm"]["problems"] == []
    assert result.exit_code == 0, result.output
    assert "  warm  " in result.output


@pytest.mark.long
def test_one_system_has_every_figure(ours: tuple[Result, dict[str, Any]]) -> None:
    _, told = ours
    has_every_figure(told["systems"]["warm"])


def has_every_figure(system: dict[str, Any]) -> None:
    figures = system["figures"]
    assert set(figures) == set(Figure)
    assert figures[Figure.START_TO_MEDIA]["count"] == CALLS
    assert figures[Figure.RESPONSE]["count"] == 2 * CALLS
    assert figures[Figure.PACKET_TO_MODEL]["count"] > 50 * CALLS
    assert system["load_generator"]["lag_ms"]["count"] > 100


@pytest.mark.long
def test_every_call_goes_as_it_should(run: tuple[Result, dict[str, Any]]) -> None:
    result, told = run
    assert [told["systems"][system]["problems"] for system in ("warm", "cold", "plain")] == [[]] * 3
    assert result.exit_code == 0, result.output
    assert "  warm  " in result.output
    assert "  plain  " in result.output


@pytest.mark.long
def test_every_system_has_every_figure(run: tuple[Result, dict[str, Any]]) -> None:
    _, told = run
    for system in ("warm", "cold", "plain"):
        has_every_figure(told["systems"][system])


@pytest.mark.long
def test_what_was_prepared_is_there_first_and_the_plain_bot_is_last(
    run: tuple[Result, dict[str, Any]],
) -> None:
    _, told = run
    for figure in (Figure.START_TO_MEDIA, Figure.ANSWER_TO_SOUND):
        warm, cold, plain = (p50(told, system, figure) for system in ("warm", "cold", "plain"))
        assert warm < cold / 2
        assert cold < plain
    share = told["systems"]["warm"]["share_of_plain"][Figure.START_TO_MEDIA]
    assert share < 0.5


@pytest.mark.long
def test_who_opens_a_session_only_when_the_phone_is_answered_waits_for_it(
    run: tuple[Result, dict[str, Any]],
) -> None:
    _, told = run
    needed_ms = (SETUP_SECS + THINKING_SECS) * 1000
    for system in ("cold", "plain"):
        assert told["systems"][system]["figures"][Figure.ANSWER_TO_SOUND]["smallest"] > needed_ms


@pytest.mark.long
def test_our_share_of_a_reply_is_smaller_than_the_plain_bots(
    run: tuple[Result, dict[str, Any]],
) -> None:
    _, told = run
    for system in ("warm", "cold"):
        assert p50(told, system, Figure.CHUNK_TO_SOUND) < p50(told, "plain", Figure.CHUNK_TO_SOUND)
        assert p50(told, system, Figure.LOST) < p50(told, "plain", Figure.LOST)


def test_a_system_that_there_is_not_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "latency", "--system", "tepid"])
    assert result.exit_code == 2
    assert "tepid" in result.output
    assert "plain-starter" in result.output
