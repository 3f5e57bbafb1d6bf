"""What can be said of 8 kHz sound: where it begins, where somebody speaks, and a WAV of it."""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from server.emulators.twilio.mulaw import PACKET, RATE

# A peak above this is a sound somebody makes: -30 dBFS, well above a line's noise.
AUDIBLE = 1_000


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of time, seconds from the answer."""

    start_secs: float
    end_secs: float


def is_audible(samples: NDArray[np.int16]) -> bool:
    """Whether there is a sound in it."""
    return bool(samples.size) and (int(samples.max()) > AUDIBLE or int(samples.min()) < -AUDIBLE)


def first_sound(samples: NDArray[np.int16]) -> int | None:
    """The first audible sample; None when all is silence."""
    audible = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
    return int(audible[0]) if audible.size else None


def spans(samples: NDArray[np.int16], *, pause_secs: float = 0.3) -> list[Span]:
    """Where there is sound, to 20 ms; pauses shorter than `pause_secs` belong to it."""
    packets = len(samples) // PACKET
    framed = np.abs(samples[: packets * PACKET].astype(np.int32)).reshape(packets, PACKET)
    loud = np.flatnonzero(framed.max(axis=1) > AUDIBLE) if packets else np.array([], dtype=int)
    found: list[list[int]] = []
    for packet in loud.tolist():
        if found and (packet - found[-1][1]) * PACKET < pause_secs * RATE:
            found[-1][1] = packet + 1
        else:
            found.append([packet, packet + 1])
    return [Span(start * PACKET / RATE, end * PACKET / RATE) for start, end in found]


def at_line_rate(pcm: bytes, rate: int) -> NDArray[np.int16]:
    """PCM16 mono at `rate` Hz as samples at 8 kHz."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.int16)
    if rate == RATE:
        return samples
    resampled = soxr.resample(samples.astype(np.float32), rate, RATE, quality="HQ")
    clipped: NDArray[np.int16] = np.clip(resampled, -32_768, 32_767).astype(np.int16)
    return clipped


def tone(hertz: float, secs: float) -> NDArray[np.int16]:
    """A sine at -9 dBFS."""
    at = np.arange(int(secs * RATE)) / RATE
    samples: NDArray[np.int16] = (np.sin(2 * np.pi * hertz * at) * 11_600).astype(np.int16)
    return samples


def read_wav(path: Path) -> tuple[bytes, int]:
    """The PCM16 of a mono WAV, and its rate in Hz.

    Raises: ValueError for another kind of file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getnchannels() != 1 or file.getsampwidth() != 2:
                raise ValueError(f"{path.name} is not a mono 16-bit WAV")
            return file.readframes(file.getnframes()), file.getframerate()
    except (wave.Error, EOFError) as problem:
        raise ValueError(f"{path.name} is no WAV: {problem}") from None


def write_stereo(path: Path, left: NDArray[np.int16], right: NDArray[np.int16]) -> None:
    """A 16-bit stereo WAV at 8 kHz; the shorter side is filled with silence."""
    both = np.zeros((max(len(left), len(right)), 2), dtype="<i2")
    both[: len(left), 0] = left
    both[: len(right), 1] = right
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(both.tobytes())
