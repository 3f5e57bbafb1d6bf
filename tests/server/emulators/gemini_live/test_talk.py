"""A conversation with the emulator, by the plain google-genai client."""

import asyncio

import numpy as np
import pytest
from google.genai import types

from server.emulators.ears import Ears
from server.emulators.gemini_live import GeminiLiveEmulator, Script
from server.emulators.speech import speak
from tests.server.emulators.gemini_live.caller import SILENCE, calling


async def test_greets_word_for_word(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator) as caller:
        await caller.ask('[Greet them: say this, word for word: "Hello, this is Luigi speaking."]')
        await caller.until(lambda c: c.turns)
        assert caller.said == "Hello, this is Luigi speaking."
        ears = Ears(["Hello, this is Luigi speaking.", "Hello, this is somebody else."])
        assert ears.hear(caller.audio, 24_000) == "Hello, this is Luigi speaking."
        assert caller.heard == ""


async def test_hears_and_answers(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator) as caller:
        await caller.say("What are your opening hours?")
        await caller.until(lambda c: c.turns)
        assert caller.heard == "What are your opening hours?"
        assert caller.said == "We are open from nine to five."
        answers = Ears(["We are open from nine to five.", "We are closed today."])
        assert answers.hear(caller.audio, 24_000) == "We are open from nine to five."
        session = await emulator.session()
        assert session.log.heard == ["What are your opening hours?"]
        assert [reply.complete for reply in session.log.replies] == [True]
        order = dict.fromkeys(session.log.kinds("out"))
        assert list(order) == [
            *("setupComplete", "inputTranscription", "outputTranscription", "audio"),
            *("generationComplete", "turnComplete"),
        ]


async def test_says_so_when_it_does_not_understand(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator) as caller:
        await caller.say("My dog has eaten the curtains again.")
        await caller.until(lambda c: c.turns)
        assert caller.heard == ""
        assert caller.said == "Could you say that again?"


async def test_answers_a_text_with_its_groups(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator) as caller:
        await caller.ask("The caller pressed 7 on the keypad.")
        await caller.until(lambda c: c.turns)
        assert caller.said == "You pressed 7."


async def test_client_content_alone_does_not_make_it_speak(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator) as caller:
        await caller.session.send_client_content(
            turns=types.Content(role="user", parts=[types.Part(text="She pressed 3.")]),
            turn_complete=True,
        )
        await caller.ask("The caller pressed 7.")
        await caller.until(lambda c: c.turns)
        assert caller.said == "You pressed 7."


async def test_a_blank_text_makes_it_answer_the_content_before(
    emulator: GeminiLiveEmulator,
) -> None:
    async with calling(emulator) as caller:
        await caller.session.send_client_content(
            turns=types.Content(role="user", parts=[types.Part(text="She pressed 3.")])
        )
        await caller.ask(" ")
        await caller.until(lambda c: c.turns)
        assert caller.said == "You pressed 3."


async def test_a_turn_does_not_end_when_the_audio_stops() -> None:
    script = Script.parse({"rules": [{"hears": "*", "say": "Yes."}]})
    async with GeminiLiveEmulator(script) as emulator, calling(emulator) as caller:
        await caller.send(speak("Hello?", rate=16_000))
        session = await emulator.session()
        await session.until(lambda s: "speech_started" in s.log.kinds("note"))
        await caller.session.send_realtime_input(text="nothing that a rule answers")
        await session.until(lambda s: s.log.texts)
        assert "speech_ended" not in session.log.kinds("note")
        await caller.send(SILENCE)
        await caller.until(lambda c: c.turns)
        assert session.log.heard == [None]


async def test_the_end_of_the_audio_stream_ends_the_turn(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator) as caller:
        await caller.send(speak("What are your opening hours?", rate=16_000))
        await caller.session.send_realtime_input(audio_stream_end=True)
        await caller.until(lambda c: c.turns)
        assert caller.heard == "What are your opening hours?"


async def test_the_client_can_detect_speech_itself(emulator: GeminiLiveEmulator) -> None:
    manual = {"automatic_activity_detection": {"disabled": True}}
    async with calling(emulator, realtime_input_config=manual) as caller:
        await caller.say("Stop, please.")
        session = await emulator.session()
        await caller.session.send_realtime_input(activity_start=types.ActivityStart())
        await caller.say("What are your opening hours?")
        await caller.session.send_realtime_input(activity_end=types.ActivityEnd())
        await caller.until(lambda c: c.turns)
        assert session.log.heard == ["What are your opening hours?"]


async def test_transcribes_nothing_that_nobody_asked_for(emulator: GeminiLiveEmulator) -> None:
    nothing = {"input_audio_transcription": None, "output_audio_transcription": None}
    async with calling(emulator, **nothing) as caller:
        await caller.say("What are your opening hours?")
        await caller.until(lambda c: c.turns)
        assert (caller.heard, caller.said) == ("", "")
        assert caller.audio


