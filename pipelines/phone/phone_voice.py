"""The agent's voice for the phone: PCM16 at 24 kHz becomes mu-law at 8 kHz."""

import audioop

from pipelines.rates import GEMINI_SPEAKS_AT, PHONE_RATE
from processors.polyphase import Polyphase


class PhoneVoice:
    """Converts one call's speech, reply by reply; of each, `flush` gives the last 2 ms."""

    def __init__(self) -> None:
        self._resampler = Polyphase(GEMINI_SPEAKS_AT, PHONE_RATE)

    def convert(self, pcm: bytes) -> bytes:
        """PCM16 at 24 kHz in, mu-law at 8 kHz out."""
        return audioop.lin2ulaw(self._resampler.convert(pcm), 2)

    def flush(self) -> bytes:
        """What is held back of a reply that is over, as mu-law; then as new."""
        return audioop.lin2ulaw(self._resampler.flush(), 2)

    def reset(self) -> None:
        """Forget the reply; what follows is unrelated to it."""
        self._resampler.reset()
