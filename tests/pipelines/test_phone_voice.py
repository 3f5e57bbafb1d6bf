"""The agent's voice for the phone: shared or not, it sounds as the resampler alone has it."""

import audioop

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from pipelines.phone_voice import SHARED_CHUNK_BYTES, PhoneVoice, SharedSound, shareable_chunks
from processors.polyphase import Polyphase


def noise(seed: int, byte_count: int) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, byte_count, np.uint8).tobytes()


# The last chunk of one greeting is shorter than the filter, of the other an odd byte too long.
LENGTHS = (2 * SHARED_CHUNK_BYTES + 20, SHARED_CHUNK_BYTES + 9_601)


class OneCallAfterAnother(RuleBasedStateMachine):
    """Calls say shared and other sound in any order; each is compared with a resampler."""

    def __init__(self) -> None:
        super().__init__()
        self.greetings = [shareable_chunks(noise(n, size)) for n, size in enumerate(LENGTHS)]
        self.begin()

    @rule()
    def begin(self) -> None:
        """A new call comes."""
        self.voice, self.resampler = PhoneVoice(), Polyphase(24_000, 8_000)
        self.at: tuple[int, int] = (0, 0)

    @rule(greeting=st.integers(0, 1))
    def greet(self, greeting: int) -> None:
        """It says the first chunk of a greeting."""
        self.at = (greeting, 0)
        self.go_on()

    @rule()
    def go_on(self) -> None:
        """It says the next chunk of the greeting that it said last, whatever was between."""
        greeting, number = self.at
        chunk = self.greetings[greeting][number % len(self.greetings[greeting])]
        self.at = (greeting, number + 1)
        self.say(chunk)

    @rule(size=st.integers(0, 4_000), seed=st.integers(0, 9))
    def say_something_else(self, size: int, seed: int) -> None:
        self.say(noise(seed, size))

    def say(self, pcm: bytes) -> None:
        assert self.voice.convert(pcm) == audioop.lin2ulaw(self.resampler.convert(pcm), 2)

    @rule()
    def end_the_reply(self) -> None:
        assert self.voice.flush() == audioop.lin2ulaw(self.resampler.flush(), 2)

    @rule()
    def be_interrupted(self) -> None:
        self.voice.reset()
        self.resampler.reset()

    def teardown(self) -> None:
        self.end_the_reply()


TestOneCallAfterAnother = OneCallAfterAnother.TestCase
TestOneCallAfterAnother.settings = settings(stateful_step_count=25)


def test_what_calls_share_is_converted_by_the_first_of_them_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    greeting = shareable_chunks(noise(1, 3 * SHARED_CHUNK_BYTES))
    converted: list[int] = []
    really = Polyphase.convert

    def convert(resampler: Polyphase, pcm: bytes) -> bytes:
        converted.append(len(pcm))
        return really(resampler, pcm)

    monkeypatch.setattr(Polyphase, "convert", convert)
    heard = []
    for _ in range(3):
        voice = PhoneVoice()
        heard.append(b"".join([*map(voice.convert, greeting), voice.flush()]))
    assert converted == [SHARED_CHUNK_BYTES] * 3
    assert heard[0] == heard[1] == heard[2]


def test_shared_sound_is_the_sound_itself() -> None:
    pcm = noise(2, 2 * SHARED_CHUNK_BYTES + 7)
    assert b"".join(shareable_chunks(pcm)) == pcm
    assert shareable_chunks(b"") == ()
    assert type(SharedSound(pcm)[:100]) is bytes, "what is cut out of it is nobody's"
