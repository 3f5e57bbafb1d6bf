"""Speech of any rate is played at the pace and pitch it was spoken with."""

import numpy as np
import pytest

from pipelines.gemini.speech_format import SpeechResampler, pcm_rate
from tests.pipelines.tone import pcm_tone


@pytest.mark.parametrize(
    ("mime_type", "rate"),
    [
        ("audio/pcm;rate=24000", 24_000),
        ("audio/pcm", 24_000),
        ("audio/pcm;", 24_000),
        (None, 24_000),
        ("", 24_000),
        ("audio/pcm;rate=16000", 16_000),
        ("audio/pcm; rate=16000", 16_000),
        ("Audio/PCM; Rate = 16000", 16_000),
        ('audio/pcm;rate="8000"', 8_000),
        ("audio/pcm;channels=1;rate=48000", 48_000),
        ("audio/L16;codec=pcm;rate=22050", 22_050),
        ("audio/pcm;rate=16000;channels=2", None),
        ("audio/pcm;rate=", None),
        ("audio/pcm;rate=0", None),
        ("audio/pcm;rate=-16000", None),
        ("audio/pcm;rate=16000.5", None),
        ("audio/pcm;rate=fast", None),
        ("audio/pcm;rate=\u00b2\u00b24000", None),
        ("audio/pcm;rate=1", None),
        ("audio/pcm;rate=99999999999999999999", None),
        ("audio/pcmu;rate=8000", None),
        ("audio/opus", None),
        ("audio/mp3", None),
        ("image/png", None),
        ("text/plain;rate=24000", None),
    ],
)
def test_a_rate_is_read_from_the_mime_type(mime_type: str | None, rate: int | None) -> None:
    assert pcm_rate(mime_type) == rate


def pieces(pcm: bytes, size: int) -> list[bytes]:
    return [pcm[start : start + size] for start in range(0, len(pcm), size)]


def loudest_hz(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, dtype="<i2").astype(float)
    spectrum = abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum) * 24_000 / samples.size)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_another_rate_becomes_ours_whole(rate: int) -> None:
    speech = pcm_tone(1.0, rate)
    resampler = SpeechResampler()
    converted = b"".join(resampler.convert(piece, rate) for piece in pieces(speech, 1280))
    converted += resampler.flush()
    assert len(converted) == pytest.approx(48_000, abs=8)
    hz = loudest_hz(pcm_tone(1.0, 24_000))
    assert loudest_hz(converted) == pytest.approx(hz, abs=2)
    assert resampler.flush() == b""


def test_our_rate_passes_as_it_is() -> None:
    resampler = SpeechResampler()
    speech = bytes(range(256)) + b"!"
    assert resampler.convert(speech, 24_000) is speech
    assert resampler.flush() == b""


def test_where_the_rate_changes_nothing_is_lost() -> None:
    slow, fast = pcm_tone(0.5, 16_000), pcm_tone(0.5, 24_000)
    resampler = SpeechResampler()
    heard = resampler.convert(slow, 16_000) + resampler.convert(fast, 24_000)
    heard += resampler.convert(slow, 16_000) + resampler.flush()
    assert len(heard) == pytest.approx(1.5 * 48_000, abs=16)
    assert fast in heard


def test_what_was_interrupted_is_dropped() -> None:
    resampler = SpeechResampler()
    resampler.convert(pcm_tone(0.5, 16_000), 16_000)
    resampler.reset()
    assert resampler.flush() == b""


def test_half_a_sample_is_left_out() -> None:
    resampler = SpeechResampler()
    heard = resampler.convert(bytes(3201), 16_000) + resampler.flush()
    assert len(heard) == pytest.approx(4800, abs=4)
