"""The bars of `voice-ai calls show`: one scale, true figures, and plain where nobody looks."""

import asyncio
import inspect
import io
import json
import os
import pty
import re
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from agent.latency import LONGEST_MS, Latency
from agent.record.call_log import CallLog, open_engine
from agent.record.models import CallEvent
from server.calls.latency_view import LATENCY_EXAMPLE, LatencyView
from server.cli import latency_chart
from server.cli.latency_chart import WIDTH, draw, shows_blocks
from server.emulators.twilio import Busy, TwilioEmulator
from tests.server.cli.test_commands import MAIN, ROOT
from tests.server.conftest import THEIRS, Running


def shown(latency: Latency) -> dict[str, Any]:
    """As the API gives it."""
    return LatencyView.of(latency).model_dump(mode="json", by_alias=True)


EXAMPLE = Latency(4.2, (880, 1226), (40,), 0.4, 0.6)


def test_the_chart_is_the_one_that_the_module_shows() -> None:
    module = inspect.getdoc(latency_chart)
    assert module is not None
    example = textwrap.dedent(module.split("\n\n", 1)[1])
    assert example.splitlines() == draw(shown(EXAMPLE), blocks=True)


def test_the_documentation_shows_the_chart_and_the_answer_that_it_is_drawn_from() -> None:
    page = (ROOT / "docs" / "latency.md").read_text()
    assert "```text\n" + "\n".join(draw(shown(EXAMPLE), blocks=True)) + "\n```" in page
    (answer,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert json.loads(answer) == {"latency": shown(EXAMPLE)}
    assert shown(EXAMPLE) == LATENCY_EXAMPLE


def test_plain_bars_are_plain_text_of_the_same_length() -> None:
    lines = draw(shown(EXAMPLE), blocks=False)
    assert "".join(lines).isascii()
    assert [line.count("#") for line in lines[1:5]] == [1, 18, 25, 1]


def test_of_a_call_without_any_nothing_is_drawn() -> None:
    assert draw(shown(Latency()), blocks=True) == []


def test_shares_without_a_sound_are_told_without_bars() -> None:
    told = draw(shown(Latency(share_out=0.04)), blocks=True)
    assert told == ["latency", "  our share: 0.04 ms out"]


@pytest.mark.parametrize(
    ("longest", "end"),
    [(0, "1 ms"), (1, "1 ms"), (4.2, "5 ms"), (880, "1 s"), (1000, "1 s"), (2001, "5 s")],
)
def test_the_scale_ends_at_a_round_figure_beyond_the_longest(longest: float, end: str) -> None:
    (scale,) = [line for line in draw(shown(Latency(longest)), blocks=True) if line.endswith(end)]
    assert scale.split()[0] == "0"


durations = st.floats(min_value=0, max_value=LONGEST_MS)


@given(
    first=st.none() | durations,
    responses=st.lists(durations, max_size=6),
    barge_ins=st.lists(durations, max_size=3),
    blocks=st.booleans(),
)
def test_longer_is_drawn_longer_and_nothing_runs_over(
    first: float | None, responses: list[float], barge_ins: list[float], blocks: bool
) -> None:
    latency = Latency(first, tuple(responses), tuple(barge_ins))
    known = [*([] if first is None else [first]), *responses, *barge_ins]
    lines = draw(shown(latency), blocks=blocks)[1 : 1 + len(known)]
    assert len(lines) == len(known)
    lengths = [length(line, blocks=blocks) for line in lines]
    assert all(length <= WIDTH for length in lengths)
    assert all((length > 0) == (ms > 0) for length, ms in zip(lengths, known, strict=True))
    in_order = [length for _, length in sorted(zip(known, lengths, strict=True))]
    assert in_order == sorted(lengths)
    # The scale ends at most 2.5 times as far as the longest.
    if max(known, default=0) >= 1:
        assert max(lengths) >= WIDTH / 2.5 - 1


def length(line: str, *, blocks: bool) -> float:
    """How many columns a bar has."""
    if not blocks:
        return line.count("#")
    return sum((ord("█") + 8 - ord(sign)) / 8 for sign in line if "█" <= sign <= "▏")


@pytest.mark.parametrize(
    ("encoding", "terminal", "fits"),
    [
        ("utf-8", True, True),
        ("utf-8", False, False),
        ("ascii", True, False),
        ("cp850", True, False),
    ],
)
def test_blocks_are_for_a_terminal_that_can_show_them(
    encoding: str, terminal: bool, fits: bool
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    assert shows_blocks(stream) is fits


async def a_call_that_was_answered(server: Running, twilio: TwilioEmulator, folder: Path) -> str:
    """The id of a call whose record tells of its latency."""
    twilio.people[THEIRS] = Busy()
    call_id = str((await server.place())["id"])
    await server.http.get(f"/calls/{call_id}/result", params={"wait": 20})
    events: list[tuple[str, dict[str, Any]]] = [
        ("latency.first_sound", {"ms": 4.2}),
        ("latency.response", {"ms": 880, "turn": 2}),
        ("latency.barge_in", {"ms": 40}),
        ("latency.response", {"ms": 1226, "turn": 4}),
        ("latency.share", {"in_ms": 0.4, "out_ms": 0.6}),
    ]
    engine = open_engine(f"sqlite+aiosqlite:///{folder / 'calls.db'}")
    rows = [CallEvent(call_id=call_id, kind=kind, detail=detail) for kind, detail in events]
    await CallLog(engine).write(rows)
    await engine.dispose()
    return call_id


async def test_show_draws_what_the_record_of_a_call_tells(
    server: Running, twilio: TwilioEmulator, tmp_path: Path, voice_ai: Callable[..., Result]
) -> None:
    call_id = await a_call_that_was_answered(server, twilio, tmp_path)
    result = await asyncio.to_thread(voice_ai, "calls", "show", call_id, "--server", server.url)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    chart = draw(shown(EXAMPLE), blocks=False)
    begin = lines.index("latency")
    assert lines[begin : begin + len(chart)] == chart
    assert not any(line.startswith("latency ") for line in lines), "it is no field beside it"
    assert any("life.placed" in line for line in lines[begin:])


async def test_show_draws_nothing_of_a_call_that_was_not_answered(
    server: Running, twilio: TwilioEmulator, voice_ai: Callable[..., Result]
) -> None:
    twilio.people[THEIRS] = Busy()
    call = await server.place()
    result = await asyncio.to_thread(voice_ai, "calls", "show", call["id"], "--server", server.url)
    assert result.exit_code == 0, result.output
    assert "latency" not in result.output


async def test_show_draws_blocks_in_a_terminal(
    server: Running, twilio: TwilioEmulator, tmp_path: Path
) -> None:
    call_id = await a_call_that_was_answered(server, twilio, tmp_path)
    seen = await asyncio.to_thread(in_a_terminal, "calls", "show", call_id, "--server", server.url)
    assert "\n".join(draw(shown(EXAMPLE), blocks=True)) in seen.replace("\r\n", "\n")


def in_a_terminal(*words: str) -> str:
    """What `voice-ai` writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen([*MAIN, *words], stdout=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        # Linux answers EIO once the other side of a terminal is closed.
        try:
            while read := os.read(ours, 4096):
                seen += read
        except OSError:
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    return seen.decode()
