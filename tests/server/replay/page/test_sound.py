"""The WAV of a page, and its waveform."""

import re
import struct
from base64 import b64decode

import numpy as np
import pytest

from server.emulators.twilio.mulaw import RATE, decode
from server.replay.page.sound import (
    HALF_HEIGHT,
    buckets_for,
    data_uri,
    embedded_bytes,
    gain,
    peaks,
    secs_of,
    stereo_wav,
    waveform,
)
from server.replay.results import Sound


def pcm(*samples: int, times: int = 1) -> bytes:
    return np.array(samples * times, dtype="<i2").tobytes()


def test_a_wav_holds_the_caller_left_and_the_agent_right() -> None:
    wav = stereo_wav(Sound(caller=pcm(8_000, times=100), agent=pcm(-500, times=40)))
    assert wav[:4] == b"RIFF"
    assert wav[8:12] == b"WAVE"
    assert struct.unpack_from("<I", wav, 4)[0] == len(wav) - 8
    form, channels, rate, per_second, block, bits = struct.unpack_from("<HHIIHH", wav, 20)
    assert (form, channels, rate, per_second, block, bits) == (7, 2, RATE, 2 * RATE, 2, 8)
    start = wav.index(b"data") + 8
    assert struct.unpack_from("<I", wav, start - 4)[0] == len(wav) - start == 200
    frames = decode(wav[start:]).reshape(-1, 2)
    assert frames[:, 0] == pytest.approx(np.full(100, 8_000), abs=150)
    assert frames[:40, 1] == pytest.approx(np.full(40, -500), abs=20)
    assert not frames[40:, 1].any()


def test_the_address_is_the_wav_and_as_long_as_it_was_said_to_be() -> None:
    sound = Sound(pcm(1, times=4_000), pcm(2, times=4_000))
    kind, _, encoded = data_uri(sound).partition(",")
    assert kind == "data:audio/wav;base64"
    assert b64decode(encoded) == stereo_wav(sound)
    assert embedded_bytes(sound) == pytest.approx(len(encoded), abs=120)


def test_peaks_are_the_lowest_and_highest_of_each_bucket() -> None:
    samples = pcm(0, times=400) + pcm(16_384, -8_192, times=100) + pcm(0, times=200)
    found = peaks(samples, 4, 800 / RATE)
    assert found.tolist() == [[0, 0], [0, 0], [-25, 50], [0, 0]]


def test_peaks_of_a_side_that_ends_early_are_silent_behind_it() -> None:
    found = peaks(pcm(16_384, times=400), 4, 1_600 / RATE)
    assert found[:, 1].tolist() == [50, 0, 0, 0]


def test_no_sound_has_no_peaks_and_no_shape() -> None:
    assert not peaks(b"", 10, 1.0).any()
    assert waveform(b"", 10, 1.0) == ""
    assert waveform(pcm(0, times=8_000), 10, 1.0) == ""
    assert secs_of(Sound()) == 0
    assert gain(Sound()) == 1.0


def test_a_waveform_has_a_shape_for_each_stretch_that_is_heard() -> None:
    loud, silent = pcm(16_384, -16_384, times=400), pcm(0, times=800)
    path = waveform(loud + silent + loud + silent, 8, 0.4)
    assert re.findall(r"M(\d+) 0", path) == ["0", "4"]
    heights = [int(y) for y in re.findall(r"L[\d.]+ (-?\d+)", path)]
    assert (min(heights), max(heights)) == (-50, 50)


def test_the_louder_side_fills_its_lane_and_whispers_are_not_blown_up() -> None:
    assert gain(Sound(pcm(16_384), pcm(100))) == pytest.approx(2)
    assert gain(Sound(pcm(-32_768), b"")) == pytest.approx(1)
    assert gain(Sound(pcm(40), pcm(40))) == 4
    assert np.abs(peaks(pcm(-32_768, 32_767), 1, 2 / RATE)).max() == HALF_HEIGHT


@pytest.mark.parametrize(("secs", "buckets"), [(1, 200), (30, 1_200), (300, 3_000)])
def test_longer_calls_have_more_buckets_up_to_a_bound(secs: float, buckets: int) -> None:
    assert buckets_for(secs) == buckets
