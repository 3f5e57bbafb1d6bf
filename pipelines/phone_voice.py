"""The agent's voice for the phone: PCM16 at 24 kHz becomes mu-law at 8 kHz.

What many calls say from its beginning is converted once, by the first of them:

    SharedSound ◀─ before ─ SharedSound ◀─ before ─ SharedSound        PCM16, 400 ms each
         └ at_phone              └ at_phone              └ at_phone, tail     mu-law
"""

import audioop
from typing import Self

from pipelines.rates import GEMINI_SPEAKS_AT, PHONE_RATE
from processors.polyphase import Polyphase

# 400 ms of speech, which take half a millisecond to convert.
SHARED_CHUNK_BYTES = GEMINI_SPEAKS_AT // 10 * 4 * 2


class SharedSound(bytes):
    """A chunk of speech (PCM16, 24 kHz) that calls share, and what the phone gets of it (mu-law).

    `before` is the one that it follows; None: it is what is said first. It is bytes, and a step
    that makes other sound of it makes plain bytes.
    """

    before: Self | None = None
    at_phone: bytes | None = None
    # What the converter holds back when this is the last.
    tail: bytes | None = None


def shareable_chunks(pcm: bytes) -> tuple[SharedSound, ...]:
    """Speech (PCM16, 24 kHz) cut into chunks that calls may share."""
    chunks: list[SharedSound] = []
    for start in range(0, len(pcm), SHARED_CHUNK_BYTES):
        chunk = SharedSound(pcm[start : start + SHARED_CHUNK_BYTES])
        chunk.before = chunks[-1] if chunks else None
        chunks.append(chunk)
    return tuple(chunks)


class PhoneVoice:
    """Converts one call's speech, reply by reply; of each, `flush` gives the last 2 ms."""

    def __init__(self) -> None:
        self._resampler = Polyphase(GEMINI_SPEAKS_AT, PHONE_RATE)
        # The last shared chunk of a reply that has nothing else so far.
        self._shared: SharedSound | None = None
        self._has_other_sound = False
        # The resampler has not seen the shared chunks.
        self._is_behind = False

    def convert(self, pcm: bytes) -> bytes:
        """PCM16 at 24 kHz in, mu-law at 8 kHz out."""
        if (
            self._has_other_sound
            or not isinstance(pcm, SharedSound)
            or pcm.before is not self._shared
        ):
            self._catch_up()
            self._shared, self._has_other_sound = None, True
            return self._converted(pcm)
        if pcm.at_phone is None:
            self._catch_up()
            pcm.at_phone = self._converted(pcm)
        else:
            self._is_behind = True
        self._shared = pcm
        return pcm.at_phone

    def flush(self) -> bytes:
        """What is held back of a reply that is over, as mu-law; then as new."""
        last = self._shared
        tail = None if last is None else last.tail
        if tail is None:
            self._catch_up()
            tail = audioop.lin2ulaw(self._resampler.flush(), 2)
            if last is not None:
                last.tail = tail
        self.reset()
        return tail

    def reset(self) -> None:
        """Forget the reply; what follows is unrelated to it."""
        self._resampler.reset()
        self._shared = None
        self._has_other_sound = self._is_behind = False

    def _converted(self, pcm: bytes) -> bytes:
        return audioop.lin2ulaw(self._resampler.convert(pcm), 2)

    def _catch_up(self) -> None:
        """Have the resampler where it would be, had it converted the shared chunks."""
        if not self._is_behind:
            return
        self._is_behind = False
        self._resampler.reset()
        last = self._shared
        # All but the last are longer than what the resampler keeps.
        for chunk in (last.before if last else None, last):
            if chunk is not None:
                self._resampler.convert(chunk)
