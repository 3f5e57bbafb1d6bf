"""The person at this computer on the emulated phone: its microphone and its loudspeaker.

    microphone ─ 8 kHz PCM16, 20 ms a block ─▶ phone line ─▶ agent
    loudspeaker ◀─ what waits to be played ◀─ phone line ◀─ agent

The sound card calls back in a thread of its own; the line lives in the event loop.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from server.emulators.twilio import Handset, Person
from server.emulators.twilio.mulaw import PACKET, RATE

# More than this between the two is dropped: clocks of sound cards are not that of the loop.
LARGEST_DELAY_SECS = 0.2
LOOK_SECS = 0.02
# Opens a sound card: it calls the first function with each block of the microphone, and the second
# one, with a number of bytes, for what is to be played; both in a thread of its own.
SoundCard = Callable[[Callable[[bytes], None], Callable[[int], bytes]], AbstractContextManager[Any]]


class NoMicrophone(Exception):
    """There is no microphone to speak into; the message says what is missing."""


def who_speaks(card: SoundCard | None = None) -> Person:
    """Whoever sits at this computer, until they, or the agent, hang up.

    Raises: NoMicrophone.
    """
    opened = card or _default_sound_card()

    async def talk(phone: Handset) -> None:
        loop, speaker = asyncio.get_running_loop(), _Waiting()

        def hear(block: bytes) -> None:
            loop.call_soon_threadsafe(phone.speak_live, block, LARGEST_DELAY_SECS)

        with opened(hear, speaker.take):
            while True:
                speaker.put(phone.newly_heard())
                await phone.pause(LOOK_SECS)

    return Person(talk)


class _Waiting:
    """PCM16 that waits for the loudspeaker; put by the loop, taken by the sound card's thread."""

    def __init__(self) -> None:
        self._pcm = bytearray()
        self._lock = threading.Lock()

    def put(self, pcm: bytes) -> None:
        with self._lock:
            self._pcm += pcm
            del self._pcm[: max(0, len(self._pcm) - int(2 * RATE * LARGEST_DELAY_SECS))]

    def take(self, size: int) -> bytes:
        """So many bytes; silence where there are none."""
        with self._lock:
            taken = bytes(self._pcm[:size])
            del self._pcm[:size]
        return taken.ljust(size, b"\x00")


def _default_sound_card() -> SoundCard:
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise NoMicrophone(
            "The microphone needs the package 'sounddevice'. Install it with: "
            "pip install 'voice-ai-system[microphone]'"
        ) from None
    except OSError:
        raise NoMicrophone(
            "The microphone needs the library PortAudio (on Debian: apt install libportaudio2)."
        ) from None
    try:
        sounddevice.check_input_settings(samplerate=RATE, channels=1, dtype="int16")
        sounddevice.check_output_settings(samplerate=RATE, channels=1, dtype="int16")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise NoMicrophone(f"No microphone and loudspeaker can be used: {error}") from None

    def open_card(
        hear: Callable[[bytes], None], play: Callable[[int], bytes]
    ) -> AbstractContextManager[Any]:
        def exchange(inward: Any, outward: Any, *_: object) -> None:
            hear(bytes(inward))
            outward[:] = play(len(outward))

        stream: AbstractContextManager[Any] = sounddevice.RawStream(
            samplerate=RATE, channels=1, dtype="int16", blocksize=PACKET, callback=exchange
        )
        return stream

    return open_card
