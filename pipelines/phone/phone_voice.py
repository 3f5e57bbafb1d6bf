"""PhoneVoice: converts the agent's speech from PCM16 at 24 kHz to mu-law at 8 kHz."""

import audioop

from pipelines.rates import GEMINI_SPEAKS_AT, PHONE_RATE
from processors.polyphase import Polyphase


class PhoneVoice:
    """Converts one call's speech; at the end of each reply, `flush` returns its last 2 ms."""

    def __init__(self) -> None:
        self._resampler = Polyphase(GEMINI_SPEAKS_AT, PHONE_RATE)

    def convert(self, pcm: bytes) -> bytes:
        """PCM16 at 24 kHz in, mu-law at 8 kHz out."""
        return audioop.lin2ulaw(self._resampler.convert(pcm), 2)

    def flush(self) -> bytes:
        """The rest of a reply that is over, as mu-law; then reset."""
        return audioop.lin2ulaw(self._resampler.flush(), 2)

    def reset(self) -> None:
        """Drop the rest of the reply, for unrelated speech to follow."""
        self._resampler.reset()
