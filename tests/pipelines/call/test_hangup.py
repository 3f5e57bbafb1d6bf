"""How calls end: with the last words heard, on silence, at the limit, and not too early."""

import asyncio

from pipecat.frames.frames import (
    InputTextRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from agent.model_instructions import CALLER_WAITS
from agent.ports import MemoryRecord
from agent.profile import AgentProfile
from agent.record.models import EndReason
from pipelines.call.hangup import CallSummary, HangupController
from pipelines.phone.caller_speech import CallerSpeech, Stretch
from pipelines.phone.phone_line import PhoneLine
from pipelines.phone.playback import Playback
from tests import virtual_time
from tests.pipelines.stage import Stage, on_stage
from tests.pipelines.streams import KeptStream

PROFILE = AgentProfile(max_duration_seconds=60, silence_seconds=10)


class Call:
    """The parts around a `HangupController`, and an agent that speaks when told to."""

    def __init__(self, profile: AgentProfile = PROFILE) -> None:
        clock = asyncio.get_running_loop().time
        self.line, self.playback, self.speech = PhoneLine(clock), Playback(clock), CallerSpeech()
        self.end = HangupController(self.line, self.playback, self.speech, profile, MemoryRecord())

    def told(self, stage: Stage) -> list[str]:
        frames = stage.before.of(InputTextRawFrame, FrameDirection.UPSTREAM)
        return [frame.text for frame in frames]  # type: ignore[attr-defined]

    async def agent_speaks(self, stage: Stage, secs: float) -> None:
        """The model makes a reply at once; the phone hears it to the end."""
        await stage.down(LLMFullResponseStartFrame())
        self.playback.sent(round(secs * 8000))
        mark = self.playback.mark()
        self.playback.completed()
        await stage.down(LLMFullResponseEndFrame())
        self.playback.closed()
        await asyncio.sleep(secs)
        self.playback.marked(mark)

    def caller_speaks(self) -> None:
        now = asyncio.get_running_loop().time()
        self.speech.stretches.append(Stretch(now - 0.5, now))

    async def lasted(self) -> float:
        """How long until the conversation was over, in seconds from the answer."""
        await self.end.over
        assert self.line.answered_at is not None
        return asyncio.get_running_loop().time() - self.line.answered_at


async def summary(call: Call) -> CallSummary:
    return await call.end.over


def test_a_goodbye_is_heard_to_its_end() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            call.end.leave(EndReason.AGENT)
            await call.agent_speaks(stage, 3.0)
            assert 3.0 <= await call.lasted() < 3.1
            assert await summary(call) == CallSummary(EndReason.AGENT)

    virtual_time.run(scene())


def test_a_mark_that_never_comes_back_does_not_keep_the_line() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            call.end.leave(EndReason.AGENT)
            call.playback.sent(8000)
            call.playback.mark()
            await stage.down(LLMFullResponseEndFrame())
            assert 4.0 <= await call.lasted() < 4.2

    virtual_time.run(scene())


def test_a_caller_who_speaks_up_is_not_hung_up_on() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            call.end.leave(EndReason.AGENT)
            await stage.down(InterruptionFrame())
            call.caller_speaks()
            await asyncio.sleep(5)
            assert not call.end.over.done()
            call.end.leave(EndReason.AGENT)
            await call.agent_speaks(stage, 1.0)
            assert (await summary(call)).reason is EndReason.AGENT

    virtual_time.run(scene())


def test_a_silent_caller_is_asked_and_then_told_goodbye() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            await stage.before.until(lambda r: len(call.told(stage)) == 1)
            assert "silent" in call.told(stage)[0]
            await call.agent_speaks(stage, 2.0)
            await stage.before.until(lambda r: len(call.told(stage)) == 2)
            assert "goodbye" in call.told(stage)[1]
            await call.agent_speaks(stage, 2.0)
            assert (await summary(call)).reason is EndReason.SILENCE
            assert 23 < await call.lasted() < 26

    virtual_time.run(scene())


def test_a_caller_who_answers_the_question_is_asked_anew_later() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            await stage.before.until(lambda r: len(call.told(stage)) == 1)
            await call.agent_speaks(stage, 1.0)
            call.caller_speaks()
            await stage.before.until(lambda r: len(call.told(stage)) == 2)
            assert call.told(stage)[1] == call.told(stage)[0]

    virtual_time.run(scene())


def test_a_model_without_last_words_is_no_model() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end):
            await call.line.bind(KeptStream())
            assert (await summary(call)).reason is EndReason.NO_MODEL

    virtual_time.run(scene())


