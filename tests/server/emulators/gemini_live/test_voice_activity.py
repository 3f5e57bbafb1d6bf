"""When speech starts and ends, by samples alone."""

import numpy as np
import pytest

from server.emulators.gemini_live.voice_activity import (
    HEARS_AT,
    LEAD_IN_MS,
    Change,
    Detection,
    VoiceActivity,
)
from server.emulators.speech import speak

SPEECH = speak("I would like to book a table for two.", rate=HEARS_AT)
RANDOM = np.random.default_rng(7)


def silence(secs: float, level: float = 0) -> bytes:
    return RANDOM.normal(0, level, int(secs * HEARS_AT)).astype("<i2").tobytes()


def noisy(pcm: bytes, level: float) -> bytes:
    samples = np.frombuffer(pcm, "<i2")
    return (
        (samples + RANDOM.normal(0, level, len(samples)))
        .clip(-32_768, 32_767)
        .astype("<i2")
        .tobytes()
    )


def changes(
    pcm: bytes, detection: Detection | None = None, chunk: int = 640
) -> list[tuple[Change, float]]:
    """What changed, and after how many seconds of audio."""
    activity = VoiceActivity(detection or Detection())
    found = []
    for start in range(0, len(pcm), chunk):
        for change in activity.feed(pcm[start : start + chunk]):
            found.append((change, (start + chunk) / 2 / HEARS_AT))
    return found


def kinds(found: list[tuple[Change, float]]) -> list[Change]:
    return [change for change, _ in found]


@pytest.mark.parametrize("chunk", [640, 320, 1_024, 7, 64_000])
def test_one_utterance_is_one_start_and_one_end(chunk: int) -> None:
    found = changes(silence(0.5) + SPEECH + silence(1), chunk=chunk)
    assert kinds(found) == [Change.STARTED, Change.ENDED]


def test_starts_with_the_speech_and_ends_after_the_silence_asked_for() -> None:
    secs = len(SPEECH) / 2 / HEARS_AT
    for silence_ms in (300, 800):
        found = changes(silence(1) + SPEECH + silence(2), Detection(silence_ms=silence_ms))
        (_, started), (_, ended) = found
        assert started == pytest.approx(1.0, abs=0.1)
        assert ended == pytest.approx(1.0 + secs + silence_ms / 1000, abs=0.12)


def test_does_not_end_without_more_audio() -> None:
    assert kinds(changes(silence(0.5) + SPEECH)) == [Change.STARTED]


@pytest.mark.parametrize("level", [5, 30, 100])
def test_a_noisy_line_is_not_speech_and_speech_on_it_ends(level: float) -> None:
    assert changes(silence(4, level)) == []
    found = changes(noisy(silence(2) + SPEECH + silence(2), level))
    assert kinds(found) == [Change.STARTED, Change.ENDED]


def test_noise_that_begins_later_is_speech_only_for_a_while() -> None:
    found = changes(silence(2) + silence(4, 300))
    assert kinds(found) == [Change.STARTED, Change.ENDED]
    assert found[1][1] < 5


def test_a_click_needs_to_be_as_long_as_the_padding() -> None:
    click = silence(1) + silence(0.04, 5_000) + silence(1)
    assert kinds(changes(click)) == [Change.STARTED, Change.ENDED]
    assert changes(click, Detection(prefix_padding_ms=100)) == []


def test_low_sensitivity_ignores_what_is_quiet() -> None:
    quiet = (np.frombuffer(SPEECH, "<i2") * 0.02).astype("<i2").tobytes()
    high = Detection.of_setup({})
    low = Detection.of_setup(_setup(startOfSpeechSensitivity="START_SENSITIVITY_LOW"))
    assert Change.STARTED in kinds(changes(silence(1) + quiet, high))
    assert changes(silence(1) + quiet, low) == []
    assert Change.STARTED in kinds(changes(silence(1) + SPEECH, low))


def test_the_setup_says_how() -> None:
    assert Detection.of_setup({}) == Detection()
    assert Detection.of_setup(_setup(disabled=True)).disabled
    assert Detection.of_setup(_setup(silenceDurationMs=123, prefixPaddingMs=45)) == Detection(
        silence_ms=123, prefix_padding_ms=45
    )
    slow = Detection.of_setup(_setup(endOfSpeechSensitivity="END_SENSITIVITY_LOW"))
    assert slow.silence_ms > Detection().silence_ms


def test_disabled_detection_finds_nothing() -> None:
    assert changes(silence(0.5) + SPEECH + silence(1), Detection(disabled=True)) == []


def test_keeps_the_utterance_with_its_beginning() -> None:
    activity = VoiceActivity(Detection())
    for start in range(0, len(pcm := silence(3) + SPEECH + silence(1)), 640):
        if Change.ENDED in activity.feed(pcm[start : start + 640]):
            break
    utterance = activity.take_utterance()
    assert SPEECH[3_200:-3_200] in utterance
    assert len(utterance) < len(SPEECH) + (LEAD_IN_MS + 600) * 32
    assert activity.take_utterance() == b""


def _setup(**detection: object) -> dict[str, object]:
    return {"realtimeInputConfig": {"automaticActivityDetection": detection}}
