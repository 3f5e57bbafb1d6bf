"""Whatever happens to its sessions, in any order: one agent speaks, and every call ends."""

import asyncio
import audioop
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import numpy as np
import pytest
from google.genai import types
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.measures import ModelDrop, ModelSwitch
from pipelines.gemini.client import ModelSession
from pipelines.gemini.model_controls import Change
from server.chaos.question import TONES, question, tones_in
from tests import virtual_time
from tests.pipelines.answering_model import LOWEST_HZ, REPLY_SECS, STEP_HZ, AnsweringModel
from tests.pipelines.call.test_run_call import OnStage, call
from tests.pipelines.tone import mulaw_tone

PACKET = 160
LOUD = 1_000.0
QUESTION = audioop.lin2ulaw(question(8_000), 2)
FAULTS = ["drop", "drop 1007", "freeze", "slow", "go_away", "refuse", "hang", "speak", "speak"]
PLANNED = ["go_away", "change", "late handle", "speak", "speak"]
SOME = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
MANY = settings(SOME, max_examples=150)


def schedules(kinds: list[str], most: int) -> st.SearchStrategy[list[tuple[str, float]]]:
    """What happens, and how long after it the next thing does."""
    return st.lists(st.tuples(st.sampled_from(kinds), st.floats(0.1, 3.0)), max_size=most)


class FaultyModel(AnsweringModel):
    """Hands out sessions that answer; some attempts hang."""

    hanging = 0

    @asynccontextmanager
    async def connect(self, config: types.LiveConnectConfig) -> AsyncIterator[ModelSession]:
        if self.hanging:
            self.hanging -= 1
            await asyncio.sleep(60)
        async with super().connect(config) as session:
            yield session


