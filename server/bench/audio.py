"""What the line does to sound, by itself: level, frequencies, noise, folded sound, delay, the end.

The resamplers and the codec of a call are given packets as a call gives them; no call is made.

    caller   mu-law, 20 ms ─▶ PCM 8 kHz ─▶ 16 kHz                     to Gemini
    agent    PCM 24 kHz, 40 ms ─▶ 8 kHz ─▶ mu-law (and decoded again)  to the phone
"""

import audioop
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipelines.rates import GEMINI_HEARS_AT, GEMINI_SPEAKS_AT, PHONE_RATE
from processors.polyphase import Polyphase
from server.bench.audio_signals import (
    HIGHEST_HZ,
    LOWEST_HZ,
    RESPONSE_HZ,
    Sound,
    Tones,
    decibels,
    fit,
    power_beyond,
    sine,
    speech_like,
)
from server.bench.soxr_stream import SoxrStream

# Enough for every resampler to be in its stride before the second that is measured.
_BEFORE_SECS, _SECS = 1, 3
_FOLDING_DBFS = -4.0
_END_WINDOW_SECS = 0.001
# Softer than this by comparison, a millisecond at the end counts as lost.
_LOST_DB = -10.0
_SILENT_SECS = 0.2


# From one rate to another, in Hz: PCM16 in, PCM16 out.
MakeResampler = Callable[[int, int], Polyphase | SoxrStream]


class Direction(StrEnum):
    """Whose sound it is."""

    CALLER = "caller"
    AGENT = "agent"

    @property
    def rates(self) -> tuple[int, int]:
        """From and to, in Hz."""
        if self is Direction.CALLER:
            return PHONE_RATE, GEMINI_HEARS_AT
        return GEMINI_SPEAKS_AT, PHONE_RATE

    @property
    def packet_secs(self) -> float:
        """What comes at a time: Twilio's packets, and chunks as Gemini sends them."""
        return 0.02 if self is Direction.CALLER else 0.04


@dataclass(frozen=True, slots=True)
class LineFigures:
    """What was measured of one direction.

    `level_db`: speech out against speech in. `response_db`: each sine of the telephone's band, by
    Hz. `snr_db`: speech against all that is not, the resampler by itself; `mulaw_snr_db`: the same
    after mu-law, and `mulaw_sine_snr_db` for each sine. `aliasing_db`: the loudest of what is
    folded into the band (agent), or mirrored above it (caller), against what it comes from.
    `delay_ms`, least and most: from a sound's going in to its coming out, packets in real time;
    their own length is not counted. `tail_lost_ms`: what is missing at a reply's end.
    """

    level_db: float
    response_db: dict[int, float]
    snr_db: float
    mulaw_snr_db: float | None
    mulaw_sine_snr_db: dict[int, float]
    aliasing_db: float
    delay_ms: tuple[float, float]
    tail_lost_ms: float

    @property
    def ripple_db(self) -> float:
        """The largest deviation of the response from the level."""
        return max(abs(db - self.level_db) for db in self.response_db.values())


def measure(direction: Direction, make: MakeResampler) -> LineFigures:
    """Measure one direction with resamplers that `make(from_rate, to_rate)` makes."""
    line = _Line(direction, make)
    speech, sines = speech_like(), {hz: sine(hz) for hz in RESPONSE_HZ}
    said = line.second_of(speech.sound)
    heard = {hz: line.second_of(tone.sound) for hz, tone in sines.items()}
    whole = fit(said, line.to_rate, speech)

    def mulaw_snr_db(sound: Sound, tones: Tones) -> float:
        return fit(_through_mulaw(sound), line.to_rate, tones).snr_db

    mulaw = direction is Direction.AGENT
    return LineFigures(
        level_db=whole.gain_db,
        response_db={hz: fit(heard[hz], line.to_rate, sines[hz]).gain_db for hz in sines},
        snr_db=whole.snr_db,
        mulaw_snr_db=mulaw_snr_db(said, speech) if mulaw else None,
        mulaw_sine_snr_db={hz: mulaw_snr_db(heard[hz], sines[hz]) for hz in sines if mulaw},
        aliasing_db=max(_folded(line) if mulaw else _mirrored(line)),
        delay_ms=_delay_ms(line, whole.late_secs),
        tail_lost_ms=_tail_lost_ms(line, whole.late_secs),
    )


