"""What is made of measured figures: shares, warnings, and a table that leaves nothing out."""

import io
import json
from dataclasses import replace

from rich.console import Console

from server.bench.figures import Figure
from server.bench.latency import BenchOptions, BenchResult, SystemResult
from server.bench.latency_report import TITLES, as_json, print_result, was_late
from server.bench.machine import Cores
from server.bench.statistics import Summary, summarise
from server.bench.systems import System


def summary(*values: float) -> Summary:
    found = summarise(values)
    assert found is not None
    return found


def result(lag_ms: float = 0.5) -> BenchResult:
    measured = {
        System.WARM: {Figure.START_TO_MEDIA: summary(2, 4), Figure.GAPS: summary(0, 0)},
        System.PLAIN: {Figure.START_TO_MEDIA: summary(200, 260), Figure.GAPS: summary(0, 3)},
    }
    systems = {
        system: SystemResult(figures, [], summary(0.1, lag_ms))
        for system, figures in measured.items()
    }
    return BenchResult(BenchOptions(calls=2), Cores(server=(1,), load=(0,)), systems)


def printed(bench: BenchResult) -> str:
    out = io.StringIO()
    print_result(bench, Console(file=out, width=100))
    return out.getvalue()


def test_a_share_is_that_of_the_plain_bots_median() -> None:
    bench = result()
    assert bench.share_of_plain(System.WARM, Figure.START_TO_MEDIA) == 0.01
    assert bench.share_of_plain(System.PLAIN, Figure.START_TO_MEDIA) == 1.0
    assert bench.share_of_plain(System.WARM, Figure.GAPS) is None  # of nothing
    assert bench.share_of_plain(System.WARM, Figure.RESPONSE) is None
    assert bench.share_of_plain(System.COLD, Figure.START_TO_MEDIA) is None


def test_the_table_has_a_row_for_each_figure_and_system() -> None:
    text = printed(result())
    for title in TITLES.values():
        assert title in text
    assert text.count("│   warm  ") == len(Figure)
    assert text.count("│   plain  ") == len(Figure)
    assert "1.00%" in text
    assert "–" in text  # what was not measured


def test_a_load_generator_that_was_late_is_said_to_be() -> None:
    good, late = result(), result(lag_ms=12.0)
    assert "too late" not in printed(good)
    assert "may hold that" not in printed(good)
    assert "too late" in printed(late)
    assert was_late(late.systems[System.WARM])
    assert as_json(late)["systems"]["warm"]["load_generator"]["was_late"] is True
    assert as_json(good)["systems"]["warm"]["load_generator"]["was_late"] is False


def test_a_load_generator_that_stalled_once_is_said_to_have() -> None:
    bench = result()
    lag = summary(*[0.1] * 200, 90.0)
    bench.systems[System.WARM] = replace(bench.systems[System.WARM], lag_ms=lag)
    assert "90.0 ms at most: a p99 may hold that" in printed(bench)
    assert not was_late(bench.systems[System.WARM])


def test_calls_that_went_wrong_are_told_one_by_one() -> None:
    bench = result()
    broken = replace(bench.systems[System.WARM], problems=["the call to +1: [it] broke"])
    bench.systems[System.WARM] = broken
    assert "the call to +1: [it] broke" in printed(bench)


def test_json_holds_what_was_asked_and_all_that_was_measured() -> None:
    told = json.loads(json.dumps(as_json(result())))
    assert told["options"]["calls"] == 2
    assert told["options"]["systems"] == ["warm", "plain"]
    assert told["cores"] == {"server": [1], "load": [0]}
    assert told["systems"]["warm"]["figures"]["start_to_first_media"]["p99"] == 4
    assert told["systems"]["warm"]["share_of_plain"] == {"start_to_first_media": 0.01}
    assert told["systems"]["plain"]["share_of_plain"] == {}


def test_cores_that_are_shared_are_told() -> None:
    bench = replace(result(), cores=None)
    assert "shared their cores" in printed(bench)
    assert as_json(bench)["cores"] is None
