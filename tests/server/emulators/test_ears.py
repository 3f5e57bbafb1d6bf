"""Which sentence was said, over a phone line."""

import numpy as np
import pytest

from server.emulators.ears import Ears, _Recognizer
from server.emulators.phones import Unpronounceable, pronounce
from server.emulators.speech import speak, voice_for
from server.emulators.twilio import mulaw

SENTENCES = [
    "What are your opening hours?",
    "I would like to book a table for two.",
    "I would like to book a table for ten.",
    "Thank you, goodbye.",
    "How are you?",
    "No.",
    "Yes, please.",
    "Hello!",
    "Can you tell me where you are?",
    "What is the weather like today?",
    "Stop, please.",
    "Wait a moment.",
    "I need to change my appointment.",
    "Tell me a long story.",
    "Do you have anything on Friday?",
    "Do you have anything on Monday?",
    "My name is Szczepan O'Brien.",
    "That is all.",
    "I am in room 42.",
    "Cancel my order.",
]


def over_the_phone(pcm: bytes) -> bytes:
    samples = np.frombuffer(pcm, dtype="<i2")
    return mulaw.decode(mulaw.encode(samples)).astype("<i2").tobytes()


@pytest.mark.parametrize("voice", ["en-us", "en-us+f3"])
def test_hears_every_sentence_over_mu_law(voice: str) -> None:
    ears = Ears(SENTENCES)
    heard = [
        ears.hear(over_the_phone(speak(sentence, voice=voice, rate=8_000)), 8_000)
        for sentence in SENTENCES
    ]
    assert heard == SENTENCES


def test_hears_a_quiet_caller_in_line_noise() -> None:
    ears = Ears(SENTENCES)
    noise = np.random.default_rng(4)
    heard = 0
    for sentence in SENTENCES:
        samples = np.frombuffer(speak(sentence, rate=8_000), "<i2") * 0.2
        noisy = samples + noise.normal(0, 20, len(samples))
        pcm = over_the_phone(noisy.astype("<i2").tobytes())
        heard += ears.hear(pcm, 8_000) == sentence
    assert heard >= len(SENTENCES) - 1


@pytest.mark.parametrize("level", [0, 30, 3_000])
def test_noise_is_nothing(level: int) -> None:
    noise = np.random.default_rng(1).normal(0, level, 32_000).astype("<i2").tobytes()
    assert Ears(SENTENCES).hear(noise, 16_000) is None


def test_a_sentence_that_is_not_expected_is_nothing() -> None:
    ears = Ears(["What are your opening hours?", "Thank you, goodbye."])
    assert ears.hear(speak("My dog has eaten the curtains again.", rate=16_000), 16_000) is None


def test_expecting_nothing_hears_nothing() -> None:
    assert Ears([]).hear(speak("Hello", rate=16_000), 16_000) is None


def test_what_was_heard_before_takes_as_many_pieces_and_no_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ears, pcm = Ears(SENTENCES), speak("Stop, please.", rate=16_000)
    first = list(ears._decode(pcm, 16_000))
    assert first[-1] == "Stop, please."
    assert len(first) > 10
    monkeypatch.setattr(_Recognizer, "_search", lambda *_: pytest.fail("it is searched again"))
    assert list(ears._decode(pcm, 16_000)) == first


def test_the_same_sound_is_heard_anew_for_other_sentences() -> None:
    pcm = speak("Wait a moment.", rate=16_000)
    assert Ears(SENTENCES).hear(pcm, 16_000) == "Wait a moment."
    assert Ears(["Thank you, goodbye."]).hear(pcm, 16_000) is None


async def test_listening_in_pieces_hears_the_same() -> None:
    ears = Ears(SENTENCES)
    pcm = speak("Do you have anything on Monday?", rate=16_000)
    assert await ears.listen(pcm, 16_000) == "Do you have anything on Monday?"


def test_several_ears_do_not_confuse_their_sentences() -> None:
    first, second = Ears(["Good morning."]), Ears(["Good night.", "Good evening."])
    said = speak("Good evening.", rate=16_000)
    for _ in range(2):
        assert second.hear(said, 16_000) == "Good evening."
        assert first.hear(said, 16_000) is None


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("de-DE", ["Wann haben Sie geöffnet?", "Einen Tisch für zwei, bitte.", "Auf Wiederhören."]),
        ("fr-FR", ["Quels sont vos horaires ?", "Je voudrais une table pour deux.", "Au revoir."]),
        ("ru-RU", ["Когда вы открыты?", "Спасибо, до свидания", "Здравствуйте"]),
        ("ja-JP", ["営業時間を教えてください", "ありがとうございます", "こんにちは"]),
    ],
)
def test_hears_other_languages(language: str, sentences: list[str]) -> None:
    ears = Ears(sentences, language=language)
    voice = voice_for(language)
    said = [over_the_phone(speak(sentence, voice=voice, rate=8_000)) for sentence in sentences]
    assert [ears.hear(pcm, 8_000) for pcm in said] == sentences


@pytest.mark.parametrize("sentence", ["", "?!", "…"])
def test_a_sentence_without_words_is_refused(sentence: str) -> None:
    with pytest.raises(ValueError, match="no word"):
        Ears([sentence])


def test_words_are_pronounced_in_cmu_phones() -> None:
    assert pronounce("7", voice="en-us") == "S EH V AH N"
    assert pronounce("Szczepan", voice="en-us").startswith("SH")
    assert pronounce("schön", voice="de").split()[0] == "SH"


def test_what_has_no_sound_is_refused() -> None:
    with pytest.raises(Unpronounceable):
        pronounce("_", voice="cmn")
