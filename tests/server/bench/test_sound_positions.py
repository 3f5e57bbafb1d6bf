"""Finding a sound in another."""

import numpy as np
import pytest

from server.bench.sound_positions import first_sound, last_sound, place_of
from server.emulators.speech import speak
from server.emulators.twilio.mulaw import RATE, decode, encode
from server.emulators.twilio.sound import at_line_rate, tone

QUIET = np.zeros(RATE // 2, dtype=np.int16)


@pytest.mark.parametrize("before", [0, 1, 159, 4_000, 7_777])
def test_speech_is_found_to_the_sample_though_the_line_changed_it(before: int) -> None:
    said = at_line_rate(speak("What should I bring?", rate=RATE), RATE)
    line = decode(encode(np.concatenate([np.zeros(before, dtype=np.int16), said, QUIET])))
    assert place_of(said, line) == before


def test_what_is_not_there_is_not_found() -> None:
    said = at_line_rate(speak("What should I bring?", rate=RATE), RATE)
    nothing = np.zeros(0, dtype=np.int16)
    for sound in (
        nothing,
        QUIET,
        tone(440.0, 2.0),
        np.concatenate([QUIET, said[: len(said) // 4]]),
    ):
        assert place_of(said, sound) is None
    assert place_of(nothing, said) is None


def test_first_and_last_sounds_are_those_above_the_level() -> None:
    samples = np.array([0, 5, -60, 0, 70, 9, 0], dtype=np.int16)
    assert first_sound(samples, 0, 50) == 2
    assert first_sound(samples, 3, 50) == 4
    assert first_sound(samples, 5, 50) is None
    assert last_sound(samples, 0, len(samples), 50) == 4
    assert last_sound(samples, 0, 4, 50) == 2
    assert last_sound(samples, 5, len(samples), 50) == 5


def test_the_loudest_negative_sample_is_a_sound() -> None:
    assert first_sound(np.array([0, -32_768], dtype=np.int16), 0, 32_767) == 1
