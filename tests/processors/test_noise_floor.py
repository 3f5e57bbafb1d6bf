"""The noise of a line, learnt from its packets: levels, steps, offsets, hum, and words over it."""

import audioop
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.comfort_noise import comfort_noise
from processors.noise_floor import PIECE_MS, PIECES, NoiseFloor, sound_level

PACKET = 160
FULL_SCALE = 32_768
# Packets after which nothing older counts.
ALL_NEW = round(PIECES * PIECE_MS / 20) + 1

levels_dbfs = st.floats(-80, -20)
seeds = st.integers(0, 2**16)


def units(dbfs: float) -> float:
    return FULL_SCALE * 10 ** (dbfs / 20)


def noise(level: float, packets: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, level, packets * PACKET)


def hum(level: float, packets: int) -> np.ndarray:
    moments = np.arange(packets * PACKET) / 8000
    return level * math.sqrt(2) * np.sin(2 * np.pi * 50 * moments)


def hear(floor: NoiseFloor, samples: np.ndarray) -> None:
    pcm = np.clip(np.rint(samples), -32_768, 32_767).astype("<i2").tobytes()
    for start in range(0, len(pcm), 2 * PACKET):
        floor.hear(sound_level(pcm[start : start + 2 * PACKET]), 20)


def near(level: float) -> object:
    """Within 1 dB, or a step of the sample."""
    return pytest.approx(level, rel=0.12, abs=1.5)


@given(levels_dbfs, st.integers(10, 100), seeds)
def test_steady_noise_is_known_after_200_ms(dbfs: float, packets: int, seed: int) -> None:
    floor = NoiseFloor()
    hear(floor, noise(units(dbfs), packets, seed))
    assert floor.level == near(units(dbfs))


@given(levels_dbfs, levels_dbfs, seeds)
def test_it_follows_a_step_down_at_once_and_a_step_up_when_nothing_was_quieter(
    before: float, after: float, seed: int
) -> None:
    floor = NoiseFloor()
    hear(floor, noise(units(before), 50, seed))
    if after > before + 6:
        hear(floor, noise(units(after), 50, seed + 1))
        assert floor.level == near(units(before)), "it may be a word"
        hear(floor, noise(units(after), ALL_NEW - 30, seed + 2))
    else:
        hear(floor, noise(units(after), 30 if after < before - 6 else ALL_NEW, seed + 1))
    assert floor.level == near(units(after))


@given(levels_dbfs, st.floats(-20_000, 20_000), seeds)
def test_an_offset_is_no_sound(dbfs: float, offset: float, seed: int) -> None:
    floor = NoiseFloor()
    hear(floor, noise(units(dbfs), 50, seed) + offset)
    assert floor.level == pytest.approx(units(dbfs), rel=0.16, abs=1.5)


@given(st.floats(-80, -20))
def test_hum_of_the_mains_is_a_noise(dbfs: float) -> None:
    floor = NoiseFloor()
    hear(floor, hum(units(dbfs), 50))
    assert floor.level == near(units(dbfs))


@given(st.floats(-80, -35), st.integers(1, 60), st.integers(0, 40), seeds)
def test_a_word_does_not_raise_it(dbfs: float, packets: int, at: int, seed: int) -> None:
    floor = NoiseFloor()
    line = noise(units(dbfs), 120, seed)
    word = slice(at * PACKET, (at + packets) * PACKET)
    line[word] += noise(units(-15), packets, seed + 1)
    hear(floor, line[: word.stop])
    if at >= 10:
        assert floor.level == near(units(dbfs))
    hear(floor, line[word.stop :][: 20 * PACKET])
    assert floor.level == near(units(dbfs))


def test_digital_silence_is_silence_until_it_is_long_over() -> None:
    floor = NoiseFloor()
    hear(floor, np.zeros(10 * PACKET))
    hear(floor, noise(400, 60, 1))
    assert floor.level == 0
    hear(floor, noise(400, ALL_NEW - 40, 2))
    assert floor.level == near(400)


@given(levels_dbfs, st.integers(1, 40_000))
def test_comfort_noise_is_as_long_and_as_loud_as_asked(dbfs: float, samples: int) -> None:
    pcm = comfort_noise(units(dbfs), samples)
    assert len(pcm) == 2 * samples
    if samples >= 8000:
        assert audioop.rms(pcm, 2) == near(units(dbfs))


def test_comfort_noise_of_no_level_is_silence_and_no_packet_comes_twice() -> None:
    assert comfort_noise(0.0, PACKET) == bytes(2 * PACKET)
    assert len({comfort_noise(300.0, PACKET) for _ in range(100)}) == 100
