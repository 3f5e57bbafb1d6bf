"""The caller speaks while the model does, or while it believes it does."""

from google.genai import types

from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.speech import speak
from tests.server.emulators.gemini_live.caller import calling

STORY = "Tell me a long story."


async def test_stops_generating(emulator: GeminiLiveEmulator) -> None:
    emulator.behaviour.pace = 1
    async with calling(emulator) as caller:
        await caller.say(STORY)
        await caller.until(lambda c: c.audio)
        await caller.say("Stop, please.")
        await caller.until(lambda c: c.turns == 2)
        story, stopped = (await emulator.session()).log.replies
        assert not story.complete
        assert stopped.complete
        assert story.secs < len(speak(story.text)) / 48_000 / 2
        assert caller.interruptions == 1
        assert caller.said.endswith("I have stopped.")
        kinds = [
            "interrupted" if c.interrupted else "turnComplete"
            for c in caller.contents
            if c.interrupted or c.turn_complete
        ]
        assert kinds == ["interrupted", "turnComplete", "turnComplete"]


async def test_no_speech_follows_an_interruption_until_the_next_answer(
    emulator: GeminiLiveEmulator,
) -> None:
    emulator.behaviour.pace = 1
    async with calling(emulator) as caller:
        await caller.say(STORY)
        await caller.until(lambda c: c.audio)
        await caller.send(speak("Stop, please.", rate=16_000))
        await caller.until(lambda c: c.turns)
        before = len(caller.audio)
        await caller.session.send_realtime_input(text="nothing that a rule answers")
        await (await emulator.session()).until(lambda s: s.log.texts)
        assert len(caller.audio) == before


async def test_what_would_still_be_playing_is_interrupted_too(emulator: GeminiLiveEmulator) -> None:
    emulator.behaviour.pace = 0
    async with calling(emulator) as caller:
        await caller.say(STORY)
        await caller.until(lambda c: c.turns == 1)
        await caller.say("Stop, please.")
        await caller.until(lambda c: c.turns == 3)
        assert caller.interruptions == 1


async def test_what_was_played_is_not_interrupted() -> None:
    script = Script.parse({"rules": [{"hears": "*", "say": "Yes."}]})
    async with (
        GeminiLiveEmulator(script, pace=1, turn_complete="after_playback") as emulator,
        calling(emulator) as caller,
    ):
        for turns in (1, 2):
            await caller.say("Hello?")
            await caller.until(lambda c, turns=turns: c.turns == turns)  # type: ignore[misc]
        assert caller.interruptions == 0


async def test_a_text_interrupts_too(emulator: GeminiLiveEmulator) -> None:
    emulator.behaviour.pace = 1
    async with calling(emulator) as caller:
        await caller.say(STORY)
        await caller.until(lambda c: c.audio)
        await caller.ask("The caller pressed 4.")
        await caller.until(lambda c: c.turns == 2)
        assert caller.interruptions == 1
        assert caller.said.endswith("You pressed 4.")


async def test_client_content_that_completes_a_turn_interrupts(
    emulator: GeminiLiveEmulator,
) -> None:
    emulator.behaviour.pace = 1
    async with calling(emulator) as caller:
        await caller.say(STORY)
        await caller.until(lambda c: c.audio)
        await caller.session.send_client_content(
            turns=types.Content(role="user", parts=[types.Part(text="Be quiet.")])
        )
        await caller.until(lambda c: c.interruptions)
        assert caller.interruptions == 1


async def test_the_setup_can_forbid_it(emulator: GeminiLiveEmulator) -> None:
    config = {"activity_handling": "NO_INTERRUPTION"}
    async with calling(emulator, realtime_input_config=config) as caller:
        await caller.say(STORY)
        await caller.until(lambda c: c.audio)
        await caller.say("Stop, please.")
        await caller.until(lambda c: c.turns == 2)
        assert caller.interruptions == 0
        assert [reply.complete for reply in (await emulator.session()).log.replies] == [True, True]


async def test_speech_before_the_answer_is_no_interruption() -> None:
    rules = [{"hears": "Stop, please.", "say": "I have stopped."}]
    script = Script.parse({"rules": rules})
    async with (
        GeminiLiveEmulator(script, thinking_secs=0.3, pace=0) as emulator,
        calling(emulator) as caller,
    ):
        await caller.ask('Say this word for word: "Good morning."')
        await caller.say("Stop, please.")
        await caller.until(lambda c: c.turns)
        assert caller.interruptions == 0
        assert caller.said == "I have stopped."


async def test_what_it_was_about_to_say_survives_a_noise() -> None:
    script = Script.parse({"not_understood": "What?", "rules": [{"hears": "Hello", "say": "Hi."}]})
    async with (
        GeminiLiveEmulator(script, thinking_secs=0.3, pace=0) as emulator,
        calling(emulator) as caller,
    ):
        await caller.ask('Say this word for word: "Good morning."')
        await caller.say("My dog has eaten the curtains again.")
        await caller.until(lambda c: c.turns)
        assert caller.said == "Good morning."


async def test_a_sentence_that_no_rule_is_for_is_noted() -> None:
    script = Script.parse({"rules": [{"hears": "Hello", "say": "Hi."}]})
    async with GeminiLiveEmulator(script, pace=0) as emulator, calling(emulator) as caller:
        await caller.say("My dog has eaten the curtains again.")
        (session,) = emulator.sessions
        await session.until(lambda it: "no_rule" in it.log.kinds("note"))
        assert session.log.replies == []
