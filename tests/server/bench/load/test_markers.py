"""Markers on a telephone's way: mu-law, and both resamplings of a call."""

import audioop
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.rates import GEMINI_HEARS_AT as MODEL_HEARS_AT
from pipelines.rates import GEMINI_SPEAKS_AT as MODEL_SPEAKS_AT
from pipelines.rates import PHONE_RATE
from processors.polyphase import Polyphase
from server.bench.load.markers import LOUD, MOST_CALLS, SEQUENCES, Ear, Heard, Marker, burst, read
from server.bench.load.sounds import speech

SPEECH_MS = 200

MARKERS = st.builds(Marker, st.integers(0, MOST_CALLS - 1), st.integers(0, SEQUENCES - 1))


def said(marker: Marker, rate: int, before_ms: int = SPEECH_MS) -> bytes:
    """A marker in the middle of speech."""
    sound = speech(rate)[: rate * 500 // 1000].copy()
    one = burst(marker, rate)
    start = rate * before_ms // 1000
    sound[start : start + len(one)] = one
    return sound.tobytes()


def packets(sound: bytes, rate: int, ms: int) -> Iterable[bytes]:
    size = rate * ms // 1000 * 2
    return (sound[at : at + size] for at in range(0, len(sound), size))


def through_phone(pcm: bytes) -> bytes:
    return audioop.ulaw2lin(audioop.lin2ulaw(pcm, 2), 2)


def listen(ear: Ear, sounds: Iterable[bytes]) -> list[Heard]:
    """What an ear makes of packets that come at moments 0, 1, 2…"""
    heard = (ear.hear(sound, float(at)) for at, sound in enumerate(sounds))
    return [one for one in heard if one is not None]


@settings(deadline=None)
@given(MARKERS)
def test_a_callers_marker_reaches_the_model(marker: Marker) -> None:
    up = Polyphase(PHONE_RATE, MODEL_HEARS_AT)
    sounds = (
        up.convert(through_phone(one)) for one in packets(said(marker, PHONE_RATE), PHONE_RATE, 20)
    )
    (heard,) = listen(Ear(MODEL_HEARS_AT), sounds)
    assert heard.marker == marker
    # The 2 ms of the filter, and half a millisecond until a burst is at its loudest.
    assert heard.onset * 1000 / MODEL_HEARS_AT == pytest.approx(SPEECH_MS + 2.5, abs=0.5)
    assert heard.at == SPEECH_MS / 20


@settings(deadline=None)
@given(MARKERS)
def test_a_models_marker_reaches_the_phone(marker: Marker) -> None:
    down = Polyphase(MODEL_SPEAKS_AT, PHONE_RATE)
    chunks = packets(said(marker, MODEL_SPEAKS_AT), MODEL_SPEAKS_AT, 40)
    (heard,) = listen(Ear(PHONE_RATE), (through_phone(down.convert(one)) for one in chunks))
    assert heard.marker == marker
    assert heard.onset * 1000 / PHONE_RATE == pytest.approx(SPEECH_MS + 2.5, abs=0.5)
    assert heard.at == SPEECH_MS / 40


@settings(max_examples=30, deadline=None)
@given(MARKERS, st.integers(1, 700), st.integers(SPEECH_MS, SPEECH_MS + 40))
def test_a_marker_is_heard_however_its_sound_is_cut(marker: Marker, size: int, at_ms: int) -> None:
    sound = said(marker, PHONE_RATE, at_ms)
    cuts = (sound[at : at + 2 * size] for at in range(0, len(sound), 2 * size))
    (heard,) = listen(Ear(PHONE_RATE), cuts)
    assert heard.marker == marker
    # The packet that holds the middle of the burst, whichever completes it.
    middle = heard.onset + PHONE_RATE // 100
    assert heard.at == middle // size


def test_speech_is_no_marker() -> None:
    for rate in (PHONE_RATE, MODEL_SPEAKS_AT):
        assert np.abs(speech(rate)).max() < LOUD / 1.5
        assert listen(Ear(rate), packets(speech(rate).tobytes(), rate, 20)) == []


def test_two_markers_over_each_other_are_none() -> None:
    both = burst(Marker(5, 1), PHONE_RATE) // 2 + burst(Marker(700, 2), PHONE_RATE) // 2
    assert read(both[:128]) is None


def test_a_burst_with_a_hole_is_not_taken_for_another() -> None:
    marker = Marker(123, 4)
    sound = burst(marker, PHONE_RATE)
    for start in range(0, 96, 8):
        torn = sound.copy()
        torn[start : start + 32] = 0
        assert read(torn[:128]) in (None, marker)


def test_an_ear_counts_every_sample() -> None:
    ear = Ear(PHONE_RATE)
    sound = said(Marker(1, 1), PHONE_RATE)
    listen(ear, packets(sound, PHONE_RATE, 20))
    assert ear.samples == len(sound) // 2
