"""Eight ways to break a call, each caught by a shipped scenario."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pipecat.frames.frames import (
    Frame,
    FunctionCallInProgressFrame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from agent.ports import SpokenTurn
from agent.record.models import EndReason, Speaker
from agent.tools.hang_up import hang_up
from pipelines.call import catalogue
from pipelines.call.hangup import HangupController
from pipelines.definition import PipelineDefinition, Step
from processors.frames import TurnFrame
from server.replay.reading import read_scenarios
from server.replay.results import Replay, Verdict
from server.replay.runner import RunOptions, play_one

SCENARIOS = Path(__file__).parents[3] / "scenarios"


class Broken(FrameProcessor):
    """Passes everything; what comes downstream goes through `spoil` first."""

    def __init__(self) -> None:
        super().__init__(enable_direct_mode=True)
        self.packets = 0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction is FrameDirection.UPSTREAM:
            await self.push_frame(frame, direction)
            return
        self.packets += isinstance(frame, TTSAudioRawFrame)
        for spoiled in await self.spoil(frame):
            await self.push_frame(spoiled)

    async def spoil(self, frame: Frame) -> list[Frame]:
        return [frame]


class DropsPackets(Broken):
    async def spoil(self, frame: Frame) -> list[Frame]:
        return [] if isinstance(frame, TTSAudioRawFrame) and self.packets % 50 == 20 else [frame]


class RepeatsPackets(Broken):
    async def spoil(self, frame: Frame) -> list[Frame]:
        twice = isinstance(frame, TTSAudioRawFrame) and self.packets % 50 == 20
        return [frame, frame] if twice else [frame]


class AnswersLate(Broken):
    async def spoil(self, frame: Frame) -> list[Frame]:
        if isinstance(frame, LLMFullResponseStartFrame):
            await asyncio.sleep(0.4)
        return [frame]


class LosesTheLastWord(Broken):
    held: list[Frame]

    async def spoil(self, frame: Frame) -> list[Frame]:
        self.held = getattr(self, "held", [])
        if isinstance(frame, TTSStoppedFrame):
            self.held.clear()
            return [frame]
        if not isinstance(frame, TTSAudioRawFrame):
            return [frame]
        self.held.append(frame)
        return [self.held.pop(0)] if len(self.held) > 10 else []


class IgnoresBargeIns(Broken):
    async def spoil(self, frame: Frame) -> list[Frame]:
        return [] if isinstance(frame, InterruptionFrame) else [frame]


class SpeaksAtTheWrongRate(Broken):
    async def spoil(self, frame: Frame) -> list[Frame]:
        if not isinstance(frame, TTSAudioRawFrame):
            return [frame]
        samples = np.frombuffer(frame.audio, "<i2")
        squeezed = np.delete(samples, slice(None, None, 3)).tobytes()
        return [TTSAudioRawFrame(squeezed, frame.sample_rate, 1)]


class SwapsTurns(Broken):
    async def spoil(self, frame: Frame) -> list[Frame]:
        if not isinstance(frame, TurnFrame) or frame.turn.who is not Speaker.CALLER:
            return [frame]
        turn = frame.turn
        late = SpokenTurn(turn.who, turn.text, turn.start_ms + 5000, turn.end_ms + 5000)
        return [TurnFrame(late)]


class HangsUpTooEarly(Broken):
    def __init__(self, hangup: HangupController) -> None:
        super().__init__()
        self.hangup = hangup

    async def spoil(self, frame: Frame) -> list[Frame]:
        if isinstance(frame, FunctionCallInProgressFrame):
            self.hangup.fail(EndReason.AGENT, "")
        return [frame]


BEFORE_SPEAKER, BEFORE_RECORD = "transport_output", "record_turns"


def break_phone_call(monkeypatch: pytest.MonkeyPatch, broken: Step, before: str) -> None:
    """Put a broken step into the default pipeline."""
    steps: list[Step] = []
    for step in catalogue.find("phone_call").steps:
        steps += [broken, step] if step.name == before else [step]
    spoiled = PipelineDefinition("phone_call", steps=steps, tools=[hang_up])
    monkeypatch.setitem(catalogue._definitions(), "phone_call", spoiled)


def replay(name: str) -> Replay:
    file, _, _ = name.partition("/")
    scenarios = {s.name: s for s in read_scenarios(SCENARIOS / f"{file}.yaml")}
    return play_one(scenarios[name], RunOptions())


@pytest.mark.parametrize(
    ("broken", "before", "scenario", "sign"),
    [
        (
            DropsPackets,
            BEFORE_SPEAKER,
            "conversation/greeting_and_small_talk",
            "lost from or added",
        ),
        (
            RepeatsPackets,
            BEFORE_SPEAKER,
            "conversation/greeting_and_small_talk",
            "lost from or add",
        ),
        (AnswersLate, BEFORE_SPEAKER, "conversation/greeting_and_small_talk", "was heard"),
        (
            LosesTheLastWord,
            BEFORE_SPEAKER,
            "conversation/greeting_and_small_talk",
            "cut off the end",
        ),
        (IgnoresBargeIns, BEFORE_SPEAKER, "conversation/barge_in", "bot_interrupted"),
        (SpeaksAtTheWrongRate, BEFORE_SPEAKER, "conversation/greeting_and_small_talk", "response"),
        (SwapsTurns, BEFORE_RECORD, "conversation/greeting_and_small_talk", "a turn of the"),
        (HangsUpTooEarly, BEFORE_SPEAKER, "conversation/agent_says_goodbye", "come back soon"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_a_broken_step_is_caught_by_a_shipped_scenario(
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[..., Broken],
    before: str,
    scenario: str,
    sign: str,
) -> None:
    def build(parts: object) -> Broken:
        return broken(parts.hangup) if broken is HangsUpTooEarly else broken()  # type: ignore[attr-defined]

    break_phone_call(monkeypatch, Step("broken", build), before)
    played = replay(scenario)
    assert played.verdict is Verdict.FAILED, played.problem
    assert any(sign in failure.expected for failure in played.failures), played.failures
