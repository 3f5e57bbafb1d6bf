"""A call outlives its sessions: what the caller and the model get when one of them fails."""

import asyncio
from typing import Any

import pytest

from agent.call_memory import CallMemory
from agent.measures import ModelDeadAir, ModelSwitch
from agent.profile import AgentProfile
from agent.record.models import EndReason
from pipelines.definition import PipelineDefinition
from pipelines.gemini.model_controls import Change, UnknownTool
from pipelines.gemini.prepared_sentences import PreparedSentences
from pipelines.steps import gemini_live, resample, transport_input, transport_output
from tests.pipelines.call.test_run_call import OnStage, call, scene
from tests.pipelines.model import PlayedModel, PlayedSession, refused
from tests.pipelines.tone import mulaw_tone

TURN_SECS = 1.6
TURN_PACKETS = 80


def now() -> float:
    return asyncio.get_running_loop().time()


def handle(session: PlayedSession, name: str = "h1") -> None:
    session.says({"session_resumption_update": {"new_handle": name, "resumable": True}})


def loud_packets(session: PlayedSession) -> int:
    """How many packets of 20 ms of the caller's speech it was sent."""
    pcm = b"".join(session.audio)
    return sum(max(pcm[at : at + 640]) > 0 for at in range(0, len(pcm), 640))


async def patient_call(stage: OnStage) -> PlayedSession:
    session = await stage.greeted()
    handle(session)
    await asyncio.sleep(0.1)
    return session


def dead_air(stage: OnStage) -> list[tuple[str, str]]:
    return [(each.cause, each.action) for each in stage.of(ModelDeadAir)]


# --- the caller's audio ----------------------------------------------------------------------


@scene
async def test_a_turn_that_a_drop_cut_is_sent_whole_to_the_next_session() -> None:
    async with call() as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(0.8)
        first.drops(1006)
        second = await stage.model.session(2)
        await asyncio.sleep(2)
        assert second.handle == "h1"
        assert loud_packets(second) >= TURN_PACKETS
        assert loud_packets(first) < TURN_PACKETS


@scene
async def test_what_is_sent_again_comes_at_most_four_times_as_fast() -> None:
    async with call() as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS)
        first.drops()
        second = await stage.model.session(2)
        began = now()
        await second.until(lambda s: loud_packets(s) >= TURN_PACKETS - 5)
        assert now() - began >= TURN_SECS / 4 * 0.9
        assert now() - began < TURN_SECS


@scene
async def test_a_turn_whose_answer_a_drop_cut_is_known_to_the_next_session() -> None:
    async with call() as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS + 0.5)
        first.speaks("Our hours are nine to", 1.0, completes=False)
        await asyncio.sleep(0.2)
        first.drops()
        second = await stage.model.session(2)
        await asyncio.sleep(2)
        ((kind, told),) = second.sent
        assert kind == "remember"
        assert "Our hours are nine to" in told
        assert loud_packets(second) >= TURN_PACKETS
        # It is lost before it has said anything.
        second.drops()
        third = await stage.model.session(3)
        await asyncio.sleep(2)
        assert loud_packets(third) >= TURN_PACKETS


@scene
async def test_a_turn_that_a_handle_covers_is_not_sent_again() -> None:
    async with call() as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS + 0.5)
        first.speaks("From nine to five.", 1.0)
        handle(first, "h2")
        await asyncio.sleep(2)
        first.drops()
        second = await stage.model.session(2)
        await asyncio.sleep(1)
        assert (second.handle, second.sent) == ("h2", [])
        assert loud_packets(second) == 0


