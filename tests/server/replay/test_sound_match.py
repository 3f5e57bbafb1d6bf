"""Speech that went over a telephone line, whole and spoilt, is found and measured."""

import numpy as np
import pytest
from numpy.typing import NDArray

from server.emulators.speech import speak
from server.emulators.twilio.mulaw import RATE, decode, encode
from server.emulators.twilio.sound import at_line_rate
from server.replay.sound_match import Match, find

PACKET = RATE // 50
SENTENCE = "You find us at twelve Station Road, next to the old mill."
SAID = at_line_rate(speak(SENTENCE, rate=24_000), 24_000)
OTHER = at_line_rate(speak("Please bring a list of the medicines.", rate=24_000), 24_000)

Samples = NDArray[np.int16]


def silence(secs: float) -> Samples:
    return np.zeros(round(secs * RATE), np.int16)


def over_the_line(*pieces: Samples) -> Samples:
    """As a phone hears it: through mu-law."""
    return decode(encode(np.concatenate(pieces)))


def found(*pieces: Samples, after_secs: float = 0.0) -> Match:
    match = find(SAID, over_the_line(*pieces), after_secs=after_secs)
    assert match is not None
    return match


def without(start: int, packets: int = 1) -> Samples:
    return np.delete(SAID, slice(start, start + packets * PACKET))


def with_repeated(start: int) -> Samples:
    return np.insert(SAID, start, SAID[start - PACKET : start])


@pytest.mark.parametrize("before_secs", [0.0, 0.5, 1.013, 7.7])
def test_whole_speech_is_found_where_it_is(before_secs: float) -> None:
    match = found(silence(before_secs), SAID, silence(1.0))
    assert match.start_secs == pytest.approx(before_secs + 0.02, abs=0.045)
    assert match.end_secs - match.start_secs == pytest.approx(len(SAID) / RATE, abs=0.1)
    assert (match.altered_ms, match.cut_off_ms) == (0, 0)


def test_the_first_of_two_behind_a_moment_is_found() -> None:
    twice = (silence(1.0), SAID, silence(1.0), SAID, silence(0.5))
    second = 2.0 + len(SAID) / RATE
    assert found(*twice).start_secs == pytest.approx(1.0, abs=0.06)
    assert found(*twice, after_secs=1.5).start_secs == pytest.approx(second, abs=0.06)


@pytest.mark.parametrize("at", range(RATE // 2, len(SAID) - RATE, 3_137))
def test_a_lost_packet_is_measured(at: int) -> None:
    assert abs(found(silence(1.0), without(at), silence(1.0)).altered_ms) == pytest.approx(20, 0.1)


@pytest.mark.parametrize("at", range(RATE // 2, len(SAID) - RATE, 3_137))
def test_a_repeated_packet_is_measured(at: int) -> None:
    match = found(silence(1.0), with_repeated(at), silence(1.0))
    assert abs(match.altered_ms) == pytest.approx(20, 0.1)


def test_a_hole_is_measured_as_what_it_adds() -> None:
    middle = len(SAID) // 2
    match = found(silence(1.0), SAID[:middle], silence(0.3), SAID[middle:], silence(1.0))
    assert match.altered_ms == pytest.approx(300, abs=5)
    match = found(silence(1.0), without(middle, 10), silence(1.0))
    assert match.altered_ms == pytest.approx(200, abs=25)


@pytest.mark.parametrize("muted_ms", [40, 60, 200, 400])
def test_what_falls_silent_on_the_way_is_measured(muted_ms: int) -> None:
    length = muted_ms * RATE // 1000
    # Where the speech is loudest, and not in its first half second, by which it is found.
    energy = np.convolve(SAID.astype(float) ** 2, np.ones(length), "valid")
    start = RATE + int(np.argmax(energy[RATE : len(SAID) - 2 * RATE]))
    muted = SAID.copy()
    muted[start : start + length] = 0
    match = found(silence(1.0), muted, silence(1.0))
    assert match.cut_off_ms == 0
    assert match.altered_ms == pytest.approx(muted_ms, rel=0.5)


@pytest.mark.parametrize("cut_ms", [100, 200, 400, 900])
def test_a_cut_end_is_measured(cut_ms: int) -> None:
    kept = SAID[: len(SAID) - cut_ms * RATE // 1000]
    match = found(silence(1.0), kept, silence(1.5))
    assert match.cut_off_ms == pytest.approx(cut_ms, abs=70)
    # The same when the line ends with it.
    assert found(silence(1.0), kept).cut_off_ms == pytest.approx(cut_ms, abs=70)


def test_noise_on_the_line_changes_nothing() -> None:
    dice = np.random.default_rng(1)
    noisy = np.concatenate([silence(1.0), SAID, silence(1.0)]).astype(float)
    noisy += dice.normal(0, 300, len(noisy))
    match = found(np.clip(noisy, -32_768, 32_767).astype(np.int16))
    assert (match.altered_ms, match.cut_off_ms) == (0, pytest.approx(0, abs=60))


@pytest.mark.parametrize("keep", [2 / 3, 4 / 3, 2.0])
def test_speech_at_the_wrong_rate_is_another_sound_or_an_altered_one(keep: float) -> None:
    at = np.arange(0, len(SAID) - 1, 1 / keep)
    spoilt = np.interp(at, np.arange(len(SAID)), SAID).astype(np.int16)
    match = find(SAID, over_the_line(silence(1.0), spoilt, silence(2.0)), after_secs=0.0)
    assert match is None or abs(match.altered_ms) > 100 or match.cut_off_ms > 100


@pytest.mark.parametrize(
    "heard",
    [silence(0.0), silence(0.01), silence(8.0), OTHER, np.concatenate([silence(1), OTHER])],
    ids=["nothing", "less than a piece", "silence", "another sentence", "another, later"],
)
def test_what_is_not_there_is_not_found(heard: Samples) -> None:
    assert find(SAID, heard, after_secs=0.0) is None


def test_it_is_not_found_behind_its_end_and_silence_is_never_found() -> None:
    heard = over_the_line(silence(1.0), SAID, silence(1.0))
    assert find(SAID, heard, after_secs=1.0 + len(SAID) / RATE) is None
    assert find(SAID, heard, after_secs=100.0) is None
    assert find(silence(2.0), heard, after_secs=0.0) is None


def test_a_single_word_is_found() -> None:
    word = at_line_rate(speak("Yes.", rate=24_000), 24_000)
    match = find(word, over_the_line(silence(2.0), word, silence(1.0)), after_secs=0.0)
    assert match is not None
    assert match.start_secs == pytest.approx(2.0, abs=0.06)
