"""What is told of a sound that was made up: gain, delay and noise are known beforehand."""

import numpy as np
import pytest

from server.bench.audio_signals import (
    FULL_SCALE,
    HIGHEST_HZ,
    LOWEST_HZ,
    decibels,
    fit,
    power_beyond,
    sine,
    speech_like,
)


@pytest.mark.parametrize("late_ms", [0.0, 0.013, 1.979, 64.0, 500.0])
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_gain_and_delay_are_found_to_the_microsecond(rate: int, late_ms: float) -> None:
    heard = 0.5 * speech_like().sound(rate, 1.0, late_secs=late_ms / 1000)
    found = fit(heard, rate, speech_like())
    assert found.gain_db == pytest.approx(-6.02, abs=0.01)
    assert found.late_secs * 1000 == pytest.approx(late_ms, abs=0.001)
    assert found.snr_db > 80


@pytest.mark.parametrize("snr_db", [10.0, 37.0, 60.0])
def test_noise_is_what_is_no_part_of_the_original(snr_db: float) -> None:
    tones = speech_like()
    noise = np.random.default_rng(1).normal(0, np.sqrt(tones.power / 10 ** (snr_db / 10)), 8_000)
    found = fit(tones.sound(8_000, 1.0, late_secs=0.002) + noise, 8_000, tones)
    assert found.snr_db == pytest.approx(snr_db, abs=0.3)


def test_a_sound_that_is_not_there_has_no_signal() -> None:
    noise = np.random.default_rng(1).normal(0, 1000, 8_000)
    assert fit(noise, 8_000, sine(1_009)).snr_db < -20


def test_speech_fills_the_band_and_stays_below_full_scale() -> None:
    tones = speech_like()
    assert tones.hz.min() < LOWEST_HZ + 50
    assert tones.hz.max() > HIGHEST_HZ - 100
    assert np.abs(tones.sound(8_000, 1.0)).max() < FULL_SCALE
    assert (tones.sound(8_000, 1.0) ** 2).mean() == pytest.approx(tones.power, rel=0.001)


def test_what_is_above_a_frequency_is_counted_alone() -> None:
    heard = sine(5_000, -20).sound(16_000, 1.0) + sine(1_000, -10).sound(16_000, 1.0)
    assert power_beyond(heard, 4_000) == pytest.approx(sine(5_000, -20).power, rel=0.001)
    assert power_beyond(heard, 500) == pytest.approx(
        sine(5_000, -20).power + sine(1_000, -10).power, rel=0.001
    )


def test_nothing_at_all_is_a_number_too() -> None:
    assert decibels(0.0) == -200
    assert decibels(100.0) == 20
