"""The energy detector: starts, stops, noise."""

import numpy as np
import pytest

from pipelines.phone.caller_speech import MOST_STRETCHES, CallerSpeech, Change

PACKET = 160


def tone(packets: int, level: float, seed: int = 1) -> list[bytes]:
    """Noise of a given root mean square, in packets of PCM16 at 8 kHz."""
    noise = np.random.default_rng(seed).normal(0, level, packets * PACKET)
    pcm = np.clip(noise, -32768, 32767).astype("<i2")
    return [pcm[i : i + PACKET].tobytes() for i in range(0, pcm.size, PACKET)]


def hear(speech: CallerSpeech, packets: list[bytes], start: float) -> list[tuple[Change, float]]:
    changes = []
    for index, packet in enumerate(packets, 1):
        change = speech.hear(packet, start + index * 0.02, 20)
        if change is not None:
            changes.append((change, round(start + index * 0.02, 2)))
    return changes


def test_a_stretch_of_speech_is_dated_by_its_sound() -> None:
    speech = CallerSpeech()
    sound = tone(50, 20) + tone(50, 3000) + tone(50, 20)
    assert hear(speech, sound, 0.0) == [(Change.STARTED, 1.06), (Change.STOPPED, 2.4)]
    assert [(round(s.start, 2), round(s.end, 2)) for s in speech.stretches] == [(1.0, 2.0)]


def test_a_short_pause_is_part_of_the_speech() -> None:
    speech = CallerSpeech()
    hear(speech, tone(9, 20) + tone(20, 3000) + tone(15, 20) + tone(20, 3000) + tone(30, 20), 0.0)
    assert len(speech.stretches) == 1


def test_a_click_is_no_speech() -> None:
    speech = CallerSpeech()
    assert hear(speech, tone(50, 20) + tone(2, 9000) + tone(50, 20), 0.0) == []


@pytest.mark.parametrize("noise", [10, 100, 400, 1000])
def test_a_noisy_line_is_not_a_speaking_caller_for_long(noise: float) -> None:
    speech = CallerSpeech()
    hear(speech, tone(500, noise), 0.0)
    assert not speech.speaking
    assert [c for c, _ in hear(speech, tone(50, max(noise * 8, 3000), 2), 10.0)] == [Change.STARTED]


def test_what_was_heard_since_a_moment() -> None:
    speech = CallerSpeech()
    pause = tone(30, 20)
    hear(speech, pause + tone(20, 3000) + pause + tone(20, 3000) + pause, 0.0)
    assert len(speech.stretches) == 2
    assert speech.since(1.1) == [speech.stretches[1]]
    assert speech.since(0.0) == list(speech.stretches)


def test_of_very_many_stretches_the_oldest_are_forgotten() -> None:
    speech = CallerSpeech()
    once = tone(30, 20) + tone(10, 3000)
    for number in range(MOST_STRETCHES + 5):
        hear(speech, once, number * 0.8)
    assert len(speech.stretches) == MOST_STRETCHES
    assert speech.started == speech.stretches[-1].start


def test_noise_from_the_first_packet_on_is_never_taken_for_speech() -> None:
    speech = CallerSpeech()
    assert hear(speech, tone(200, 700), 0.0) == []
