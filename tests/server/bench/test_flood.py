"""The bench of floods: what it sends, what it makes of what was measured, and a run of it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.bench import machine
from server.bench.flood import KEEPS_AT_MOST_MB, QUIET, Phase, as_json, problems_of
from server.bench.flooder import flood
from server.cli.main import app
from tests.server.bench.load.samples import a_call, a_load


def phases(
    *, flooded_ms: float = 3.0, lost: int | None = None, kept_mb: float = 1.0
) -> list[Phase]:
    """A quiet time, a flood, and a quiet time again."""
    quiet = Phase(QUIET, 0, a_load(a_call()), 200.0)
    flooded = Phase("requests", 7, a_load(a_call(latency_ms=flooded_ms, lost=lost)), 210.0)
    return [quiet, flooded, replace(quiet, after_mb=200.0 + kept_mb)]


def test_a_flood_that_costs_little_is_no_problem() -> None:
    assert problems_of(phases(flooded_ms=51.9, kept_mb=KEEPS_AT_MOST_MB)) == []


def test_what_a_flood_costs_too_much_of_is_told() -> None:
    late, lost = problems_of(phases(flooded_ms=52.1)), problems_of(phases(lost=12))
    assert late == [f"requests: a packet was 50 ms late, {way}" for way in ("in", "out")]
    assert lost == ["requests: sound was lost"]
    assert problems_of(phases(kept_mb=21.0)) == ["21 MB stayed behind"]


def test_a_flood_that_did_not_take_place_is_a_problem() -> None:
    quiet, flooded, after = phases()
    none = [quiet, replace(flooded, rounds=0), after]
    assert problems_of(none) == ["requests: there was no flood"]


def test_the_json_has_each_phase() -> None:
    told = as_json(phases())
    assert [one["name"] for one in told["phases"]] == ["quiet", "requests", "quiet"]
    assert told["phases"][1]["in"] == pytest.approx((3.0, 3.0, 3.0))


async def test_a_flood_writes_all_requests_of_all_connections_in_rounds() -> None:
    received: list[bytes] = []

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(-1))
        writer.close()

    async with await asyncio.start_server(read, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        rounds = await flood(port, "/here", 100, connections=3, holds_secs=0.01, secs=0.05)
        async with asyncio.timeout(10):
            while len(received) < 3 * rounds:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert set(received) == {b"GET /here HTTP/1.1\r\n\r\n" * 100}
    assert rounds >= 1


@pytest.mark.long
def test_calls_go_on_while_the_server_is_flooded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A bench that somebody runs beside the tests is not waited for. Lateness is the machine's.
    monkeypatch.setattr(machine, "LOCK", tmp_path / "lock")
    file = tmp_path / "flood.json"
    words = ("--calls", "2", "--secs", "3", "--json", str(file))
    result = CliRunner().invoke(app, ["bench", "flood", *words])
    told = json.loads(file.read_text(encoding="utf-8"))
    assert [one["rounds"] > 0 for one in told["phases"]] == [False, True] * 3 + [False]
    assert [one for one in told["problems"] if "ms late" not in one] == [], result.output
