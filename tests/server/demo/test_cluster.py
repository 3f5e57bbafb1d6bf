"""The demos of a cluster: what they judge, and, as long tests, what they show."""

import asyncio
import re
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from agent import model_instructions
from server.cli.main import app
from server.demo import cluster, cluster_rolling, cluster_strikes
from server.demo.cluster_calls import ANSWERS, CUT_OFF, GOODBYE, HOTEL, QUESTIONS, SENTENCES
from server.demo.cluster_report import NOT_OVER, Heard, Words, count_words, percentile
from server.demo.cluster_rolling import Rolled, Rolling
from server.demo.heard_words import KnownReply
from server.emulators.gemini_live.conversation import Conversation
from server.emulators.gemini_live.steps import Call, Say
from tests.server.demo.test_heard_words import VOICE, at_phone, middle_of, silence, sound

WELL = Heard(
    number="1",
    struck=("killed",),
    streams=2,
    silence_secs=1.2,
    back_secs=0.5,
    greetings=1,
    words=Words(said=60, lost=2, repeated=1),
    outcome="completed (agent)",
)
ROLLED = Rolled(number=1, moves=3, silence_secs=0.6, outcome="completed (caller)")


@pytest.mark.parametrize(
    ("trouble", "lost", "problem"),
    [
        ({}, None, None),
        ({"outcome": "completed (system)"}, *["ended completed (system)"] * 2),
        ({"outcome": NOT_OVER, "greetings": 0}, *[NOT_OVER] * 2),
        ({"greetings": 2}, *["was greeted 2 times"] * 2),
        ({"silence_secs": 4.0}, None, "was silent for 4.0 s"),
        ({"silence_secs": 4.0, "struck": ("killed", "frozen")}, None, None),
    ],
)
def test_what_counts_as_lost(
    trouble: dict[str, Any], lost: str | None, problem: str | None
) -> None:
    call = replace(WELL, **trouble)
    assert (call.lost, call.problem) == (lost, problem)


# --- the emulated model -------------------------------------------------------------------------


def said_to(instruction: str) -> list[str]:
    steps = Conversation().read(HOTEL, instruction)
    assert steps is not None
    return [step.text if isinstance(step, Say) else "hangs up" for step in steps]


def test_the_model_goes_on_behind_the_words_that_were_heard() -> None:
    words = ANSWERS[1].split()
    heard = " ".join(words[:7])
    rest = " ".join(words[7:])
    assert said_to(model_instructions.GO_ON.format(heard)) == [rest]
    answering = model_instructions.GO_ON_ANSWERING
    assert said_to(answering.format(QUESTIONS[1], heard)) == [rest]
    # The rest breaks off, too.
    middle = " ".join(words[7:9])
    assert said_to(model_instructions.GO_ON.format(middle)) == [" ".join(words[9:])]
    assert said_to(answering.format(QUESTIONS[1], "")) == [ANSWERS[1]]


def test_the_model_answers_what_it_could_not_answer_and_says_that_the_line_broke() -> None:
    assert said_to(model_instructions.ANSWER.format(QUESTIONS[3])) == [ANSWERS[3]]
    assert said_to(model_instructions.CUT_OFF) == [CUT_OFF]
    begun = " ".join(GOODBYE.split()[:3])
    assert said_to(model_instructions.GO_ON.format(begun)) == ["calling. Goodbye.", "hangs up"]


def test_a_question_is_answered_as_ever() -> None:
    assert Conversation().heard(HOTEL, QUESTIONS[0]) == (Say(ANSWERS[0]),)
    assert isinstance((Conversation().heard(HOTEL, "Thank you, goodbye.") or ())[-1], Call)


# --- words --------------------------------------------------------------------------------------


def test_words_that_the_rest_brings_are_not_lost() -> None:
    words = ANSWERS[2].split()
    whole, cut = KnownReply(ANSWERS[2], VOICE, 1.0), middle_of(11)
    for first, expected in (
        (11, Words(len(words), lost=0, repeated=0)),
        (13, Words(len(words), lost=2, repeated=0)),
        (9, Words(len(words), lost=0, repeated=2)),
    ):
        rest = KnownReply(" ".join(words[first:]), VOICE, 6.0)
        gap = silence(6.0 - 1.0 - cut / 8000)
        phone = at_phone(sound(whole)[:cut], gap, sound(rest))
        assert count_words([whole, rest], phone) == expected


def test_the_same_sentence_twice_is_counted_once_unless_it_is_none_of_the_script() -> None:
    said = [KnownReply(SENTENCES[0], VOICE, at) for at in (1.0, 5.0)]
    assert count_words(said, at_phone(silence(6.0))).said == len(SENTENCES[0].split())
    cut_off = [KnownReply(CUT_OFF, VOICE, at) for at in (1.0, 5.0)]
    assert count_words(cut_off, at_phone(silence(6.0))).said == 2 * len(CUT_OFF.split())