def speakers(mulaw: bytes) -> list[int]:
    """The sessions that were heard at the phone, one after the other."""
    pcm = np.frombuffer(audioop.ulaw2lin(mulaw, 2), "<i2").astype(float)
    frames = pcm[: len(pcm) // PACKET * PACKET].reshape(-1, PACKET)
    peaks = np.abs(np.fft.rfft(frames * np.hanning(PACKET), 2048)).argmax(axis=1) * 8_000 / 2048
    numbers = np.rint((peaks - LOWEST_HZ) / STEP_HZ).astype(int)
    numbers[np.sqrt((frames**2).mean(axis=1)) < LOUD] = 0
    # A frame in which one ends and another begins is of neither.
    steady = [a for a, b in pairwise(numbers.tolist()) if a == b and a]
    return [a for a, b in pairwise([*steady, 0]) if a != b]


def strikes(fault: str, secs: float, model: FaultyModel, stage: OnStage) -> None:
    match fault:
        case "drop":
            model.newest.drops(1011)
        case "drop 1007":
            model.newest.drops(1007)
        case "freeze":
            model.newest.frozen = True
        case "slow":
            model.newest.thinking_secs = 1.5 + secs
        case "go_away":
            model.newest.says({"go_away": {"time_left": "2s"}})
        case "refuse":
            model.refusals = [ConnectionError("refused")]
        case "hang":
            model.hanging = 1
        case "speak":
            stage.phone.speak(mulaw_tone(0.8))


async def a_call_with(schedule: list[tuple[str, float]]) -> None:
    """It answers whatever happened, one agent is heard, and it ends by itself."""
    model = FaultyModel()
    async with call(model, answer_patience_secs=2.5) as stage:
        await stage.phone.pick_up()
        await model.session()
        for fault, secs in schedule:
            strikes(fault, secs, model, stage)
            await asyncio.sleep(secs)
        if not stage.running.is_over:
            await asyncio.sleep(12)
            stage.phone.speak(mulaw_tone(0.8))
            before = len(bytes(stage.phone.heard).replace(b"\xff", b""))
            await asyncio.sleep(8)
            heard = len(bytes(stage.phone.heard).replace(b"\xff", b""))
            assert stage.running.is_over or heard > before
        await stage.running.ended()
        heard_ones = speakers(bytes(stage.phone.heard))
        # A session that was left is never heard again.
        assert heard_ones == sorted(set(heard_ones))
    assert not any(session.is_open for session in model.sessions)


async def a_call_with_planned_switches(schedule: list[tuple[str, float]]) -> None:
    """What the caller says is sent once, to one session or another."""
    model, asked = AnsweringModel(), 0
    async with call(model, answer_patience_secs=2.5, silence_seconds=60) as stage:
        await stage.phone.pick_up()
        await model.session()
        await asyncio.sleep(2.5)
        for what, secs in schedule:
            match what:
                case "go_away":
                    model.newest.says({"go_away": {"time_left": "60s"}})
                case "change":
                    stage.running.controls.change(Change(system_prompt=f"Be brief: {secs}"))
                case "late handle":
                    model.newest.handle_after_secs = secs
                case "speak":
                    stage.phone.speak(QUESTION)
                    asked += 1
            await asyncio.sleep(secs)
        await asyncio.sleep(10)
        assert {each.cause for each in stage.of(ModelSwitch)} <= {"successor_planned"}
        assert stage.of(ModelDrop) == []
        sent = sum((tones_in(bytes(each.heard), 16_000) for each in model.sessions), Counter())
        assert sent == dict.fromkeys(range(TONES), asked) or not asked
        heard_ones = speakers(bytes(stage.phone.heard))
        assert heard_ones == sorted(set(heard_ones))


@given(schedules(FAULTS, most=12))
@SOME
def test_a_call_answers_whatever_happened_before_and_ends(
    schedule: list[tuple[str, float]],
) -> None:
    virtual_time.run(a_call_with(schedule))


async def a_race(first_secs: float, hedge_secs: float) -> None:
    """The first session answers late, and so does the one beside it: one reply is heard."""
    model = AnsweringModel()
    async with call(model, answer_patience_secs=2.5) as stage:
        await stage.phone.pick_up()
        await model.session()
        await asyncio.sleep(2.5)
        model.newest.thinking_secs, model.thinking_secs = first_secs, hedge_secs
        stage.phone.heard.clear()
        stage.phone.speak(QUESTION)
        await asyncio.sleep(9)
        heard = bytes(stage.phone.heard)
        assert len(speakers(heard)) == 1
        loud = np.abs(np.frombuffer(audioop.ulaw2lin(heard, 2), "<i2").astype(int)) > LOUD
        assert np.ptp(np.flatnonzero(loud)) / 8_000 == pytest.approx(REPLY_SECS, abs=0.05)
        assert [each.number for each in model.sessions if each.is_open] == speakers(heard)


@given(st.floats(0.1, 4.2), st.floats(0.1, 2.5))
@SOME
def test_of_two_sessions_that_race_one_is_heard_and_the_other_one_closed(
    first_secs: float, hedge_secs: float
) -> None:
    virtual_time.run(a_race(first_secs, hedge_secs))


@given(schedules(PLANNED, most=8))
@SOME
def test_over_planned_switches_nothing_is_sent_twice_or_lost(
    schedule: list[tuple[str, float]],
) -> None:
    virtual_time.run(a_call_with_planned_switches(schedule))


@pytest.mark.long
@pytest.mark.timeout(900)
@given(schedules(FAULTS, most=20))
@MANY
def test_very_many_calls_answer_and_end(schedule: list[tuple[str, float]]) -> None:
    virtual_time.run(a_call_with(schedule))


@pytest.mark.long
@pytest.mark.timeout(900)
@given(schedules(PLANNED, most=12))
@MANY
def test_over_very_many_planned_switches_nothing_is_sent_twice_or_lost(
    schedule: list[tuple[str, float]],
) -> None:
    virtual_time.run(a_call_with_planned_switches(schedule))
