"""What people and programs are told of loads and soaks."""

import io
import json
from collections.abc import Sequence

import pytest
from rich.console import Console

from server.bench.cores import Cores
from server.bench.load.contestants import Contestant
from server.bench.load.report import as_json, one_line, print_sweep
from server.bench.load.set_up_cost import SetUpCost
from server.bench.load.set_up_report import print_set_ups, set_ups_as_json
from server.bench.load.soak import Sample, Soak, slope
from server.bench.load.soak_report import print_soaks, soaks_as_json
from server.bench.load.stage import LoadOptions
from server.bench.load.sweep import Limit, Sweep
from server.bench.statistics import Summary, summarise
from tests.server.bench.load.samples import a_call, a_cost, a_load


def a_sweep() -> Sweep:
    everyone = (Contestant.OURS, Contestant.PLAIN, Contestant.BRIDGE)
    sweep = Sweep((1,), everyone, LoadOptions(), Cores(frozenset({1}), frozenset({0})))
    secs = {Contestant.OURS: 4.0, Contestant.PLAIN: 8.0, Contestant.BRIDGE: 2.0}
    sweep.loads[1] = {
        one: a_load(a_call(), contestant=one, cost=a_cost(cpu_secs=secs[one])) for one in everyone
    }
    return sweep


def printed(sweep: Sweep, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_sweep(sweep, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_costs_are_compared_with_both_references_under_the_same_load() -> None:
    sweep = a_sweep()
    ours = sweep.loads[1][Contestant.OURS]
    assert sweep.cpu_ratio(ours, Contestant.BRIDGE) == 2.0
    assert sweep.cpu_ratio(ours, Contestant.PLAIN) == 0.5
    assert sweep.cpu_ratio(ours, Contestant.OURS) is None


def test_the_table_has_a_row_for_each() -> None:
    rows = [line for line in printed(a_sweep()).splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == ["1 ours", "1 plain", "1 bridge"]
    assert "2.0/2.0/2.0" in rows[0]
    assert "2.00│" in rows[0]


def test_a_load_beyond_what_a_core_carries_is_whole_on_80_columns() -> None:
    sweep = a_sweep()
    slow = a_call(lost=15, latency_ms=12_345.0)
    cost = a_cost(cpu_secs=12.34 * 100 / 6)
    sweep.loads[100] = {one: a_load(*[slow] * 100, contestant=one, cost=cost) for one in Contestant}
    said = printed(sweep, width=80)
    assert "…" not in said
    for figure in ("starter", "12345", "12.34", "200, 0", "1.00"):
        assert figure in said, figure


def test_json_holds_everything() -> None:
    told = json.loads(json.dumps(as_json(a_sweep())))
    ours = told["loads"][0]
    assert ours["contestant"] == "ours"
    assert ours["cpu_ratio_to_bridge"] == 2.0
    assert ours["up"]["ms"]["p50"] == pytest.approx(2.0)
    assert ours["each"][0]["index"] == 0
    assert ours["generator_was_limit"] is False
    assert told["cores"] == {"server": [1], "load": [0]}


@pytest.mark.parametrize(
    ("cost", "says"),
    [
        (a_cost(generator_share=0.9), "the load generator was the limit"),
        (a_cost(others_share=0.4), "others took 40% of the server's core"),
    ],
)
def test_what_spoils_the_figures_is_said(cost: object, says: str) -> None:
    sweep = a_sweep()
    sweep.loads[1][Contestant.OURS] = a_load(a_call(), cost=cost)  # type: ignore[arg-type]
    assert says in printed(sweep)
    assert says not in printed(a_sweep())


def test_a_generator_that_was_late_is_said() -> None:
    cost = a_cost()
    sweep = a_sweep()
    late = summarise([6.0] * 10)
    sweep.loads[1][Contestant.OURS] = a_load(
        a_call(), cost=type(cost)(10, 5, 0, 0, 0, None, 0.1, late)
    )
    assert "6.0 ms late at p99" in printed(sweep)
    assert as_json(sweep)["loads"][0]["generator_was_limit"] is True


def test_a_call_that_went_wrong_is_named() -> None:
    sweep = a_sweep()
    sweep.loads[1][Contestant.OURS] = a_load(a_call(), problems=("call 0: it went [away]",))
    assert "1 × ours: call 0: it went [away]" in printed(sweep)


def test_a_limit_says_what_broke() -> None:
    sweep = a_sweep()
    tried = [a_load(a_call())]
    sweep.limits[Contestant.OURS] = Limit(70, ["7 gaps"], tried)
    assert "ours carries 70 calls on one core; then: 7 gaps" in printed(sweep)
    assert as_json(sweep)["limits"] == {"ours": {"calls": 70, "then": ["7 gaps"]}}
    assert len(as_json(sweep)["loads"]) == 4


def test_one_line_says_what_was_lost() -> None:
    assert "lost 2, 0" in one_line(a_load(a_call(lost=15)))


def test_growth_is_that_of_the_second_half() -> None:
    begins = [Sample(number * 100, 200 + 50 * number, number) for number in range(5)]
    flat = [Sample(500 + number * 100, 450 + number, 9) for number in range(5)]
    after = Sample(1000, 300.0, 10)
    soak = Soak(Contestant.OURS, 20, [*begins, *flat, after], 12.0, None, [])
    assert soak.growth_mb_per_100 == pytest.approx(1.0)
    assert slope([]) == slope([(1, 1)]) == 0.0


def test_a_soak_is_told_whole() -> None:
    soak = Soak(
        Contestant.BRIDGE,
        20,
        [Sample(100, 51.0, 0), Sample(100, 50.5, 1)],
        7.0,
        50.0,
        ["call 3: gone"],
    )
    console = Console(file=io.StringIO(), width=120)
    print_soaks([soak], console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "bare bridge: 100 calls, 20 at once"
    assert lines[1] == "  after 100 calls 51.0 MB, 0 full collections"
    assert lines[3] == "  50.0 MB after a full collection"
    assert "7 ms of CPU" in lines[4]
    assert lines[5] == "  call 3: gone"
    (told,) = soaks_as_json([soak])["soaks"]
    assert told["samples"][0] == {"calls": 100, "resident_mb": 51.0, "full_collections": 0}


def test_a_set_up_is_told_to_people_and_programs() -> None:
    known = summarise([7.0, 8.0, 9.0])
    costs = [
        a_set_up(setup_cpu_ms=known),
        a_set_up(contestant=Contestant.PLAIN, went_wrong=["call +1555: silent"]),
    ]
    said = set_ups_on(80, costs)
    assert "one by one" in said
    assert "8.0 (7.0 to 9.0)" in said
    assert "plain Pipecat: call +1555: silent" in said
    ours, plain = json.loads(json.dumps(set_ups_as_json(costs)))["set_ups"]
    assert ours["setup_cpu_ms"]["p50"] == 8.0
    assert plain["setup_cpu_ms"] is None
    assert ours["idle_ms_per_sec"] == 4.0
    assert ours["idle_each_ms_per_sec"] == [4.0]


def test_one_burst_without_a_call_shifts_nothing_and_is_told() -> None:
    cost = a_set_up(idle_each_ms_per_sec=[4.0, 16.2, 4.1, 3.9, 4.2])
    assert cost.idle_ms_per_sec == 4.1
    said = set_ups_on(80, [cost])
    assert "ours: idle 3.9 to 16.2 in 5 windows" in said


def test_a_drift_of_what_is_taken_off_is_seen() -> None:
    cost = a_set_up(beside=20, idle_each_ms_per_sec=[100.0, 110.0, 120.0, 150.0, 160.0])
    said = set_ups_on(200, [cost])
    assert "ours: others 100 to 160 in 5 windows, median 105 at first, 155 at last" in said
    assert "at last" not in set_ups_on(200, [a_set_up(idle_each_ms_per_sec=[3.0, 4.0, 5.0])])


def test_a_set_up_without_a_window_says_so() -> None:
    cost = a_set_up(idle_each_ms_per_sec=[])
    assert cost.idle_ms_per_sec == 0.0
    assert "no window without a call" in set_ups_on(80, [cost])


def test_a_core_that_was_kept_awake_is_told() -> None:
    assert "kept awake" in set_ups_on(80, [a_set_up(awake=True)])
    assert "kept awake" not in set_ups_on(80, [a_set_up()])


def test_a_set_up_beside_others_says_how_many() -> None:
    known = summarise([7.0, 8.0, 9.0])
    cost = a_set_up(beside=20, setup_cpu_ms=known, idle_each_ms_per_sec=[140.5])
    said = set_ups_on(80, [cost])
    assert "20 others talk" in said
    assert "8.0 (7.0 to 9.0)" in said
    assert "140.5" in said
    assert "first sound" not in said


@pytest.mark.parametrize("beside", [0, 20])
def test_every_column_of_set_ups_is_read_at_80_columns(beside: int) -> None:
    wide = summarise([110.4, 117.3, 199.9])
    cost = SetUpCost(
        Contestant.BRIDGE, 1000, beside, None if beside else wide, wide, wide, [1412.3], True, []
    )
    said = set_ups_on(80, [cost])
    assert said.count("117 (110 to 200)") == (2 if beside else 3)
    assert "1412.3" in said
    assert "…" not in said


def a_set_up(
    *,
    contestant: Contestant = Contestant.OURS,
    beside: int = 0,
    setup_cpu_ms: Summary | None = None,
    idle_each_ms_per_sec: Sequence[float] = (4.0,),
    awake: bool = False,
    went_wrong: Sequence[str] = (),
) -> SetUpCost:
    """Of sixty calls; what is not named was not measured."""
    idle, wrong = list(idle_each_ms_per_sec), list(went_wrong)
    return SetUpCost(
        contestant, 60, beside, None, setup_cpu_ms, None, idle, awake=awake, went_wrong=wrong
    )


def set_ups_on(columns: int, costs: list[SetUpCost]) -> str:
    """What is printed of them on so many columns."""
    console = Console(file=io.StringIO(), width=columns)
    print_set_ups(costs, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
