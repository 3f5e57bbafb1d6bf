"""Many replays: their order, their repetitions, their processes, and what they leave behind."""

import gc
import logging
import os
import signal
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from server.emulators.twilio.line import Line
from server.replay.crew import Crew
from server.replay.events import Timeline
from server.replay.results import Replay, Verdict
from server.replay.runner import RunOptions, play_one, run_all
from server.replay.scenario import (
    CallPlan,
    Expectation,
    Fact,
    Fault,
    Limit,
    ModelPlan,
    Outcome,
    RecordedTurn,
    Scenario,
    SendAfter,
    Turn,
)
from server.replay.virtual_time import VirtualTimeLoop
from tests.server.replay.stands import at

BUSY = CallPlan(answer="busy", ring_ms=200)


def busy(name: str, status: str = "busy") -> Scenario:
    return Scenario(name, at(1), BUSY, outcome=Outcome(status=Fact(at(5), status)))


def named(replays: list[Replay]) -> list[tuple[str, int, Verdict]]:
    return [(replay.scenario.name, replay.repetition, replay.verdict) for replay in replays]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_all_are_played_as_often_as_asked_and_told_as_they_run(jobs: int) -> None:
    scenarios = [busy("t/one"), busy("t/two", "no_answer")]
    started: list[tuple[str, int]] = []
    done: list[Replay] = []
    replays = run_all(
        scenarios,
        RunOptions(jobs=jobs, repeat=2),
        on_start=lambda scenario, repetition: started.append((scenario.name, repetition)),
        on_done=done.append,
    )
    assert named(replays) == [
        ("t/one", 1, Verdict.PASSED),
        ("t/two", 1, Verdict.FAILED),
        ("t/one", 2, Verdict.PASSED),
        ("t/two", 2, Verdict.FAILED),
    ]
    assert started == [(name, repetition) for name, repetition, _ in named(replays)]
    assert sorted(named(done)) == sorted(named(replays))


GREETED = CallPlan(request={"greeting": "Hello, this is Ada."})


def broken_in_the_middle() -> Scenario:
    # A key that no phone has: what reads files refuses it, the telephone does, too.
    spoken = Expectation(at(3), "bot_started_speaking")
    return Scenario(
        "t/broken", at(1), GREETED, turns=(Turn(at(2), expect=(spoken,)), Turn(at(4), dtmf="x"))
    )


def refused() -> Scenario:
    call = CallPlan(request={"pipeline": "no_such_pipeline"})
    return Scenario("t/refused", at(1), call, outcome=Outcome(record=(), record_where=at(2)))


def short() -> Scenario:
    greeting = RecordedTurn(at(3), "agent", text_contains="Ada")
    call = replace(GREETED, stays=False)
    turns = (Turn(at(2), expect=(Expectation(at(3), "bot_stopped_speaking"),)),)
    return Scenario("t/short", at(1), call, turns=turns, outcome=Outcome(record=(greeting,)))


