"""What is printed while replays run, and at the end."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from server.replay.page.figures import SPACE
from server.replay.report_console import LiveTable, print_results
from server.replay.results import Failure, Replay
from server.replay.scenario import Where
from tests.server.replay import samples


class Wall:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.secs = 100.0

    def __call__(self) -> float:
        return self.secs


def plain() -> Console:
    return Console(file=StringIO(), width=80)


def terminal(width: int = 120) -> Console:
    return Console(file=StringIO(), width=width, force_terminal=True, color_system=None)


def said(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().replace(SPACE, " ")


def results(*replays: Replay, took_secs: float | None = None) -> list[str]:
    console = plain()
    print_results(replays, console, took_secs=took_secs)
    return said(console).splitlines()


def run(console: Console, replays: list[Replay]) -> str:
    with LiveTable(console, [replay.scenario for replay in replays], clock=Wall()) as table:
        for replay in replays:
            table.started(replay.scenario, replay.repetition)
            table.finished(replay)
    return said(console)


def test_where_nobody_watches_each_replay_is_one_whole_line() -> None:
    heading, *lines = run(plain(), samples.one_of_each()).splitlines()
    assert heading.split() == ["scenario", "ended", "length", "speed", "response"]
    assert len(lines) == 5
    assert lines[0].split() == (
        ["✓", "appointments/barge_in", "completed", "·", "agent", "23.0", "s", "28×", "900", "ms"]
    )
    assert [line[0] for line in lines] == ["✓", "✗", "!", "–", "✓"]


def test_where_nobody_watches_a_reason_is_said_once() -> None:
    console = plain()
    replays = samples.one_of_each()
    run(console, replays)
    print_results(replays, console)
    why = "expected response with “nine to five” within 3000 ms — saw response came late"
    assert said(console).count(why) == 1
    assert run(terminal(250), replays).count(why) == 1


def test_rows_stand_under_each_other() -> None:
    heading, *lines = run(plain(), [samples.barge_in(), samples.failed()]).splitlines()
    assert heading.index("ended") == lines[0].index("completed") == lines[1].index("completed")
    assert heading.index("response") + len("response") == lines[0].index(" ms") + len(" ms")
    assert lines[0].index(" ms") == lines[1].index(" ms")


def test_a_terminal_shows_what_runs_and_how_far_it_is() -> None:
    console, wall = terminal(), Wall()
    calls = [samples.barge_in(), samples.no_answer()]
    with LiveTable(console, [call.scenario for call in calls], clock=wall) as table:
        table.started(calls[0].scenario)
        table.started(calls[1].scenario)
        table.finished(calls[0])
        wall.secs += 2.5
    shown = said(console)
    assert "✓ appointments/barge_in" in shown
    assert "appointments/no_answer  runs 2.5 s" in shown
    assert "1 of 2 in 2.5 s  1 passed" in shown
    assert table.took_secs == 2.5


def test_a_narrow_terminal_has_rows_of_one_line() -> None:
    shown = run(terminal(60), [samples.failed()])
    assert "12.40 s" not in shown
    assert "✗ appointments/opening_hours" in shown


def test_a_terminal_of_80_columns_shows_every_figure() -> None:
    call = samples.barge_in()
    call.scenario = samples.scenario("a" * 30 + "b" * 30)
    row = next(line for line in run(terminal(80), [call]).splitlines() if "✓" in line)
    assert row.split()[-4:] == ["s", "28×", "900", "ms"]


def test_a_reason_takes_no_room_from_figures() -> None:
    assert "3600 ms\n" in run(terminal(80), [samples.failed()])


def test_a_terminal_of_80_columns_leaves_its_room_to_names() -> None:
    busy = samples.no_answer()
    busy.scenario = samples.scenario("quiet_over_a_long_greeting")
    late = samples.long_call()
    late.scenario = samples.scenario("x" * 27)
    shown = run(terminal(80), [busy, late])
    assert "✓ appointments/quiet_over_a_long_greeting   no_answer" in shown
    row = next(line for line in shown.splitlines() if "✓ appointments/xxx" in line)
    assert "x" * 27 + "  agent " in row
    assert row.endswith("ms")


def test_a_long_name_loses_its_middle() -> None:
    call = samples.barge_in()
    call.scenario = samples.scenario("a" * 30 + "b" * 30)
    row = run(plain(), [call])
    assert "appointments/a…" in row.replace("aa", "a").replace("aa", "a").replace("aa", "a")
    assert "b" * 29 in row


def test_failures_come_with_their_place_and_broken_ones_with_their_problem() -> None:
    lines = results(*samples.one_of_each())
    assert (
        "scenarios/appointments.yaml:58: expected end_reason: caller — saw agent"
        "  (appointments/opening_hours)"
    ) in lines
    assert (
        "scenarios/appointments.yaml:70: appointments/invalid_model broke:"
        " StageError: the server did not become ready within 10 s"
    ) in lines
    assert "not checked: scenarios/appointments.yaml:49: eval: the agent sounds friendly" in lines


def test_notes_stand_beside_what_failed_and_are_said_of_what_passed() -> None:
    replays = samples.one_of_each()
    note = "tool order_pizza failed: KeyError: 'oven' (pizza.py:21)"
    for replay in replays[:2]:
        replay.notes = [note]
    lines = results(*replays)
    assert f"note: {note}  (appointments/barge_in)" in lines
    at = lines.index(f"note: {note}  (appointments/opening_hours)")
    assert lines[at - 1].startswith("scenarios/appointments.yaml:58: expected")


def test_totals() -> None:
    lines = results(*samples.one_of_each(), took_secs=2.0)
    assert lines[-1] == (
        "2 passed, 1 failed, 1 broken, 1 not checked in 2.0 s (calls lasted 36.4 s: 18×)"
    )
    assert results(samples.barge_in())[-1] == "1 passed in 0.82 s (calls lasted 23.0 s: 28×)"
    assert results(samples.no_answer())[-1] == "1 passed in 0.20 s"
    assert results()[-1] == "nothing was replayed in 0.00 s"


def test_flaky_scenarios_are_counted() -> None:
    call = samples.barge_in()
    again = [samples.repetition(call, number, passed=number != 3) for number in (1, 2, 3)]
    lines = results(*again)
    assert "flaky: appointments/barge_in: 2 of 3 passed (not: 3)" in lines
    assert any(line.endswith("(appointments/barge_in[3])") for line in lines)


def test_steady_scenarios_are_said_to_be_steady() -> None:
    call = samples.failed()
    again = [samples.repetition(call, number, passed=False) for number in (1, 2)]
    lines = results(*again)
    assert "Nothing is flaky: each of 1 repeated ended the same way every time." in lines
    assert not any(line.startswith("flaky") for line in results(call))


def test_what_was_not_checked_is_said_once_however_often_it_was_repeated() -> None:
    call = samples.not_checked()
    lines = results(call, samples.repetition(call, 2))
    assert len([line for line in lines if line.startswith("not checked: ")]) == 1


def test_words_from_outside_are_neither_markup_nor_obeyed() -> None:
    call = samples.failed()
    call.failures = [Failure(Where(samples.FILE, 1), "[red]x[/red]", "\x1b[2J\nsecond line")]
    (line,) = (line for line in results(call) if line.startswith("scenarios"))
    assert "[red]x[/red]" in line
    assert "\x1b" not in line
    assert line.endswith("second line  (appointments/opening_hours)")


def test_nothing_that_a_scenario_or_a_server_says_reaches_the_terminal_raw() -> None:
    text = "a\x1b[31mred\nfake\u202e\x9b"
    escaped = "a\\x1b[31mred\\nfake\\u202e\\x9b"
    samples_ = samples.one_of_each()
    replays = [
        replace(
            replay,
            scenario=replace(replay.scenario, name=text),
            failures=[replace(it, expected=text, seen=text) for it in replay.failures],
            problem=replay.problem and text,
            end_reason=replay.end_reason and text,
            not_checked=[replace(it, what=text) for it in replay.not_checked],
        )
        for replay in samples_
    ]
    console = plain()
    run(console, replays)
    print_results(replays, console)
    written = said(console)
    assert not set(written) & {"\x1b", "\u202e", "\x9b"}
    assert not [line for line in written.splitlines() if line.startswith("fake")]
    assert f"expected {escaped} — saw {escaped}" in written
    assert f"{escaped} broke: {escaped}" in written