async def test_speech_comes_faster_than_real_time_and_in_small_chunks(
    emulator: GeminiLiveEmulator,
) -> None:
    async with calling(emulator) as caller:
        await caller.say("Tell me a long story.")
        await caller.until(lambda c: c.turns)
        parts = [
            len(content.model_turn.parts or ())
            for content in caller.contents
            if content.model_turn is not None
        ]
        chunk = 24_000 * 2 * 40 // 1000
        assert set(parts) == {1, 2}
        assert sum(parts) == -(-len(caller.audio) // chunk)
        [reply] = (await emulator.session()).log.replies
        events = [e for e in (await emulator.session()).log.events if e.kind == "audio"]
        sent = [event.at for event in events if event.direction == "out"]
        assert sent[-1] - sent[0] < reply.secs
        assert reply.secs == pytest.approx(len(caller.audio) / 48_000)


async def test_usage_counts_the_whole_context_on_every_turn(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator) as caller:
        await caller.ask("The caller pressed 1.")
        await caller.until(lambda c: c.turns == 1)
        secs = len(caller.audio) / 48_000
        await caller.ask("The caller pressed 2.")
        await caller.until(lambda c: c.turns == 3)
        usages = [m.usage_metadata for m in caller.messages if m.usage_metadata]
        first, interruption, second = usages
        assert first.response_token_count == pytest.approx(25 * secs, abs=1)
        assert interruption.response_token_count == 0
        assert second.prompt_token_count > first.total_token_count
        [text, audio] = second.prompt_tokens_details
        assert (text.modality, audio.modality) == ("TEXT", "AUDIO")
        assert audio.token_count == first.response_token_count
        assert first.total_token_count == first.prompt_token_count + first.response_token_count


async def test_the_turn_can_last_as_long_as_its_playback() -> None:
    script = Script.parse({"rules": [{"text_contains": "go", "say": "One two three four."}]})
    async with (
        GeminiLiveEmulator(script, pace=0, turn_complete="after_playback") as emulator,
        calling(emulator) as caller,
    ):
        await caller.ask("Go!")
        await caller.until(lambda c: c.turns)
        at = {event.kind: event.at for event in (await emulator.session()).log.events}
        [reply] = (await emulator.session()).log.replies
        waited = at["turnComplete"] - at["generationComplete"]
        generated = at["generationComplete"] - reply.started_at
        assert waited > 4 * generated
        assert waited + generated >= reply.secs * 0.99


async def test_many_talk_at_once(emulator: GeminiLiveEmulator) -> None:
    async def one(question: str, answer: str) -> None:
        async with calling(emulator) as caller:
            await caller.say(question)
            await caller.until(lambda c: c.turns, timeout=30)
            assert caller.said == answer

    asked = [
        ("What are your opening hours?", "We are open from nine to five."),
        ("Stop, please.", "I have stopped."),
    ]
    await asyncio.gather(*(one(*asked[number % 2]) for number in range(12)))
    assert len(emulator.sessions) == 12


async def test_each_session_can_have_a_script_of_its_own() -> None:
    def choose(setup: dict[str, object]) -> Script:
        name = str(setup["systemInstruction"]["parts"][0]["text"])  # type: ignore[index]
        return Script.parse({"rules": [{"text_contains": "who", "say": f"I am {name}."}]})

    async with GeminiLiveEmulator(choose_script=choose, pace=0) as emulator:
        for name in ("Anna", "Bert"):
            async with calling(emulator, system_instruction=name) as caller:
                await caller.ask("Who are you?")
                await caller.until(lambda c: c.turns)
                assert caller.said == f"I am {name}."


async def test_the_voice_and_its_language_are_the_clients(emulator: GeminiLiveEmulator) -> None:
    async def spoken(voice: str, language: str) -> bytes:
        speech = {
            "voice_config": {"prebuilt_voice_config": {"voice_name": voice}},
            "language_code": language,
        }
        async with calling(emulator, speech_config=speech) as caller:
            await caller.ask('Say this word for word: "Hotel"')
            await caller.until(lambda c: c.turns)
            return caller.audio

    low, high, german = [
        await spoken(*asked) for asked in (("Puck", "en-US"), ("Kore", "en-US"), ("Kore", "de-DE"))
    ]
    assert low == speak("Hotel", voice="en-us+m3", rate=24_000)
    assert high == speak("Hotel", voice="en-us+f3", rate=24_000)
    assert german == speak("Hotel", voice="de+f3", rate=24_000)


async def test_audio_of_another_rate_is_heard(emulator: GeminiLiveEmulator) -> None:
    async with calling(emulator) as caller:
        pcm = speak("What are your opening hours?", rate=8_000) + bytes(16_000)
        for start in range(0, len(pcm), 320):
            await caller.session.send_realtime_input(
                audio=types.Blob(data=pcm[start : start + 320], mime_type="audio/pcm;rate=8000")
            )
        await caller.until(lambda c: c.turns)
        assert caller.heard == "What are your opening hours?"
        heard = np.frombuffer(bytes((await emulator.session()).log.audio), "<i2")
        assert len(heard) == pytest.approx(len(pcm), rel=0.01)