@pytest.mark.parametrize(
    ("values", "share", "value"), [([1.0], 0.95, 1.0), ([5.0, 1.0, 3.0, inf], 0.5, 3.0)]
)
def test_percentiles_are_values_that_occurred(
    values: list[float], share: float, value: float
) -> None:
    assert percentile(values, share) == value


# --- the commands -------------------------------------------------------------------------------


def shown(monkeypatch: pytest.MonkeyPatch, result: Any, *options: str) -> tuple[int, list[str]]:
    """The exit code of the command, and the lines that it printed."""

    async def run(*_args: Any, **_named: Any) -> Any:
        return result

    monkeypatch.setattr(cluster_strikes, "run_strikes", run)
    monkeypatch.setattr(cluster_rolling, "run_rolling", run)
    done = CliRunner().invoke(app, ["demo-cluster", *options])
    return done.exit_code, done.output.splitlines()


def test_the_last_line_is_the_verdict_which_counts_words(monkeypatch: pytest.MonkeyPatch) -> None:
    code, lines = shown(monkeypatch, [WELL, replace(WELL, number="2", back_secs=1.5)])
    assert code == 0
    assert "From SIGKILL to the agent's next sound, 2 calls: p50 0.50 s, p95 1.50 s." in lines
    assert lines[-1] == (
        "OK: 2 calls, none lost, none silent for too long; longest silence 1.2 s; of the agent's "
        "120 words, 4 lost, 2 heard twice."
    )


def test_a_call_that_is_lost_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = replace(WELL, number="2", outcome="completed (system)")
    code, lines = shown(monkeypatch, [WELL, lost, replace(WELL, number="3", silence_secs=9.0)])
    assert code == 1
    assert lines[-1].startswith("FAILED: 3 calls, 1 lost, 1 silent for too long;")
    assert "LOST: call 2 ended completed (system)" in lines
    assert "SLOW: call 3 was silent for 9.0 s" in lines


def test_a_call_that_is_silent_for_long_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    code, lines = shown(monkeypatch, [replace(WELL, silence_secs=9.0)])
    assert (code, lines[-1][:3]) == (0, "OK:")


@pytest.mark.parametrize(("outcome", "code"), [(ROLLED.outcome, 0), ("failed (system)", 1)])
def test_a_rolling_restart_drops_no_call(
    monkeypatch: pytest.MonkeyPatch, outcome: str, code: int
) -> None:
    rolling = Rolling([ROLLED, replace(ROLLED, number=2, outcome=outcome)], 3, late=[])
    exit_code, lines = shown(monkeypatch, rolling, "--rolling")
    assert exit_code == code
    dropped = "1 calls dropped" if code else "no calls dropped"
    assert re.match(rf"(OK|FAILED): 3 instances .* under 2 calls, 6 .*, {dropped}", lines[-1])


async def test_an_instance_that_does_not_go_is_waited_for_no_longer_than_it_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "LEAVES_WITHIN_SECS", 0.05)
    signals: list[signal.Signals] = []
    process: Any = SimpleNamespace(
        send_signal=signals.append, wait=asyncio.Event().wait, returncode=None
    )
    twilio: Any = SimpleNamespace(calls=[], until=None)
    async with (
        httpx.AsyncClient(base_url="http://127.0.0.1:9", transport=one_talks()) as http,
        AsyncExitStack() as stack,
    ):
        server: Any = SimpleNamespace(process=process, http=http)
        balancer: Any = SimpleNamespace(instances=["127.0.0.1:9"])
        stays = cluster.Instance("A", server)
        gemini: Any = None
        opened = cluster.Cluster(gemini, twilio, balancer, http, {}, Path(), stack, {"A": stays})
        left = await opened.leave("A", signal.SIGTERM)
    assert signals == [signal.SIGTERM]
    assert (left.in_time, left.calls, opened.fleet) == (False, (), {})


def one_talks() -> httpx.MockTransport:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="voice_ai_running_pipelines 1.0\n")

    return httpx.MockTransport(answer)


# --- what they show -----------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_no_call_is_lost_when_one_of_three_is_killed_one_frozen_and_one_drained() -> None:
    told: list[str] = []
    heard = await cluster_strikes.run_strikes(told.append, calls=6)
    assert [call.lost for call in heard if call.lost] == []
    assert {"killed", "frozen", "drained"} <= {word for call in heard for word in call.struck}
    assert all(call.words.said for call in heard)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_a_rolling_restart_of_three_instances_drops_none_of_six_calls() -> None:
    told: list[str] = []
    rolled = await cluster_rolling.run_rolling(told.append, calls=6)
    assert [call.dropped for call in rolled.calls if call.dropped] == []
    assert (rolled.restarted, rolled.late, len(rolled.calls)) == (3, [], 6)
    # Whoever carries a call when it is placed is restarted.
    assert all(call.moves >= 1 for call in rolled.calls)
