"""What espeak-ng says, as samples."""

import hashlib
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pytest

from server.emulators.espeak import UnknownVoice
from server.emulators.speech import KEPT_SILENCE_SECS, speak, spoken_words, voice_for


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, dtype="<i2")


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_lasts_as_long_at_every_rate(rate: int) -> None:
    reference = len(speak("What are your opening hours?", rate=22_050)) / 22_050
    assert len(speak("What are your opening hours?", rate=rate)) / rate == pytest.approx(
        reference, rel=0.02
    )


def test_peaks_at_minus_three_dbfs() -> None:
    for text in ("Hello.", "I would like to book a table for two people."):
        assert np.abs(samples(speak(text))).max() / 32_768 == pytest.approx(0.708, abs=0.01)


def test_has_no_long_silence_around_it_and_no_click() -> None:
    said = samples(speak("Hello there."))
    loud = np.flatnonzero(np.abs(said) > 500)
    kept = int(KEPT_SILENCE_SECS * 24_000)
    assert loud[0] <= kept + 24
    assert len(said) - loud[-1] <= kept + 24 * 20
    assert abs(int(said[0])) < 50
    assert abs(int(said[-1])) < 50


def test_is_the_same_every_time_and_different_for_another_voice() -> None:
    first = speak("Good evening.")
    speak("Something else in between.", voice="es", pitch=80)
    assert speak("Good evening.") == first
    assert speak("Good evening.", voice="en-us+f3") != first


SPOKEN = ("en-us", "en-us+f3", "en-us+whisper", "de")
IN_ANOTHER_PROCESS = f"""
import hashlib
from server.emulators.speech import speak
speak("What another process has said before.", voice="es")
for voice in {SPOKEN!r}[::-1]:
    print(hashlib.sha256(speak("Fifty-six, seven or eight?", voice=voice)).hexdigest())
"""


def test_is_the_same_in_every_process() -> None:
    """Whatever was said before, and in another second: espeak-ng takes its seed from the clock."""
    here = [hashlib.sha256(speak("Fifty-six, seven or eight?", voice=v)) for v in SPOKEN]
    begun = int(time.time())
    while int(time.time()) == begun:
        time.sleep(0.02)
    there = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS], capture_output=True, text=True, check=True
    )

    assert there.stdout.split()[::-1] == [digest.hexdigest() for digest in here]


def test_faster_speech_is_shorter() -> None:
    text = "One two three four five six seven."
    assert len(speak(text, words_per_minute=260)) < 0.8 * len(speak(text, words_per_minute=160))


@pytest.mark.parametrize("text", ["", "   ", "..."])
def test_nothing_to_say_is_no_sound(text: str) -> None:
    assert speak(text) == b""


@pytest.mark.parametrize(
    ("language", "voice"),
    [
        ("en-US", "en-us"),
        ("en", "en-us"),
        ("en-GB", "en"),
        ("es-ES", "es"),
        ("es-MX", "es-419"),
        ("de-DE", "de"),
        ("pt_BR", "pt-br"),
        ("fr-CA", "fr"),
        ("cmn-CN", "cmn"),
    ],
)
def test_every_language_has_a_voice_that_speaks(language: str, voice: str) -> None:
    assert voice_for(language) == voice
    assert len(speak("1 2 3", voice=voice_for(language, "f3"))) > 24_000


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(UnknownVoice, match="nobody"):
        speak("Hello", voice="nobody")


def test_words_follow_each_other_to_the_end_of_the_sound() -> None:
    text = "Breakfast is from half past six to eleven, in the garden room."
    words = spoken_words(text)
    assert [word.text for word in words] == text.split()
    assert words[0].start_secs < 0.05
    for word, following in pairwise(words):
        assert word.start_secs < word.end_secs == following.start_secs
    assert words[-1].end_secs == pytest.approx(len(speak(text)) / 2 / 24_000, abs=0.01)


def test_a_word_begins_where_it_is_heard() -> None:
    """A pause belongs to the word before it: the sound begins anew with the next one."""
    before, after = spoken_words("Yes. Certainly.")
    said = samples(speak("Yes. Certainly."))
    silent, begun = (round(secs * 24_000) for secs in (after.start_secs - 0.1, after.start_secs))
    assert np.abs(said[silent : begun - 480]).max() < np.abs(said[begun : begun + 4_800]).max() / 10
    assert before.end_secs == after.start_secs


def test_no_words_are_spoken_of_no_text() -> None:
    assert spoken_words("…") == ()
