import audioop

import numpy as np
import pytest

from server.emulators.twilio import mulaw


@pytest.fixture
def speech() -> np.ndarray:
    at = np.arange(8_000) / mulaw.RATE
    return (np.sin(2 * np.pi * 440 * at) * 12_000).astype(np.int16)


def test_decodes_like_the_reference() -> None:
    codes = bytes(range(256))
    assert mulaw.decode(codes).astype("<i2").tobytes() == audioop.ulaw2lin(codes, 2)


def test_every_code_survives_the_round_trip() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)
    assert mulaw.encode(mulaw.decode(codes)) == codes


def test_noise_is_38_db_below_a_tone(speech: np.ndarray) -> None:
    back = mulaw.decode(mulaw.encode(speech)).astype(float)
    noise = back - speech
    assert 10 * np.log10((speech.astype(float) ** 2).mean() / (noise**2).mean()) > 36


def test_extremes_and_silence() -> None:
    samples = np.array([0, 32_767, -32_768], dtype=np.int16)
    assert mulaw.encode(samples) == bytes((mulaw.SILENCE, 0x80, 0x00))