def test_time_is_up_even_when_both_talk() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            for _ in range(29):
                call.caller_speaks()
                await call.agent_speaks(stage, 2.0)
            await stage.before.until(lambda r: call.told(stage))
            assert "time for this call is up" in call.told(stage)[0]
            await stage.down(InterruptionFrame())
            await call.agent_speaks(stage, 2.0)
            assert (await summary(call)).reason is EndReason.LIMIT
            assert 60 <= await call.lasted() < 65

    virtual_time.run(scene())


def test_a_transfer_waits_for_the_words_before_it() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            call.end.leave(EndReason.AGENT, transfer_to="+15550177")
            await call.agent_speaks(stage, 2.0)
            assert await summary(call) == CallSummary(EndReason.AGENT, "+15550177")

    virtual_time.run(scene())


def test_a_lost_line_ends_no_conversation_by_itself() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end):
            stream = KeptStream()
            await call.line.bind(stream)
            call.line.unbind(stream)
            await asyncio.sleep(30)
            assert not call.end.over.done()
        assert (await summary(call)).reason is None

    virtual_time.run(scene())


def test_a_failure_ends_the_conversation_at_once_and_the_first_reason_stays() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end):
            call.end.fail(EndReason.NO_MODEL, "no key")
            call.end.fail(EndReason.SYSTEM, "later")
            assert await summary(call) == CallSummary(EndReason.NO_MODEL, error="no key")

    virtual_time.run(scene())


def test_after_a_failure_the_fallback_number_is_dialled() -> None:
    async def scene() -> None:
        call = Call(PROFILE.model_copy(update={"fallback_number": "+15550123"}))
        async with on_stage(call.end):
            call.end.fail(EndReason.NO_MODEL, "no key")
            assert await summary(call) == CallSummary(EndReason.NO_MODEL, "+15550123", "no key")

    virtual_time.run(scene())


def test_a_model_that_stalls_while_the_caller_talks_on_is_reminded_and_then_gone() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            await call.agent_speaks(stage, 1.0)
            while not call.end.over.done():
                await asyncio.sleep(5.0)
                call.caller_speaks()
            assert call.told(stage) == [CALLER_WAITS]
            assert 28.0 <= await call.lasted() < 45.0
            assert await summary(call) == CallSummary(
                EndReason.NO_MODEL, error="Gemini fell silent"
            )

    virtual_time.run(scene())


def test_a_model_that_answers_when_it_is_reminded_goes_on() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            for _ in range(2):
                reminders = len(call.told(stage))
                while len(call.told(stage)) == reminders:
                    await asyncio.sleep(3.0)
                    call.caller_speaks()
                await call.agent_speaks(stage, 1.0)
            assert call.told(stage) == [CALLER_WAITS] * 2
            assert not call.end.over.done()

    virtual_time.run(scene())


def test_a_long_story_is_not_interrupted_while_the_model_hears_it() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            for second in range(40):
                await asyncio.sleep(1.0)
                call.caller_speaks()
                if second % 5 == 0:
                    call.end.caller_was_heard()
                    await asyncio.sleep(3.0 if second == 20 else 0.0)
            assert call.told(stage) == []

    virtual_time.run(scene())


def test_a_story_without_a_pause_is_not_interrupted_either() -> None:
    async def scene() -> None:
        call = Call()
        async with on_stage(call.end) as stage:
            await call.line.bind(KeptStream())
            for _ in range(50):
                await asyncio.sleep(1.0)
                call.caller_speaks()
            assert call.told(stage) == []

    virtual_time.run(scene())