class _Line:
    """One direction of a line; every sound goes over a fresh one."""

    def __init__(self, direction: Direction, make: MakeResampler) -> None:
        self.from_rate, self.to_rate = direction.rates
        self.packet_samples = round(self.from_rate * direction.packet_secs)
        self._make = make

    def packets(self, sound: Sound) -> list[Sound]:
        """What comes out with each packet, and at last with the end of the reply."""
        resampler = self._make(self.from_rate, self.to_rate)
        pcm = np.clip(np.rint(sound), -32_768, 32_767).astype("<i2").tobytes()
        size = 2 * self.packet_samples
        out = [resampler.convert(pcm[at : at + size]) for at in range(0, len(pcm), size)]
        return [_samples(one) for one in (*out, resampler.flush())]

    def second_of(self, sound: Callable[[int, float], Sound]) -> Sound:
        """One second, well within a longer sound."""
        heard = np.concatenate(self.packets(sound(self.from_rate, _SECS)))
        second = heard[_BEFORE_SECS * self.to_rate : (_BEFORE_SECS + 1) * self.to_rate]
        # A line that gives less is one that leaves out.
        return np.pad(second, (0, self.to_rate - second.size))


def _folded(line: _Line) -> list[float]:
    """For sines that a phone cannot carry: what is heard of each, in dB, within the band."""
    mirror = line.to_rate
    tones = [
        sine(hz, _FOLDING_DBFS)
        for hz in range(mirror - HIGHEST_HZ, mirror + HIGHEST_HZ + 1, 100)
        if abs(hz - mirror) >= LOWEST_HZ and hz < line.from_rate / 2
    ]
    return [decibels(_power(line.second_of(tone.sound)) / tone.power) for tone in tones]


def _mirrored(line: _Line) -> list[float]:
    """For sines of the band: what is heard above the caller's half of the rate, in dB."""
    tones = [sine(hz, _FOLDING_DBFS) for hz in RESPONSE_HZ]
    half = line.from_rate / 2
    return [decibels(power_beyond(line.second_of(tone.sound), half) / tone.power) for tone in tones]


def _delay_ms(line: _Line, late_secs: float) -> tuple[float, float]:
    """How far what has come out is behind what went in, after each packet in the stride."""
    given, behind = 0, []
    for number, out in enumerate(line.packets(np.zeros(_SECS * line.from_rate))[:-1], start=1):
        given += out.size
        if number * line.packet_samples >= _BEFORE_SECS * line.from_rate:
            held_secs = number * line.packet_samples / line.from_rate - given / line.to_rate
            behind.append(1000 * (held_secs + late_secs))
    return min(behind), max(behind)


def _tail_lost_ms(line: _Line, late_secs: float) -> float:
    """What is missing at the end of a sine that sounds to its very last sample."""
    tone = sine(1_009)
    heard = np.concatenate(line.packets(tone.sound(line.from_rate, 1.0)))
    heard = np.pad(heard, (0, round(_SILENT_SECS * line.to_rate)))
    width = round(_END_WINDOW_SECS * line.to_rate)
    end = round((1.0 + late_secs) * line.to_rate)
    lost = 0
    while end - width * (lost + 1) >= 0:
        window = heard[end - width * (lost + 1) : end - width * lost]
        if decibels(_power(window) / tone.power) >= _LOST_DB:
            break
        lost += 1
    return 1000 * _END_WINDOW_SECS * lost


def _power(sound: Sound) -> float:
    return float((sound**2).mean())


def _through_mulaw(sound: Sound) -> Sound:
    pcm = np.rint(sound).astype("<i2").tobytes()
    return _samples(audioop.ulaw2lin(audioop.lin2ulaw(pcm, 2), 2))


def _samples(pcm: bytes) -> Sound:
    return np.frombuffer(pcm, dtype="<i2").astype(np.float64)
