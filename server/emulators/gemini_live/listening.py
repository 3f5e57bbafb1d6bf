"""The caller's audio: from what arrives, to what was said."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import soxr

from server.emulators.ears import Ears
from server.emulators.gemini_live.proto_json import InvalidMessage
from server.emulators.gemini_live.voice_activity import (
    HEARS_AT,
    Change,
    Detection,
    VoiceActivity,
)

_PCM = re.compile(r"audio/(?:pcm|l16)(?:\s*;\s*rate=(\d+))?", re.IGNORECASE)


class Listening:
    """Detects speech in one session's audio, and hears which sentence it was.

    `started()` is called when speech begins, `ended()` when it is over, and `heard(sentence, secs)`
    when it is known what it was: None is speech that was not recognised. Speech that goes on before
    that is one utterance. `one_at_a_time` keeps the sessions from recognising at the same moment.
    """

    def __init__(
        self,
        detection: Detection,
        ears: Callable[[], Ears],
        *,
        one_at_a_time: asyncio.Lock,
        started: Callable[[], Awaitable[None]],
        ended: Callable[[], None],
        heard: Callable[[str | None, float], Awaitable[None]],
        failed: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self._detection = detection
        self._ears = ears
        self._one_at_a_time = one_at_a_time
        self._started = started
        self._ended = ended
        self._heard = heard
        self._failed = failed
        self._activity = VoiceActivity(detection)
        self._hearing: asyncio.Task[None] | None = None
        self._resampler: tuple[int, soxr.ResampleStream] | None = None

    async def take(self, blob: dict[str, Any]) -> bytes:
        """Hear a blob of audio; gives it back as PCM16 at 16 kHz.

        Raises: InvalidMessage when it is not PCM16.
        """
        mime_type = blob.get("mimeType", "").strip()
        match = _PCM.fullmatch(mime_type)
        if match is None:
            raise InvalidMessage(f"Unsupported MIME type for audio: {mime_type!r}")
        pcm: bytes = blob.get("data", b"")
        if len(pcm) % 2:
            raise InvalidMessage("PCM of 16 bits has an even number of bytes")
        pcm = self._at_16_khz(pcm, int(match.group(1) or HEARS_AT))
        for change in self._activity.feed(pcm):
            if change is Change.STARTED:
                await self._start()
            else:
                self._end()
        return pcm

    async def activity_start(self) -> None:
        """The client says that speech starts.

        Raises: InvalidMessage when the emulator detects it by itself.
        """
        self._refuse_unless_disabled()
        self._activity.start()
        await self._start()

    def activity_end(self) -> None:
        """The client says that speech ended.

        Raises: InvalidMessage when the emulator detects it by itself.
        """
        self._refuse_unless_disabled()
        self._end_now()

    def stream_end(self) -> None:
        """No audio comes for a while: who speaks has ended."""
        if not self._detection.disabled:
            self._end_now()

    def close(self) -> None:
        """Stop listening."""
        if self._hearing is not None:
            self._hearing.cancel()

    def _refuse_unless_disabled(self) -> None:
        if not self._detection.disabled:
            raise InvalidMessage(
                "Explicit activity control is not supported when automatic activity detection is "
                "enabled."
            )

    def _end_now(self) -> None:
        if self._activity.speaking:
            self._activity.end()
            self._end()

    async def _start(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
        await self._started()

    def _end(self) -> None:
        self._ended()
        self._hearing = asyncio.create_task(self._hear(self._activity.take_utterance()))

    async def _hear(self, utterance: bytes) -> None:
        try:
            async with self._one_at_a_time:
                sentence = await self._ears().listen(utterance, HEARS_AT)
        except asyncio.CancelledError:
            self._activity.give_back(utterance)
            raise
        except Exception as problem:
            await self._failed(problem)
            return
        # What was recognised is answered, even when the caller speaks again meanwhile.
        self._hearing = None
        await self._heard(sentence, len(utterance) / 2 / HEARS_AT)

    def _at_16_khz(self, pcm: bytes, rate: int) -> bytes:
        if rate == HEARS_AT:
            return pcm
        if self._resampler is None or self._resampler[0] != rate:
            try:
                stream = soxr.ResampleStream(rate, HEARS_AT, 1, dtype="int16", quality="QQ")
            except (ValueError, RuntimeError):
                raise InvalidMessage(f"Unsupported sample rate: {rate}") from None
            self._resampler = rate, stream
        resampled = self._resampler[1].resample_chunk(np.frombuffer(pcm, dtype="<i2"))
        return bytes(resampled.tobytes())