@scene
async def test_after_a_second_1007_comes_a_fresh_session_and_after_a_third_one_no_audio() -> None:
    async with call() as stage:
        first = await patient_call(stage)
        first.content(input_transcription={"text": "When are you open?"})
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS + 0.3)
        first.drops(1007)
        second = await stage.model.session(2)
        assert second.handle == "h1"
        await second.until(lambda s: loud_packets(s) > TURN_PACKETS // 2)
        second.drops(1007)
        third = await stage.model.session(3)
        await third.until(lambda s: loud_packets(s) > TURN_PACKETS // 2)
        assert third.handle is None
        third.drops(1007)
        fourth = await stage.model.session(4)
        await asyncio.sleep(1)
        assert fourth.handle is None
        assert loud_packets(fourth) == 0
        assert "When are you open?" in fourth.texts[-1]


# --- tool calls ------------------------------------------------------------------------------


def slow_tool(secs: float, runs: list[float]) -> PipelineDefinition:
    async def book(day: str) -> str:
        """Book a table.

        Args:
            day: The weekday.
        """
        runs.append(now())
        await asyncio.sleep(secs)
        return "It is booked."

    steps = [transport_input(), resample(to=16000), gemini_live(), transport_output()]
    return PipelineDefinition("slow", steps=steps, tools=[book])


def asks(session: PlayedSession, call_id: str) -> None:
    called = {"id": call_id, "name": "book", "args": {"day": "Monday"}}
    session.says({"tool_call": {"function_calls": [called]}})


@scene
async def test_a_tool_that_the_next_session_asks_for_again_runs_once() -> None:
    runs: list[float] = []
    async with call(definition=slow_tool(1.5, runs)) as stage:
        first = await patient_call(stage)
        asks(first, "f1")
        await asyncio.sleep(0.5)
        first.drops()
        second = await stage.model.session(2)
        asks(second, "f7")
        await second.until(lambda s: any(kind == "tool" for kind, _ in s.sent))
        answer = next(value for kind, value in second.sent if kind == "tool")
        assert (answer.id, answer.response) == ("f7", {"result": "It is booked."})
        assert len(runs) == 1
        assert stage.kinds().count("tool.called") == 1


@scene
async def test_a_result_that_a_drop_took_along_is_told_again_before_anything_else() -> None:
    runs: list[float] = []
    async with call(definition=slow_tool(0.2, runs)) as stage:
        first = await patient_call(stage)
        asks(first, "f1")
        await first.until(lambda s: any(kind == "tool" for kind, _ in s.sent))
        await asyncio.sleep(0.1)
        first.drops()
        second = await stage.model.session(2)
        await asyncio.sleep(0.5)
        assert "It is booked." in second.sent[0][1]
        assert len(runs) == 1


# --- silence at the phone --------------------------------------------------------------------


async def prepared() -> PreparedSentences:
    """The sentence for English, said by a model of its own."""
    model = PlayedModel()
    sentences = PreparedSentences(model)
    sentences.prepare(AgentProfile())
    session = await model.session()
    await session.until(lambda s: s.texts)
    session.speaks("One moment, please.", 1.0)
    await sentences.prepared()
    # From here on it belongs to the call's model.
    model.model = PlayedModel.model
    return sentences


@scene
async def test_a_silent_session_is_bridged_and_another_one_answers() -> None:
    sentences = await prepared()
    async with call(answer_patience_secs=2.5, sentences=sentences) as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        sent = len(stage.phone.events("media"))
        hedge = await stage.model.session(2)
        assert hedge.handle is None
        await hedge.until(lambda s: loud_packets(s) >= TURN_PACKETS)
        assert len(stage.phone.events("media")) > sent, "the caller heard a sentence"
        hedge.speaks("From nine to five.", 1.0)
        await asyncio.sleep(1.5)
        before = len(stage.phone.events("media"))
        first.speaks("I am late.", 1.0)
        await asyncio.sleep(1)
        assert len(stage.phone.events("media")) == before, "the first one is never heard again"
        assert [each.cause for each in stage.of(ModelSwitch)] == ["hedge_spoke_first"]
        assert dead_air(stage) == [("no_answer", "filled")]


@scene
async def test_a_session_that_answers_after_all_keeps_the_call() -> None:
    async with call(answer_patience_secs=2.5) as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        hedge = await stage.model.session(2)
        first.speaks("Here I am.", 1.0)
        await asyncio.sleep(0.5)
        before = len(stage.phone.events("media"))
        hedge.speaks("From nine to five.", 1.0)
        await asyncio.sleep(0.5)
        assert len(stage.phone.events("media")) == before
        assert stage.of(ModelSwitch) == []


@scene
async def test_when_nobody_answers_a_person_is_dialled() -> None:
    profile = {"answer_patience_secs": 2.5, "fallback_number": "+15550123"}
    async with call(**profile) as stage:
        await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        summary = await stage.running.ended()
        assert (summary.reason, summary.transfer_to) == (EndReason.NO_MODEL, "+15550123")
        assert dead_air(stage) == [("no_answer", "filled"), ("no_answer", "given_up")]


@scene
async def test_an_empty_turn_is_asked_again_at_once() -> None:
    async with call(answer_patience_secs=2.5) as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS + 0.6)
        before = len(first.texts)
        first.content(generation_complete=True)
        first.content(turn_complete=True)
        await first.until(lambda s: len(s.texts) > before)
        first.speaks("From nine to five.", 1.0)
        await asyncio.sleep(4)
        assert len(stage.model.sessions) == 1
        assert dead_air(stage) == [("empty_turn", "prompted")]


@scene
async def test_a_reply_that_nobody_can_hear_is_asked_for_again() -> None:
    async with call(answer_patience_secs=2.5) as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS + 0.6)
        before = len(first.texts)
        data = bytes([1, 0]) * 24_000
        part = {"inline_data": {"data": data, "mime_type": "audio/pcm;rate=24000"}}
        first.content(model_turn={"parts": [part]})
        first.content(generation_complete=True)
        first.content(turn_complete=True)
        await first.until(lambda s: len(s.texts) > before)
        assert "could not hear" in first.texts[-1]
        assert dead_air(stage) == [("near_silent", "prompted")]


