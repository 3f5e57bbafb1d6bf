"""The agent's voice for the phone is what the resampler gives, as mu-law."""

import audioop

import numpy as np

from pipelines.phone.phone_voice import PhoneVoice
from processors.polyphase import Polyphase


def noise(seed: int, byte_count: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, byte_count, np.uint8).tobytes()


def said(voice: PhoneVoice, *chunks: bytes) -> bytes:
    return b"".join([*map(voice.convert, chunks), voice.flush()])


def test_a_reply_is_converted_whole_whatever_was_said_before_it() -> None:
    first, second = noise(1, 9_601), noise(2, 1_920)
    resampler = Polyphase(24_000, 8_000)
    whole = resampler.convert(first) + resampler.convert(second) + resampler.flush()
    voice = PhoneVoice()
    assert said(voice, first, second) == audioop.lin2ulaw(whole, 2)
    assert said(voice, first, second) == audioop.lin2ulaw(whole, 2)
    voice.convert(noise(3, 4_000))
    voice.reset()
    assert said(voice, first, second) == audioop.lin2ulaw(whole, 2)