def left_behind(folder: Path) -> dict[str, object]:
    """Open files and sockets, threads, variables, and what is in the temporary folder."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "environment": dict(os.environ),
        # What is made once for a process stays until its end.
        "files": sorted(path.name for path in folder.rglob("*") if path.name != "empty.db"),
    }


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        (broken_in_the_middle(), "person.failed: ValueError(\"no phone has a key 'x'\")"),
        (refused(), "POST /calls: 422"),
    ],
    ids=["in the middle", "by the server"],
)
def test_what_breaks_is_told_and_leaves_nothing_behind(
    scenario: Scenario,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    play_one(scenario, RunOptions())
    before = left_behind(tmp_path)
    with caplog.at_level(logging.WARNING, "asyncio"):
        replay = play_one(scenario, RunOptions())
    assert replay.verdict is Verdict.BROKEN
    assert says in replay.problem
    assert left_behind(tmp_path) == before
    assert caplog.records == []


def test_a_call_that_holds_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert play_one(short(), RunOptions()).verdict is Verdict.PASSED
    before = left_behind(tmp_path)
    assert play_one(short(), RunOptions()).verdict is Verdict.PASSED
    assert left_behind(tmp_path) == before


def test_nothing_of_a_replay_stays_in_memory() -> None:
    def remembered() -> set[int]:
        gc.collect()
        return {id(it) for it in gc.get_objects() if type(it) in (VirtualTimeLoop, Timeline, Line)}

    before = remembered()
    for _ in range(2):
        assert play_one(short(), RunOptions()).verdict is Verdict.PASSED
    assert remembered() <= before


def test_an_unknown_pipeline_is_told_in_the_servers_words() -> None:
    problem = play_one(refused(), RunOptions()).problem
    assert "no_such_pipeline" in problem
    assert "modules with more are named in PIPELINES (.env)" in problem


def test_a_fault_that_could_not_be_caused_fails() -> None:
    late = Fault(at(8), "drop", at_ms=50_000)
    model = ModelPlan(faults=(late,))
    held = Outcome(status=Fact(at(5), "completed"))
    call = CallPlan(request={"greeting": "Hello."}, stays=False)
    replay = play_one(Scenario("t/late", at(1), call, model, outcome=held), RunOptions())
    assert [(it.where, it.expected) for it in replay.failures] == [
        (at(8), "a drop 50000 ms after the answer")
    ]


XYZZY = (Turn(at(2), ("Xyzzy",), expect=(Expectation(at(3), "response", within_ms=3_000),)),)


def test_a_greeting_is_no_response_to_what_was_said_over_it() -> None:
    replay = play_one(Scenario("t/xyzzy", at(1), GREETED, turns=XYZZY), RunOptions())
    assert replay.verdict is Verdict.FAILED
    assert [failure.where for failure in replay.failures] == [at(3)]


def test_an_apology_is_no_response_and_a_call_that_breaks_down_does_not_hold() -> None:
    model = ModelPlan(connect_faults=({"http_status": 503},))
    later = (Turn(at(2), ("Xyzzy",), expect=(Expectation(at(3), "response"),)),)
    replay = play_one(Scenario("t/t", at(1), GREETED, model, turns=later), RunOptions())
    assert [failure.where for failure in replay.failures] == [at(3), at(1)]
    held = Outcome(end_reason=Fact(at(5), "no_model"))
    replay = play_one(Scenario("t/t", at(1), GREETED, model, outcome=held), RunOptions())
    assert replay.verdict is Verdict.PASSED


def test_a_reply_that_was_heard_out_is_checked_though_the_caller_hung_up_behind_it() -> None:
    asked = Outcome(cut_off_ms=Limit(at(7), 60))
    heard_out = replace(short(), outcome=asked)
    replay = play_one(heard_out, RunOptions())
    assert (replay.verdict, replay.not_checked) == (Verdict.PASSED, [])
    leaves = Turn(at(2), hang_up=True, send_after=SendAfter(at(2), "bot_started_speaking", 500))
    replay = play_one(replace(heard_out, turns=(leaves,)), RunOptions())
    (left_out,) = replay.not_checked
    assert "let the caller hear one out, or take this line out" in left_out.what


def test_a_turn_that_does_and_expects_nothing_checks_nothing() -> None:
    call = replace(GREETED, stays=False)
    replay = play_one(Scenario("t/t", at(1), call, turns=(Turn(at(2)),)), RunOptions())
    assert replay.verdict is Verdict.NOT_CHECKED


def test_a_turn_that_nobody_was_there_for_fails() -> None:
    scenario = Scenario("t/t", at(1), BUSY, turns=(Turn(at(2), ("Hello?",)),))
    replay = play_one(scenario, RunOptions())
    assert [failure.where for failure in replay.failures] == [at(2)]


def test_what_happened_before_the_answer_has_negative_times() -> None:
    replay = play_one(short(), RunOptions())
    told = {event.kind: event.at for event in replay.timeline}
    assert told["ringing"] == pytest.approx(-1.0, abs=0.1)
    assert told["in-progress"] == pytest.approx(0.0, abs=0.001)
    assert [event.at for event in replay.timeline] == sorted(event.at for event in replay.timeline)


# --- processes ---------------------------------------------------------------------------------


def obey(order: str) -> str:
    match order:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(3)
        case "litter":
            return tempfile.mkdtemp()
        case "wait":
            threading.Event().wait()
    return f"{order} done"


def crew(size: int = 2) -> Crew[str, str]:
    # Processes are forked from one that has imported this file.
    return Crew(size, obey, lambda order, how: f"{order}: {how}", preload=(__name__,))


def answers(*orders: str, size: int = 2) -> list[str]:
    return crew(size).answers(orders, on_start=lambda order: None, on_done=lambda answer: None)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_process_that_dies_takes_only_its_own_order_along(size: int) -> None:
    assert answers("one", "die", "two", "leave", "three", size=size) == [
        "one done",
        "die: was killed by SIGKILL",
        "two done",
        "leave: ended with exit code 3",
        "three done",
    ]


def test_what_processes_put_on_the_disk_is_gone_with_them() -> None:
    first, second, _ = answers("litter", "litter", "die")
    assert not Path(first).exists()
    assert not Path(second).exists()


def test_who_stops_it_waits_for_no_process() -> None:
    def enough(answer: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crew().answers(["wait", "one"], on_start=lambda order: None, on_done=enough)


def test_no_orders_need_no_process() -> None:
    assert answers() == []
