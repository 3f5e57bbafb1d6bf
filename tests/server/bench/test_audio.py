"""The line is as good as it has to be, and one that is not is found out."""

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from processors.polyphase import Polyphase
from server.bench import audio_report
from server.bench.audio import Direction, LineFigures, measure
from server.bench.audio_report import OURS, audio_as_json, measure_all, print_audio, verdicts
from server.bench.soxr_stream import SoxrStream
from server.cli.main import app


@pytest.fixture(scope="module")
def ours() -> dict[Direction, LineFigures]:
    return {direction: measure(direction, Polyphase) for direction in Direction}


def test_the_line_reaches_all_that_it_has_to(ours: dict[Direction, LineFigures]) -> None:
    assert [one for one in verdicts(ours) if not one.passed] == []
    assert len(verdicts(ours)) == 7


def test_the_line_holds_nothing_back(ours: dict[Direction, LineFigures]) -> None:
    for figures in ours.values():
        least, most = figures.delay_ms
        assert most - least < 0.01
        assert 1.9 < most < 2.1


def test_the_band_of_a_telephone_is_carried_evenly(ours: dict[Direction, LineFigures]) -> None:
    for figures in ours.values():
        assert figures.ripple_db < 0.05
        assert {300, 3_400} <= figures.response_db.keys()


def test_mu_law_is_what_decides_on_the_way_to_the_phone(
    ours: dict[Direction, LineFigures],
) -> None:
    agent = ours[Direction.AGENT]
    assert agent.mulaw_snr_db is not None
    assert agent.snr_db - agent.mulaw_snr_db > 20
    assert min(agent.mulaw_sine_snr_db.values()) > 36
    assert ours[Direction.CALLER].mulaw_snr_db is None


class Broken(Polyphase):
    """What each kind of damage is done to."""


class TooLoud(Broken):
    def convert(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(super().convert(pcm), "<i2")
        return (samples * 1.05).round().astype("<i2").tobytes()


class Unfiltered(Broken):
    """Every so many samples; the caller's are repeated."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        super().__init__(from_rate, to_rate)
        self._ratio = from_rate // to_rate, to_rate // from_rate

    def convert(self, pcm: bytes) -> bytes:
        down, up = self._ratio
        samples = np.frombuffer(pcm, "<i2")
        return (samples[::down] if down else samples.repeat(up)).tobytes()

    def flush(self) -> bytes:
        return b""


class BeginsAnew(Broken):
    """Forgets the last packet before each."""

    def convert(self, pcm: bytes) -> bytes:
        self.reset()
        return super().convert(pcm)


class NeverFlushed(Broken):
    def flush(self) -> bytes:
        return b""


class DropsAPacket(Broken):
    """One in fifty."""

    count = 0

    def convert(self, pcm: bytes) -> bytes:
        self.count += 1
        out = super().convert(pcm)
        return bytes(len(out)) if self.count % 50 == 40 else out


@pytest.mark.parametrize(
    ("broken", "fails"),
    [
        (TooLoud, {"level, either way"}),
        (Unfiltered, {"folded sound", "mirrored sound"}),
        (BeginsAnew, {"speech to noise", "speech to noise, mu-law"}),
        (NeverFlushed, {"lost of a reply's end"}),
        (DropsAPacket, {"speech to noise", "speech to noise, mu-law"}),
    ],
)
def test_a_broken_resampler_fails(broken: type[Broken], fails: set[str]) -> None:
    line = {direction: measure(direction, broken) for direction in Direction}
    assert fails <= {one.what for one in verdicts(line) if not one.passed}


def test_the_stream_of_soxr_is_clean_and_holds_a_live_line_back() -> None:
    figures = measure(Direction.AGENT, partial(SoxrStream, quality="VHQ"))
    assert figures.snr_db > 70
    assert figures.aliasing_db < -80
    assert figures.delay_ms[1] > 50
    quick = measure(Direction.AGENT, partial(SoxrStream, quality="QQ"))
    assert quick.delay_ms[1] < 1
    assert quick.aliasing_db > -20


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Polyphase]], None]:
    def only(kind: type[Polyphase]) -> None:
        both = {OURS: kind, "soxr QQ": partial(SoxrStream, quality="QQ")}
        monkeypatch.setattr(measure_all, "__defaults__", (both,))

    return only


def test_the_command_writes_all_that_was_measured(
    fewer: Callable[[type[Polyphase]], None], tmp_path: Path
) -> None:
    fewer(Polyphase)
    file = tmp_path / "out" / "audio.json"
    ran = CliRunner().invoke(app, ["bench", "audio", "--json", str(file)])
    assert ran.exit_code == 0, ran.output
    told = json.loads(file.read_text())
    assert set(told["lines"]) == {OURS, "soxr QQ"}
    assert told["lines"][OURS]["agent"]["tail_lost_ms"] == 0
    assert all(one["passed"] for one in told["verdicts"])


def test_the_command_fails_when_the_line_is_not_good_enough(
    fewer: Callable[[type[Polyphase]], None],
) -> None:
    fewer(NeverFlushed)
    ran = CliRunner().invoke(app, ["bench", "audio"])
    assert ran.exit_code == 1
    assert "NO" in ran.output


def test_the_table_has_each_line_and_every_verdict(ours: dict[Direction, LineFigures]) -> None:
    out = io.StringIO()
    print_audio({OURS: ours}, Console(file=out, width=100))
    text = out.getvalue()
    for one in verdicts(ours):
        assert one.what in text
    assert "caller: 8 → 16 kHz" in text
    assert "agent: 24 → 8 kHz" in text
    assert json.loads(json.dumps(audio_as_json({OURS: ours})))["verdicts"][0]["at_most"] == 0.3
    assert set(audio_report.RESAMPLERS) == {OURS, "soxr VHQ", "soxr HQ", "soxr QQ"}