@scene
async def test_a_reply_that_stops_half_way_is_told_on_by_another_session() -> None:
    async with call(answer_patience_secs=2.5) as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS + 0.6)
        first.speaks("Our hours are", 1.0, completes=False)
        hedge = await stage.model.session(2)
        await hedge.until(lambda s: s.sent)
        assert "Our hours are" in hedge.sent[-1][1]
        assert dead_air(stage) == [("half_reply", "filled")]


@scene
async def test_the_sentence_is_said_once_a_turn_and_again_in_the_next_one() -> None:
    sentences = await prepared()
    async with call(answer_patience_secs=2.5, sentences=sentences) as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        hedge = await stage.model.session(2)
        await hedge.until(lambda s: loud_packets(s) >= TURN_PACKETS)
        hedge.speaks("Our hours", 0.5, completes=False)
        third = await stage.model.session(3)
        await third.until(lambda s: s.sent)
        third.speaks("are nine to five.", 1.0)
        await asyncio.sleep(2)
        assert stage.kinds().count("agent.filler") == 1
        assert dead_air(stage) == [("no_answer", "filled"), ("half_reply", "filled")]
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await stage.model.session(4)
        await asyncio.sleep(0.1)
        assert stage.kinds().count("agent.filler") == 2
        assert loud_packets(first) <= TURN_PACKETS + 1, "it hears no more; the filter rings"


@scene
async def test_nothing_is_done_while_a_tool_runs() -> None:
    runs: list[float] = []
    async with call(definition=slow_tool(6.0, runs), answer_patience_secs=2.5) as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS + 0.6)
        asks(first, "f1")
        await first.until(lambda s: any(kind == "tool" for kind, _ in s.sent))
        first.speaks("It is booked.", 1.0)
        await asyncio.sleep(3)
        assert dead_air(stage) == []
        assert len(stage.model.sessions) == 1


# --- connections that have to go -------------------------------------------------------------


@scene
async def test_the_next_connection_opens_while_the_old_one_serves() -> None:
    async with call() as stage:
        first = await patient_call(stage)
        first.says({"go_away": {"time_left": "10s"}})
        second = await stage.model.session(2)
        assert second.handle == "h1"
        await asyncio.sleep(0.5)
        sent = len(first.audio)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS + 0.5)
        assert len(first.audio) == sent
        assert TURN_PACKETS <= loud_packets(second) <= TURN_PACKETS + 1  # the filter rings
        assert [each.cause for each in stage.of(ModelSwitch)] == ["successor_planned"]


