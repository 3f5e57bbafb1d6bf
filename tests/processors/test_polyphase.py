"""The live resampler: nothing lost, nothing held back, and it sounds right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.polyphase import Polyphase

SPEECH_HZ = (317.0, 641.0, 1201.0, 1873.0, 2511.0, 3103.0, 3391.0)


def tones(rate: int, count: int, delay_secs: float = 0.0) -> np.ndarray:
    """Tones over the telephone's band, and how they sound `delay_secs` later."""
    moments = np.arange(count) / rate - delay_secs
    return sum((1800 * np.sin(2 * np.pi * hz * moments + hz) for hz in SPEECH_HZ), np.zeros(count))


def convert(resampler: Polyphase, pcm: bytes, packet: int) -> np.ndarray:
    out = [resampler.convert(pcm[i : i + packet]) for i in range(0, len(pcm), packet)]
    return np.frombuffer(b"".join([*out, resampler.flush()]), "<i2").astype(float)


def snr_and_gain_db(
    heard: np.ndarray, rate: int, taps: int, filter_rate: int
) -> tuple[float, float]:
    ideal = tones(rate, heard.size, (taps - 1) / 2 / filter_rate)[800:-800]
    heard = heard[800:-800]
    gain = (ideal @ heard) / (ideal @ ideal)
    error = heard - gain * ideal
    noise = error @ error
    return 10 * np.log10(gain**2 * (ideal @ ideal) / noise), 20 * np.log10(gain)


def test_up_to_the_models_rate_it_sounds_as_it_was() -> None:
    pcm = tones(8000, 16000).astype("<i2").tobytes()
    snr, gain = snr_and_gain_db(convert(Polyphase(8000, 16000), pcm, 320), 16000, 64, 16000)
    assert snr > 60
    assert abs(gain) < 0.1


def test_down_to_the_phones_rate_it_sounds_as_it_was() -> None:
    pcm = tones(24000, 48000).astype("<i2").tobytes()
    snr, gain = snr_and_gain_db(convert(Polyphase(24000, 8000), pcm, 1920), 8000, 96, 24000)
    assert snr > 60
    assert abs(gain) < 0.1


@pytest.mark.parametrize("hz", [5000, 6000, 9000, 11000])
def test_what_the_phone_cannot_carry_does_not_fold_back(hz: int) -> None:
    loud = 20000 * np.sin(2 * np.pi * hz * np.arange(24000) / 24000)
    left = convert(Polyphase(24000, 8000), loud.astype("<i2").tobytes(), 1920)[100:-100]
    ratio = np.sqrt((left**2).mean()) / (20000 / np.sqrt(2))
    assert 20 * np.log10(ratio + 1e-9) < -60


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8000, 16000), (24000, 8000), (8000, 8000)])
def test_each_packet_gives_its_whole_length_at_once(from_rate: int, to_rate: int) -> None:
    resampler = Polyphase(from_rate, to_rate)
    packet = bytes(from_rate // 50 * 2)
    assert {len(resampler.convert(packet)) for _ in range(20)} == {to_rate // 50 * 2}


def test_the_tail_is_there_after_a_flush_and_two_milliseconds_long() -> None:
    resampler = Polyphase(24000, 8000)
    click = np.zeros(960, dtype="<i2")
    click[-1] = 30000
    before, tail = resampler.convert(click.tobytes()), resampler.flush()
    assert len(tail) == 2 * 16
    assert max(abs(np.frombuffer(before, "<i2").astype(int))) < 1000
    assert max(abs(np.frombuffer(tail, "<i2").astype(int))) > 3000
    assert not any(resampler.convert(bytes(960)))


@given(
    st.sampled_from([(8000, 16000), (24000, 8000), (16000, 8000), (8000, 24000)]),
    st.lists(st.integers(0, 700), min_size=1, max_size=12),
)
def test_the_length_of_packets_makes_no_difference(
    rates: tuple[int, int], lengths: list[int]
) -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, sum(lengths)).astype("<i2").tobytes()
    whole = Polyphase(*rates).convert(noise)
    resampler, position, pieces = Polyphase(*rates), 0, []
    for length in lengths:
        pieces.append(resampler.convert(noise[position : position + 2 * length]))
        position += 2 * length
    a, b = (np.frombuffer(x, "<i2").astype(int) for x in (whole, b"".join(pieces)))
    assert a.size == b.size
    assert a.size == 0 or max(abs(a - b)) <= 1  # rounding of float32 sums


def test_loud_sound_is_clipped_not_wrapped() -> None:
    square = np.where(np.arange(4800) // 48 % 2, 32767, -32768).astype("<i2")
    out = np.frombuffer(Polyphase(24000, 8000).convert(square.tobytes()), "<i2")
    assert out.max() == 32767
    assert out.min() == -32768


def test_rates_that_are_no_multiples_are_refused() -> None:
    with pytest.raises(ValueError, match="not multiples"):
        Polyphase(8000, 12000)
