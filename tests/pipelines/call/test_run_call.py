"""Whole pipelines in virtual time: a phone at one end, a model that the test plays at the other."""

import asyncio
import audioop
import gc
import json
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from agent.measures import (
    BargeIn,
    FirstSound,
    Measure,
    ModelConnect,
    ModelDrop,
    ModelLeftOut,
    ModelSwitch,
    Packets,
    TurnResponse,
)
from agent.ports import LiveCall, MemoryRecord
from agent.profile import AgentProfile, VadConfig
from agent.record.models import EndReason, Speaker
from agent.tools.hang_up import hang_up
from pipelines.call import catalogue
from pipelines.call.run_call import CallSetup, RunningCall, start_call
from pipelines.definition import PipelineDefinition
from pipelines.gemini.server_message import LeftOut
from pipelines.steps import custom, gemini_live, resample, transport_input, transport_output
from tests import virtual_time
from tests.pipelines.model import PlayedModel, PlayedSession, refused
from tests.pipelines.scripted_phone import Phone
from tests.pipelines.tone import mulaw_tone


class OnStage:
    """One call: its parts, and what came of it."""

    def __init__(self, model: PlayedModel, **setup: Any) -> None:
        self.model = model
        self.record = MemoryRecord()
        self.measures: list[Measure] = []
        definition = setup.pop("definition", catalogue.find("phone_call"))
        greetings = setup.pop("greetings", None)
        sentences = setup.pop("sentences", None)
        # These models are slow, and silent for as long as a test likes.
        usual = {"greeting": "Hello there.", "silence_seconds": 10, "answer_patience_secs": 0}
        profile = AgentProfile(**{**usual, **setup})
        self.running: RunningCall = start_call(
            CallSetup(
                "call-1",
                "+15550100",
                profile,
                definition,
                {"name": "Ms Lee"},
                greetings=greetings,
                sentences=sentences,
            ),
            connect=model,
            record=self.record,
            measure=self.measures.append,
            stopwatch=asyncio.get_running_loop().time,
        )
        self.phone = Phone(self.running)

    async def greeted(self) -> PlayedSession:
        """The phone is picked up, and the greeting was heard."""
        await self.phone.pick_up()
        session = await self.model.session()
        await session.until(lambda s: s.texts)
        session.speaks("Hello there.", 1.0)
        await asyncio.sleep(1.5)
        return session

    def of(self, kind: type[Measure]) -> list[Any]:
        return [measure for measure in self.measures if isinstance(measure, kind)]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.record.events]

    def transcript(self) -> list[tuple[Speaker, str, bool]]:
        return [(turn.who, turn.text, turn.interrupted) for turn in self.record.turns]


@asynccontextmanager
async def call(model: PlayedModel | None = None, **setup: Any) -> AsyncIterator[OnStage]:
    stage = OnStage(model or PlayedModel(), **setup)
    try:
        yield stage
    finally:
        stage.phone.put_down()
        await stage.running.end()