@scene
async def test_a_connection_that_falls_silent_after_its_go_away_is_left_in_time() -> None:
    async with call() as stage:
        first = await patient_call(stage)
        stage.phone.speak(mulaw_tone(TURN_SECS))
        await asyncio.sleep(TURN_SECS / 2)
        first.says({"go_away": {"time_left": "3s"}})
        second = await stage.model.session(2)
        await asyncio.sleep(4)
        assert loud_packets(second) >= TURN_PACKETS
        assert [each.cause for each in stage.of(ModelSwitch)] == ["successor_forced"]


class HangingModel(PlayedModel):
    """The first attempt to connect hangs."""

    def connect(self, config: Any) -> Any:
        if self.attempts == 0:
            self.setup_secs = 60.0
            return super().connect(config)
        self.setup_secs = 0.1
        return super().connect(config)


@scene
async def test_a_second_attempt_runs_beside_one_that_hangs() -> None:
    model = HangingModel()
    async with call(model) as stage:
        await stage.phone.pick_up()
        began = now()
        session = await model.session()
        assert now() - began < 2.5
        assert model.attempts == 2
        await session.until(lambda s: s.texts)


# --- changes and hints -----------------------------------------------------------------------


@scene
async def test_another_prompt_takes_effect_between_two_turns_and_remembers_the_call() -> None:
    async with call() as stage:
        await patient_call(stage)
        stage.running.controls.change(Change(system_prompt="Be brief.", voice="Kore", tools=[]))
        second = await stage.model.session(2)
        assert second.handle == "h1"
        assert second.config.system_instruction == "Be brief."
        assert second.config.tools is None
        await asyncio.sleep(0.5)
        assert [each.cause for each in stage.of(ModelSwitch)] == ["successor_planned"]
        assert second.texts == [], "it greets nobody again"


@scene
async def test_a_tool_that_the_pipeline_does_not_have_changes_nothing() -> None:
    async with call() as stage:
        await patient_call(stage)
        with pytest.raises(UnknownTool, match="there are: hang_up"):
            stage.running.controls.change(Change(tools=["fly"]))
        await asyncio.sleep(1)
        assert len(stage.model.sessions) == 1


@scene
async def test_a_hint_waits_for_the_end_of_a_reply_and_is_told_to_fresh_sessions_too() -> None:
    model = PlayedModel()
    async with call(model) as stage:
        first = await patient_call(stage)
        first.speaks("Our hours are", 1.0, completes=False)
        await asyncio.sleep(0.1)
        stage.running.controls.hint("Offer a discount.")
        await asyncio.sleep(0.2)
        assert first.sent[1:] == []
        first.content(generation_complete=True)
        first.content(turn_complete=True)
        await first.until(lambda s: len(s.sent) == 2)
        kind, told = first.sent[-1]
        assert (kind, "Offer a discount." in told) == ("remember", True)
        model.refusals.append(refused(1011))
        first.drops()
        fresh = await model.session(2)
        await asyncio.sleep(0.5)
        assert any("Offer a discount." in text for _, text in fresh.sent)


@scene
async def test_another_instance_may_know_a_reply_as_soon_as_it_is_made() -> None:
    async with call() as stage:
        session = await stage.greeted()
        known: list[CallMemory | None] = []
        stage.running.on_news(
            lambda: asyncio.get_running_loop().call_soon(
                lambda: known.append(stage.running.memory())
            )
        )
        stage.phone.speak(mulaw_tone(1.0))
        await asyncio.sleep(1.5)
        session.content(input_transcription={"text": "When do you open?"})
        session.speaks("We open at nine.", 4.0)
        # The caller has heard a tenth of it.
        await asyncio.sleep(0.4)
        made = known[-1]
        assert made is not None
        assert made.asked == "When do you open?"
        assert made.speech is not None
        assert made.speech.text == "We open at nine."
        assert made.speech.heard_until - made.speech.heard_from == pytest.approx(4.0, abs=0.1)
        assert not made.speech.goes_on
