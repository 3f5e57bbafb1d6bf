"""What a call does when a part of it breaks: the model's connection, the stream, a step."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.genai import types
from pipecat.frames.frames import Frame, StartFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from websockets.exceptions import ConnectionClosedError

from agent.measures import ModelDrop
from agent.record.models import EndReason, Speaker
from agent.tools.hang_up import hang_up
from pipelines.definition import PipelineDefinition
from pipelines.gemini.client import ModelSession
from pipelines.steps import custom, gemini_live, resample, transport_input, transport_output
from tests.pipelines.call.test_run_call import call, scene
from tests.pipelines.model import PlayedModel, PlayedSession
from tests.pipelines.scripted_phone import Phone
from tests.pipelines.tone import mulaw_tone


def seconds() -> float:
    return asyncio.get_running_loop().time()


def told_more(before: int, session: PlayedSession) -> bool:
    return len(session.texts) > before


def closing(phone: Phone) -> asyncio.Event:
    """When the line lets this phone go."""
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    phone.close = close  # type: ignore[method-assign]
    return closed


class DroppingModel(PlayedModel):
    """Every session is taken on, and dropped at once."""

    @asynccontextmanager
    async def connect(self, config: types.LiveConnectConfig) -> AsyncIterator[ModelSession]:
        async with super().connect(config) as session:
            session.drops(1011)  # type: ignore[attr-defined]
            yield session


class SlowlyLeft(PlayedModel):
    """Its connections take their time to close, or fail to."""

    def __init__(self, close_secs: float = 0.0, failure: Exception | None = None) -> None:
        super().__init__()
        self.close_secs = close_secs
        self.failure = failure

    @asynccontextmanager
    async def connect(self, config: types.LiveConnectConfig) -> AsyncIterator[ModelSession]:
        async with super().connect(config) as session:
            yield session
            await asyncio.sleep(self.close_secs)
            if self.failure is not None:
                raise self.failure


# --- the model's connection ------------------------------------------------------------------


@scene
async def test_sessions_that_are_dropped_again_and_again_are_no_model() -> None:
    async with call(DroppingModel()) as stage:
        await stage.phone.pick_up()
        began = seconds()
        assert (await stage.running.ended()).reason is EndReason.NO_MODEL
        assert seconds() - began < 12
        assert stage.model.attempts < 20


@scene
async def test_a_greeting_that_was_never_said_is_asked_for_again() -> None:
    async with call() as stage:
        await stage.phone.pick_up()
        first = await stage.model.session()
        await first.until(lambda s: s.texts)
        first.drops()
        second = await stage.model.session(2)
        await asyncio.sleep(0.5)
        assert second.texts == first.texts
        assert second.sent[0][0] == "text"


@scene
async def test_a_reply_that_a_drop_cut_short_goes_on() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says({"session_resumption_update": {"new_handle": "h1", "resumable": True}})
        session.speaks("Our hours are nine to", 1.0, completes=False)
        await asyncio.sleep(0.2)
        session.drops()
        resumed = await stage.model.session(2)
        await asyncio.sleep(0.2)
        (told,) = resumed.texts
        assert "Our hours are nine to" in told


@scene
async def test_an_uplink_that_stalls_for_long_costs_old_sound_and_no_session() -> None:
    async with call() as stage:
        session = await stage.greeted()
        gate = asyncio.Event()
        sends = session.send_realtime_input

        async def stalled(**what: Any) -> None:
            await gate.wait()
            await sends(**what)

        session.send_realtime_input = stalled  # type: ignore[method-assign]
        stage.phone.speak(mulaw_tone(11.5))
        await asyncio.sleep(11)
        gate.set()
        before = len(session.audio)
        await asyncio.sleep(1)
        assert len(session.audio) - before > 500
        assert len(stage.model.sessions) == 1


@scene
async def test_what_cannot_be_sent_is_left_out() -> None:
    async with call() as stage:
        session = await stage.greeted()
        sends = session.send_realtime_input

        async def once(**what: Any) -> None:
            session.send_realtime_input = sends  # type: ignore[method-assign]
            raise TypeError("not JSON serializable")

        session.send_realtime_input = once  # type: ignore[method-assign]
        await asyncio.sleep(0.5)
        before = len(session.audio)
        await asyncio.sleep(1)
        assert len(session.audio) - before > 40


@scene
async def test_a_failure_while_receiving_costs_the_connection_and_not_the_call() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says(RuntimeError("the transport is gone"))
        second = await stage.model.session(2)
        await asyncio.sleep(0.5)
        assert second.audio


@scene
async def test_a_model_that_closes_slowly_holds_up_no_caller() -> None:
    model = SlowlyLeft(close_secs=10)
    async with call(model) as stage:
        session = await stage.greeted()
        began = seconds()
        session.drops()
        await model.session(2)
        assert seconds() - began < 2
        began = seconds()
        hung_up = closing(stage.phone)
        ending = asyncio.create_task(stage.running.end())
        await hung_up.wait()
        assert seconds() - began < 2
        await ending


@scene
async def test_a_connection_that_cannot_be_closed_is_left_behind() -> None:
    async with call(SlowlyLeft(failure=RuntimeError("twice"))) as stage:
        session = await stage.greeted()
        session.drops()
        second = await stage.model.session(2)
        await asyncio.sleep(0.5)
        assert second.audio


@scene
async def test_what_came_before_a_drop_is_still_said() -> None:
    async with call() as stage:
        session = await stage.greeted()
        sent = len(stage.phone.events("media"))

        async def broken(**what: Any) -> None:
            raise ConnectionClosedError(None, None)

        session.send_realtime_input = broken  # type: ignore[method-assign]
        session.speaks("That is all.", 3.0)
        session.drops()
        await stage.model.session(2)
        await asyncio.sleep(4)
        assert len(stage.phone.events("media")) - sent > 70
        assert stage.transcript()[-1] == (Speaker.AGENT, "That is all.", False)


@scene
async def test_a_session_that_goes_away_is_not_left_in_the_middle_of_a_reply() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says({"session_resumption_update": {"new_handle": "h1", "resumable": True}})
        session.speaks("One two three", 1.0, completes=False)
        session.says({"go_away": {"time_left": "10s"}})
        await asyncio.sleep(0.5)
        session.speaks(" four five.", 1.0)
        session.says({"session_resumption_update": {"new_handle": "h2", "resumable": True}})
        resumed = await stage.model.session(2)
        assert resumed.handle == "h2"
        await asyncio.sleep(3)
        assert stage.transcript()[-1] == (Speaker.AGENT, "One two three four five.", False)


# --- the stream --------------------------------------------------------------------------------


@scene
async def test_what_a_lost_stream_never_carried_was_never_heard() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("One two three four", 2.0, completes=False)
        await asyncio.sleep(1)
        stage.phone.put_down()
        session.speaks(" five six seven eight.", 2.0)
        await asyncio.sleep(1)
        again = Phone(stage.running, "MZ2")
        await again.pick_up()
        await asyncio.sleep(1)
        session.content(input_transcription={"text": "Are you there?"})
        session.speaks("Yes.", 1.0)
        await asyncio.sleep(2)
        session.content(input_transcription={"text": "Good."})
        session.speaks("Fine.", 1.0)
        await asyncio.sleep(2)
        again.put_down()
    assert stage.transcript()[1:] == [
        (Speaker.AGENT, "One two", True),
        (Speaker.AGENT, "Yes.", False),
        (Speaker.CALLER, "Are you there?", False),
        (Speaker.AGENT, "Fine.", False),
        (Speaker.CALLER, "Good.", False),
    ]


@scene
async def test_a_goodbye_on_a_second_stream_is_not_waited_for_twice() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("One two", 1.0, completes=False)
        await asyncio.sleep(0.5)
        stage.phone.put_down()
        session.speaks(" three four.", 1.0)
        await asyncio.sleep(0.5)
        again = Phone(stage.running, "MZ2")
        await again.pick_up()
        began = seconds()
        session.says({"tool_call": {"function_calls": [{"id": "f1", "name": "hang_up"}]}})
        await session.until(lambda s: [kind for kind, _ in s.sent if kind == "tool"])
        session.speaks("Goodbye.", 1.0)
        assert (await stage.running.ended()).reason is EndReason.AGENT
        assert seconds() - began < 1.5
        again.put_down()


@scene
async def test_words_that_follow_an_interruption_were_not_heard() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("One two three four", 8.0, completes=False)
        await asyncio.sleep(4)
        session.content(interrupted=True)
        session.content(output_transcription={"text": " five six seven eight."})
        session.content(turn_complete=True)
        await asyncio.sleep(0.5)
        session.content(output_transcription={"text": "Yes,"})
        session.speaks(" please?", 0.5)
        await asyncio.sleep(1)
    assert stage.transcript()[1:] == [
        (Speaker.AGENT, "One two", True),
        (Speaker.AGENT, "Yes, please?", False),
    ]


@scene
async def test_a_stream_that_takes_nothing_ends_with_the_call() -> None:
    async with call(max_duration_seconds=20, silence_seconds=600) as stage:
        session = await stage.greeted()

        async def never(text: str) -> None:
            await asyncio.Event().wait()

        stage.phone.send = never  # type: ignore[method-assign]
        session.speaks("Hello?", 1.0)
        summary = await stage.running.ended()
        assert summary.reason is EndReason.LIMIT or summary.reason is EndReason.NO_MODEL


# --- steps and tools -----------------------------------------------------------------------------


def with_step(step: FrameProcessor) -> PipelineDefinition:
    steps = [transport_input(), resample(to=16000), custom("broken", lambda _: step)]
    return PipelineDefinition(
        "broken", steps=[*steps, gemini_live(), transport_output()], tools=[hang_up]
    )


class FailsAtStart(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            raise RuntimeError("no")
        await self.push_frame(frame, direction)


class Stuck(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await asyncio.sleep(1000)


class Fatal(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self.push_frame(frame, direction)
            await asyncio.sleep(3)
            await self.push_error("over", fatal=True)
            return
        await self.push_frame(frame, direction)


@scene
async def test_a_pipeline_that_ends_by_itself_is_the_systems_doing() -> None:
    async with call(definition=with_step(Fatal())) as stage:
        await stage.phone.pick_up()
        assert (await stage.running.ended()).reason is EndReason.SYSTEM


@scene
async def test_a_pipeline_that_does_not_start_is_the_systems_doing() -> None:
    async with call(definition=with_step(FailsAtStart())) as stage:
        await stage.phone.pick_up()
        began = seconds()
        assert (await stage.running.ended()).reason is EndReason.SYSTEM
        assert seconds() - began < 11


@scene
async def test_a_step_that_hangs_holds_no_caller_on_the_line() -> None:
    async with call(definition=with_step(Stuck())) as stage:
        await stage.phone.pick_up()
        await asyncio.sleep(3)
        began = seconds()
        hung_up = closing(stage.phone)
        ending = asyncio.create_task(stage.running.end())
        await hung_up.wait()
        assert seconds() - began < 3
        await ending


class NeverCleansUp(FrameProcessor):
    """Its `cleanup` takes no notice of a cancellation, unless it `minds`."""

    def __init__(self, *, minds: bool) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self._minds = minds

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                if self._minds:
                    raise
        await super().cleanup()


async def _end_of_a_call_with(step: NeverCleansUp) -> None:
    async with call(definition=with_step(step)) as stage:
        await stage.phone.pick_up()
        await asyncio.sleep(3)
        began = seconds()
        hung_up = closing(stage.phone)
        ending = asyncio.create_task(stage.running.end())
        await hung_up.wait()
        assert seconds() - began < 3
        async with asyncio.timeout(60):
            await ending
        step.let_go.set()


@scene
async def test_a_step_that_never_cleans_up_is_cancelled() -> None:
    await _end_of_a_call_with(NeverCleansUp(minds=True))


@scene
async def test_a_step_that_takes_no_notice_of_that_is_left_behind() -> None:
    await _end_of_a_call_with(NeverCleansUp(minds=False))


@scene
async def test_a_call_that_ends_as_it_begins_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    for turns in range(8):
        async with call() as stage:
            for _ in range(turns):
                await asyncio.sleep(0)
            await stage.running.end()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


@scene
async def test_two_calls_of_a_tool_at_once_are_both_answered() -> None:
    release = asyncio.Event()

    async def slow(word: str) -> str:
        """Wait."""
        await release.wait()
        return word

    steps = [transport_input(), resample(to=16000), gemini_live(), transport_output()]
    definition = PipelineDefinition("slow", steps=steps, tools=[slow])
    async with call(definition=definition) as stage:
        session = await stage.greeted()
        calls = [{"id": f"f{n}", "name": "slow", "args": {"word": str(n)}} for n in range(2)]
        session.says({"tool_call": {"function_calls": calls}})
        await asyncio.sleep(0.1)
        release.set()
        await session.until(lambda s: len([k for k, _ in s.sent if k == "tool"]) == 2)
        answers = [value for kind, value in session.sent if kind == "tool"]
        assert {answer.id: answer.response for answer in answers} == {
            "f0": {"result": "0"},
            "f1": {"result": "1"},
        }


@scene
async def test_a_tool_that_runs_when_the_call_ends_is_stopped() -> None:
    stopped = asyncio.Event()

    async def slow() -> str:
        """Wait."""
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ""

    steps = [transport_input(), resample(to=16000), gemini_live(), transport_output()]
    definition = PipelineDefinition("slow", steps=steps, tools=[slow])
    async with call(definition=definition) as stage:
        session = await stage.greeted()
        session.says({"tool_call": {"function_calls": [{"id": "f1", "name": "slow"}]}})
        await asyncio.sleep(0.1)
        await stage.running.end()
        assert stopped.is_set()


# --- the model's turns -----------------------------------------------------------------------


@scene
async def test_a_model_that_stalls_in_mid_reply_is_no_model() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("Let me", 0.5, completes=False)
        began = seconds()
        summary = await stage.running.ended()
        assert summary.reason is EndReason.NO_MODEL
        assert seconds() - began < 35


@scene
async def test_a_goodbye_at_the_limit_is_heard_although_the_model_was_speaking() -> None:
    async with call(max_duration_seconds=10, silence_seconds=60) as stage:
        session = await stage.greeted()
        await asyncio.sleep(8)
        session.speaks("So as I was", 1.0, completes=False)
        await session.until(lambda s: len(s.texts) == 2)
        session.speaks(" saying.", 0.5)
        await asyncio.sleep(2.0)
        session.speaks("Our time is up. Goodbye.", 2.0)
        assert (await stage.running.ended()).reason is EndReason.LIMIT
    assert stage.transcript()[-1] == (Speaker.AGENT, "Our time is up. Goodbye.", False)


@scene
async def test_drops_are_measured_with_their_reason() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says(RuntimeError("gone"))
        await stage.model.session(2)
        assert [drop.reason for drop in stage.of(ModelDrop)] == ["RuntimeError"]


@scene
async def test_time_that_runs_out_during_a_goodbye_is_not_given_back() -> None:
    async with call(max_duration_seconds=10, silence_seconds=60) as stage:
        session = await stage.greeted()
        await asyncio.sleep(8)
        session.says({"tool_call": {"function_calls": [{"id": "f1", "name": "hang_up"}]}})
        await session.until(lambda s: [kind for kind, _ in s.sent if kind == "tool"])
        session.speaks("Goodbye.", 4.0)
        await asyncio.sleep(2)
        session.content(interrupted=True)
        session.content(turn_complete=True)
        began = seconds()
        assert (await stage.running.ended()).reason is EndReason.AGENT
        assert seconds() - began < 1


@scene
async def test_a_silent_caller_who_hangs_up_at_the_goodbye_met_no_missing_model() -> None:
    async with call() as stage:
        session = await stage.greeted()
        await session.until(lambda s: len(s.texts) == 2)
        session.speaks("Are you there?", 1.0)
        await session.until(lambda s: len(s.texts) == 3)
        stage.phone.put_down()
        assert (await stage.running.ended()).reason is EndReason.SILENCE


@scene
async def test_a_caller_too_quiet_for_the_detector_is_not_hung_up_on() -> None:
    async with call() as stage:
        session = await stage.greeted()
        for _ in range(2):
            told = len(session.texts)
            await session.until(functools.partial(told_more, told))
            assert "silent for a while" in session.texts[-1]
            session.speaks("Are you there?", 1.0)
            await asyncio.sleep(2)
            session.content(input_transcription={"text": "yes"})
            session.speaks("Good.", 1.0)


@scene
async def test_a_reply_that_was_made_whole_before_the_drop_is_not_made_again() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says({"session_resumption_update": {"new_handle": "h1", "resumable": True}})
        session.speaks("At nine.", 2.0, completes=False)
        session.content(generation_complete=True)
        await asyncio.sleep(0.5)
        session.drops()
        resumed = await stage.model.session(2)
        await asyncio.sleep(0.5)
        assert resumed.texts == []


@scene
async def test_a_question_that_a_drop_left_without_an_answer_is_told_again() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says({"session_resumption_update": {"new_handle": "h1", "resumable": True}})
        session.content(input_transcription={"text": " When do you"})
        session.content(input_transcription={"text": " open?"})
        await asyncio.sleep(0.5)
        session.drops()
        resumed = await stage.model.session(2)
        await asyncio.sleep(0.5)
        (told,) = resumed.texts
        assert '"When do you open?"' in told


@scene
async def test_the_answer_of_a_tool_that_outlived_its_session_is_told_in_words() -> None:
    release = asyncio.Event()

    async def slow() -> str:
        """Wait."""
        await release.wait()
        return "It is sunny."

    steps = [transport_input(), resample(to=16000), gemini_live(), transport_output()]
    definition = PipelineDefinition("slow", steps=steps, tools=[slow])
    async with call(definition=definition) as stage:
        session = await stage.greeted()
        session.says({"session_resumption_update": {"new_handle": "h1", "resumable": True}})
        session.says({"tool_call": {"function_calls": [{"id": "f1", "name": "slow"}]}})
        await asyncio.sleep(0.5)
        session.drops()
        resumed = await stage.model.session(2)
        release.set()
        await asyncio.sleep(0.5)
        (note, runs), (kind, told) = resumed.sent
        assert (note, kind) == ("remember", "text")
        assert "still runs" in runs
        assert "slow" in told
        assert "It is sunny." in told