def scene(play: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """A test that is played in virtual time."""

    def test() -> None:
        virtual_time.run(play())

    test.__name__ = play.__name__
    test.__doc__ = play.__doc__
    return test


@scene
async def test_the_greeting_is_asked_for_first_and_heard_whole() -> None:
    async with call() as stage:
        session = await stage.greeted()
        assert session.texts == [
            '[The caller is on the line. Greet them: say this, word for word: "Hello there."]'
        ]
        heard = np.frombuffer(audioop.ulaw2lin(bytes(stage.phone.heard), 2), "<i2")
        loud = np.flatnonzero(abs(heard.astype(int)) > 1000)
        assert loud[-1] - loud[0] == pytest.approx(8000, abs=40)
        assert max(np.diff(loud)) < 16, "there is no gap inside"
    assert stage.transcript() == [(Speaker.AGENT, "Hello there.", False)]
    assert len(stage.of(FirstSound)) == 1


@scene
async def test_an_empty_greeting_leaves_the_first_word_to_the_caller() -> None:
    async with call(greeting="") as stage:
        await stage.phone.pick_up()
        session = await stage.model.session()
        await asyncio.sleep(3)
        assert session.sent == []
        assert sum(map(len, session.audio)) > 2 * 16_000 * 2


@scene
async def test_setup_carries_the_profile_as_gemini_has_it() -> None:
    vad = VadConfig(start_sensitivity="LOW", end_sensitivity="HIGH", silence_duration_ms=700)
    profile = {"system_prompt": "Speak with $name.", "voice": "Kore", "language": "es-ES"}
    async with call(vad=vad, **profile) as stage:
        config = (await stage.model.session()).config
        setup = config.model_dump(mode="json", exclude_none=True)
        assert setup["system_instruction"] == "Speak with Ms Lee."
        assert setup["speech_config"] == {
            "voice_config": {"prebuilt_voice_config": {"voice_name": "Kore"}},
            "language_code": "es-ES",
        }
        assert setup["realtime_input_config"]["automatic_activity_detection"] == {
            "start_of_speech_sensitivity": "START_SENSITIVITY_LOW",
            "end_of_speech_sensitivity": "END_SENSITIVITY_HIGH",
            "silence_duration_ms": 700,
        }
        (tools,) = setup["tools"]
        assert [tool["name"] for tool in tools["function_declarations"]] == ["hang_up"]


@scene
async def test_the_caller_is_heard_at_16_khz_with_nothing_held_back() -> None:
    async with call() as stage:
        session = await stage.greeted()
        before = len(session.audio)
        stage.phone.speak(mulaw_tone(1.0))
        await asyncio.sleep(1.0)
        heard = session.audio[before:]
        assert {len(packet) for packet in heard} == {640}
        assert 49 <= len(heard) <= 51


@scene
async def test_a_turn_of_each_side_is_recorded_in_order_with_its_times() -> None:
    async with call() as stage:
        session = await stage.greeted()
        stage.phone.speak(mulaw_tone(1.0))
        await asyncio.sleep(1.5)
        session.content(input_transcription={"text": " When do you"})
        session.content(input_transcription={"text": " open?"})
        session.speaks("At nine.", 1.0)
        await asyncio.sleep(2)
        assert stage.transcript() == [
            (Speaker.AGENT, "Hello there.", False),
            (Speaker.AGENT, "At nine.", False),
            (Speaker.CALLER, "When do you open?", False),
        ]
        greeting, answer, question = stage.record.turns
        assert greeting.end_ms <= question.start_ms < question.end_ms <= answer.start_ms
        assert question.end_ms - question.start_ms == pytest.approx(1000, abs=40)
        assert answer.end_ms - answer.start_ms == pytest.approx(1000, abs=40)
        (response,) = stage.of(TurnResponse)
        assert response.secs == pytest.approx(0.5, abs=0.05)


@scene
async def test_a_barge_in_clears_at_once_and_only_what_was_heard_is_kept() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("One two three four five six seven eight.", 8.0, completes=False)
        await asyncio.sleep(2)
        stage.phone.speak(mulaw_tone(0.5))
        await asyncio.sleep(0.2)
        session.content(interrupted=True)
        session.content(turn_complete=True)
        await asyncio.sleep(0.1)
        assert stage.phone.events("media", "clear")[-1] == "clear"
        assert len(stage.of(BargeIn)) == 1
        session.speaks("Yes?", 0.5)
        await asyncio.sleep(1)
    agent = [(text, cut) for who, text, cut in stage.transcript() if who is Speaker.AGENT]
    assert agent == [("Hello there.", False), ("One two", True), ("Yes?", False)]


@scene
async def test_the_agent_hangs_up_after_its_goodbye_was_heard() -> None:
    async with call() as stage:
        session = await stage.greeted()
        began = asyncio.get_running_loop().time()
        session.speaks("Goodbye then.", 2.0, completes=False)
        session.says({"tool_call": {"function_calls": [{"id": "f1", "name": "hang_up"}]}})
        await session.until(lambda s: [kind for kind, _ in s.sent if kind == "tool"])
        session.content(generation_complete=True)
        session.content(turn_complete=True)
        summary = await stage.running.ended()
        assert summary.reason is EndReason.AGENT
        assert 2.0 <= asyncio.get_running_loop().time() - began < 2.3
    assert stage.transcript()[-1] == (Speaker.AGENT, "Goodbye then.", False)


@scene
async def test_a_first_connect_that_is_refused_is_tried_again() -> None:
    async with call(PlayedModel(refused(1011), OSError("no route"))) as stage:
        session = await stage.greeted()
        assert stage.model.attempts == 3
        assert [measure.outcome for measure in stage.of(ModelConnect)] == [
            "refused_1011",
            "OSError",
            "ok",
        ]
        assert sum(map(len, session.audio)) > 0


@scene
async def test_a_model_that_stays_away_ends_the_call_with_its_reason() -> None:
    async with call(PlayedModel(*[refused(1011)] * 50)) as stage:
        await stage.phone.pick_up()
        began = asyncio.get_running_loop().time()
        summary = await stage.running.ended()
        assert summary.reason is EndReason.NO_MODEL
        assert asyncio.get_running_loop().time() - began < 9


@scene
async def test_a_wrong_key_is_not_tried_again() -> None:
    async with call(PlayedModel(*[refused(1008)] * 50)) as stage:
        summary = await stage.running.ended()
        assert summary.reason is EndReason.NO_MODEL
        assert summary.error == "Gemini refused a session: refused_1008: refused"
        assert stage.model.attempts == 1


@scene
async def test_a_key_that_is_refused_in_a_call_that_had_a_session_is_tried_twice() -> None:
    async with call() as stage:
        session = await stage.greeted()
        stage.model.refusals += [refused(1008)] * 50
        session.drops()
        assert (await stage.running.ended()).reason is EndReason.NO_MODEL
        assert stage.model.attempts == 3


@scene
async def test_a_connect_that_hangs_is_given_up() -> None:
    async with call(PlayedModel(setup_secs=1000)) as stage:
        assert (await stage.running.ended()).reason is EndReason.NO_MODEL
        assert {measure.outcome for measure in stage.of(ModelConnect)} == {"timeout"}


@scene
async def test_a_dropped_session_is_resumed_by_its_handle_and_nothing_said_is_lost() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says({"session_resumption_update": {"new_handle": "h1", "resumable": True}})
        await asyncio.sleep(0.1)
        session.drops()
        stage.phone.speak(mulaw_tone(0.1))
        resumed = await stage.model.session(2)
        assert resumed.handle == "h1"
        await asyncio.sleep(0.5)
        assert resumed.texts == [], "it remembers, and greets nobody twice"
        loud = [packet for packet in resumed.audio if audioop.rms(packet, 2) > 1000]
        assert len(loud) >= 5
        assert [drop.reason for drop in stage.of(ModelDrop)] == ["closed_1011"]


@scene
async def test_a_session_that_cannot_be_resumed_is_told_what_was_said() -> None:
    model = PlayedModel()
    async with call(model) as stage:
        session = await stage.greeted()
        session.says({"session_resumption_update": {"new_handle": "h1", "resumable": True}})
        await asyncio.sleep(0.1)
        model.refusals.append(refused(1007))
        session.drops()
        fresh = await model.session(2)
        assert fresh.handle is None
        await fresh.until(lambda s: s.sent)
        kind, told = fresh.sent[0]
        assert kind == "remember"
        assert "You: Hello there." in told


@scene
async def test_a_fresh_session_is_told_no_more_than_was_heard_before_a_barge_in() -> None:
    model = PlayedModel()
    async with call(model) as stage:
        session = await stage.greeted()
        session.speaks("One two three four five six seven eight.", 8.0, completes=False)
        await asyncio.sleep(2.2)
        session.content(interrupted=True)
        session.content(turn_complete=True)
        await asyncio.sleep(0.1)
        session.drops()
        fresh = await model.session(2)
        await fresh.until(lambda s: s.sent)
        ((_, told),) = fresh.sent
        assert told.endswith("You: Hello there.\nYou: One two (interrupted)")


@scene
async def test_a_session_that_goes_away_is_left_between_turns() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says({"session_resumption_update": {"new_handle": "h1", "resumable": True}})
        session.says({"go_away": {"time_left": "10s"}})
        await stage.model.session(2)
        await asyncio.sleep(0.1)
        assert [switch.cause for switch in stage.of(ModelSwitch)] == ["successor_planned"]
        assert stage.of(ModelDrop) == []


@scene
async def test_a_tool_that_fails_is_answered_and_the_call_goes_on() -> None:
    async def broken(call: LiveCall) -> str:
        """Break."""
        raise RuntimeError(call.call_id)

    definition = PipelineDefinition(
        "broken",
        steps=[transport_input(), resample(to=16000), gemini_live(), transport_output()],
        tools=[broken, hang_up],
    )
    async with call(definition=definition) as stage:
        session = await stage.greeted()
        for number, name in enumerate(["broken", "unknown"]):
            calls = [{"id": f"f{number}", "name": name, "args": {}}]
            session.says({"tool_call": {"function_calls": calls}})
        await session.until(lambda s: len([k for k, _ in s.sent if k == "tool"]) == 2)
        # One that is not known is answered at once; the other only when it has failed. Neither is
        # answered twice.
        answers = [(value.name, value.response) for kind, value in session.sent if kind == "tool"]
        assert len(answers) == 2
        assert dict(answers) == {
            "broken": {"error": "This does not work at the moment."},
            "unknown": {"error": "There is no tool named 'unknown'."},
        }
        session.speaks("I am sorry.", 0.5)
        await asyncio.sleep(1)
        assert stage.kinds().count("tool.answered") == 2


@scene
async def test_a_tool_that_the_model_takes_back_is_stopped() -> None:
    stopped = asyncio.Event()

    async def slow() -> str:
        """Wait."""
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ""

    definition = PipelineDefinition(
        "slow",
        steps=[transport_input(), resample(to=16000), gemini_live(), transport_output()],
        tools=[slow],
    )
    async with call(definition=definition) as stage:
        session = await stage.greeted()
        session.says({"tool_call": {"function_calls": [{"id": "f1", "name": "slow"}]}})
        await asyncio.sleep(0.1)
        session.says({"tool_call_cancellation": {"ids": ["f1"]}})
        await stopped.wait()
        assert [kind for kind, _ in session.sent if kind == "tool"] == []


@scene
async def test_what_cannot_be_read_is_passed_over() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.says(LeftOut("not_json", "not_json"))
        session.says(LeftOut("not_json", "not_json"))
        session.speaks("Still here.", 0.5)
        await asyncio.sleep(1)
        assert len(stage.model.sessions) == 1
        assert stage.of(ModelLeftOut) == [ModelLeftOut("not_json")] * 2
        assert stage.kinds().count("model.left_out") == 1
    assert stage.transcript()[-1][1] == "Still here."


@scene
async def test_a_message_that_fails_here_ends_no_session() -> None:
    def fail(*_: object) -> None:
        raise TypeError("not as expected")

    async with call() as stage:
        stage.running._meter.usage = fail  # type: ignore[method-assign]
        session = await stage.greeted()
        details = [{"modality": "AUDIO", "token_count": 50}]
        session.says({"usage_metadata": {"response_tokens_details": details}})
        session.speaks("Still here.", 0.5)
        await asyncio.sleep(1)
        assert stage.of(ModelLeftOut) == [ModelLeftOut("failed")]
        assert len(stage.model.sessions) == 1
    assert stage.transcript()[-1][1] == "Still here."


@scene
async def test_switched_off_detection_sends_activity_signals() -> None:
    async with call(vad=VadConfig(disabled=True)) as stage:
        session = await stage.greeted()
        stage.phone.speak(mulaw_tone(0.5))
        await asyncio.sleep(1.5)
        kinds = [kind for kind, _ in session.sent]
        assert kinds == ["text", "activity_start", "activity_end"]


@scene
async def test_when_the_caller_stops_the_packets_that_wait_for_more_are_sent() -> None:
    async with call() as stage:
        session = await stage.greeted()
        before = session.flushes
        stage.phone.speak(mulaw_tone(0.5))
        await asyncio.sleep(1.5)
        assert session.flushes == before + 1


@scene
async def test_a_caller_who_hangs_up_mid_sentence_leaves_what_was_heard() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("One two three four five six seven eight.", 8.0)
        await asyncio.sleep(4)
        stage.phone.put_down()
        await asyncio.sleep(0.1)
        assert stage.transcript()[-1] == (Speaker.AGENT, "One two three four", True)


@scene
async def test_tokens_are_kept_by_direction_and_modality() -> None:
    async with call() as stage:
        session = await stage.greeted()
        prompt = [{"modality": "AUDIO", "token_count": 40}, {"modality": "TEXT", "token_count": 9}]
        session.says(
            {
                "usage_metadata": {
                    "prompt_tokens_details": prompt,
                    "response_tokens_details": [{"modality": "AUDIO", "token_count": 25}],
                }
            }
        )
        await asyncio.sleep(0.1)
        assert [(c.direction, c.modality, c.tokens) for c in stage.record.counts] == [
            ("input", "audio", 40),
            ("input", "text", 9),
            ("output", "audio", 25),
        ]


class Loudness(FrameProcessor):
    """A processor as Pipecat's documentation writes them: queued, and it passes every frame."""

    def __init__(self, levels: list[int]) -> None:
        super().__init__()
        self._levels = levels

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self._levels.append(audioop.rms(frame.audio, 2))
        await self.push_frame(frame, direction)


@scene
async def test_a_processor_as_pipecat_documents_it_hears_every_packet_and_loses_none() -> None:
    levels: list[int] = []
    steps = [transport_input(), resample(to=16000), custom("loudness", lambda _: Loudness(levels))]
    definition = PipelineDefinition("loud", steps=[*steps, gemini_live(), transport_output()])
    async with call(definition=definition) as stage:
        session = await stage.greeted()
        stage.phone.speak(mulaw_tone(1.0))
        await asyncio.sleep(1.5)
        assert len(levels) == len(session.audio)
        assert 48 <= len([level for level in levels if level > 2000]) <= 51


@scene
async def test_packets_are_counted_every_few_seconds_and_to_the_last() -> None:
    async with call() as stage:
        await stage.greeted()
        assert stage.of(Packets) == []
        await asyncio.sleep(11)
        assert len(stage.of(Packets)) == 2
    counts = stage.of(Packets)
    assert len(counts) == 3
    assert all(count.received for count in counts)
    line = stage.running.line
    assert sum(count.received for count in counts) == line.packets_received
    assert sum(count.sent for count in counts) == line.packets_sent > 0


@scene
async def test_ending_twice_is_harmless_and_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with call() as stage:
        await stage.greeted()
        await asyncio.gather(stage.running.end(), stage.running.end())
    assert (await stage.running.ended()).reason is None
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


@scene
async def test_words_that_come_after_a_turn_belong_to_that_turn() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("Our hours", 1.0)
        session.content(output_transcription={"text": " are nine to five."})
        await asyncio.sleep(2)
        session.content(input_transcription={"text": "And on Sundays?"})
        session.speaks("Closed.", 1.0)
        await asyncio.sleep(2)
    agent = [text for who, text, _ in stage.transcript() if who is Speaker.AGENT]
    assert agent == ["Hello there.", "Our hours are nine to five.", "Closed."]


@scene
async def test_words_that_come_before_the_sound_of_a_further_turn_belong_to_it() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("Let me look.", 1.0)
        session.content(output_transcription={"text": "I found"})
        session.speaks(" it.", 1.0)
        await asyncio.sleep(4)
    agent = [text for who, text, _ in stage.transcript() if who is Speaker.AGENT]
    assert agent == ["Hello there.", "Let me look.", "I found it."]


@scene
async def test_words_that_come_when_their_turn_was_heard_out_start_no_turn() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("Closed.", 0.5)
        await asyncio.sleep(3)
        session.content(output_transcription={"text": " Sorry."})
        await asyncio.sleep(2)
        session.speaks("Anything else?", 0.5)
        await asyncio.sleep(2)
    agent = [text for who, text, _ in stage.transcript() if who is Speaker.AGENT]
    assert agent == ["Hello there.", "Closed.", "Anything else?"]


@scene
async def test_a_session_from_scratch_is_told_what_is_still_on_its_way_to_the_ear() -> None:
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("We are open from nine to five.", 5.0)
        await asyncio.sleep(1)
        session.drops()
        anew = await stage.model.session(2)
        await anew.until(lambda s: s.sent)
        ((kind, told),) = anew.sent
        assert kind == "remember"
        assert told.endswith("You: Hello there.\nYou: We are open from nine to five.")
        assert anew.texts == []


@scene
async def test_a_message_without_sound_is_no_speech() -> None:
    async with call() as stage:
        await stage.phone.pick_up()
        session = await stage.model.session()
        await session.until(lambda s: s.texts)
        await session.on_speech(b"")
        session.drops()
        again = await stage.model.session(2)
        await again.until(lambda s: s.texts)
        assert again.texts == session.texts, "the greeting was never said"


@scene
async def test_what_comes_when_the_call_is_over_is_nobodys() -> None:
    async with call() as stage:
        await stage.greeted()
        await stage.running.end()
        media = json.dumps({"event": "media", "media": {"payload": "//8A"}})
        assert await stage.running.line.receive(media)
        assert await stage.running.line.receive('{"event":"mark","mark":{"name":"1:500"}}')


@scene
async def test_a_finished_call_is_freed_whole_by_a_full_collection() -> None:
    left: list[weakref.ref[object]] = []
    async with call() as stage:
        session = await stage.greeted()
        session.speaks("That is all.", 0.5)
        await asyncio.sleep(1)
        worker = stage.running._worker
        steps = worker.pipeline.processors[1]  # between Pipecat's source and sink
        left.extend(map(weakref.ref, (worker, stage.running, *steps.processors)))
    del stage, session, worker, steps
    await asyncio.sleep(1)
    gc.collect()
    assert len(left) > 10
    assert [part() for part in left if part() is not None] == []
