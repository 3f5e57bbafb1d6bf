"""What one call came to in figures, from what both emulators noticed of it. No clock, no I/O.

    phone   answer  first sound            question|        answer ...|     clear
              |---------|                          |----------->|           ^ |-> silence
    Twilio  start ··> first media message   packet |            ^ packet    |
                                                   v            |           |
    Gemini                                     sound in    first chunk   interrupted

All times are of one clock: the event loop that both emulators live on.
"""

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from server.bench.sound_positions import first_sound, last_sound, place_of
from server.emulators.gemini_live.server_messages import SPEAKS_AT
from server.emulators.gemini_live.session_log import Event, SessionLog
from server.emulators.gemini_live.voice_activity import HEARS_AT
from server.emulators.speech import speak
from server.emulators.twilio.mulaw import PACKET, RATE
from server.emulators.twilio.record import CallRecord, Said
from server.emulators.twilio.sound import AUDIBLE, at_line_rate

# An interrupted agent that is still heard so long after the caller's last word was not stopped.
NOT_STOPPED_SECS = 0.4
# How much later than it was said the model may hear something.
HEARS_WITHIN_SECS = 2.0

# As soft as the model hears speech: -50 dBFS. A caller's first and last sounds are soft.
SOFT = 100


class Figure(StrEnum):
    """What is measured, in milliseconds except for the gaps, which are counted."""

    START_TO_MEDIA = "start_to_first_media"
    ANSWER_TO_SOUND = "answer_to_first_sound"
    RESPONSE = "caller_last_sound_to_reply"
    CHUNK_TO_SOUND = "model_first_chunk_to_sound"
    PACKET_TO_MODEL = "caller_packet_to_model"
    BARGE_IN_TO_CLEAR = "barge_in_to_clear"
    INTERRUPTED_TO_CLEAR = "interrupted_to_clear"
    BARGE_IN_TO_SILENCE = "barge_in_to_silence"
    LOST = "lost_of_last_reply"
    GAPS = "gaps"


@dataclass(frozen=True, slots=True)
class CallFigures:
    """The values of one call, several for what happens several times; and what never happened."""

    values: dict[Figure, list[float]]
    missing: list[str]


def figures_of(record: CallRecord, log: SessionLog) -> CallFigures:
    """The figures of a call that went as `conversation` has it, or as far as it went."""
    if record.line is None:
        return CallFigures({}, ["the phone was never answered"])
    call = _Call(record, log, record.line.answered_at)
    call.measure()
    return CallFigures(dict(call.values), call.missing)


class _Call:
    """Both sides of one call. Places in sound are samples at 8 kHz from the answer on."""

    def __init__(self, record: CallRecord, log: SessionLog, answered_at: float) -> None:
        self._record = record
        self._log = log
        self._answered_at = answered_at
        self._caller = np.frombuffer(record.caller_audio, dtype="<i2")
        self._agent = np.frombuffer(record.agent_audio, dtype="<i2")
        self.values: defaultdict[Figure, list[float]] = defaultdict(list)
        self.missing: list[str] = []

    def measure(self) -> None:
        self._measure_beginning()
        for said in self._record.said:
            self._measure_way_in(said)
            self._measure_reply(said)
        if len(self._record.said) > 1:
            self._measure_barge_in(self._record.said[1])
        else:
            self.missing.append("the caller never came to barge in")
        self._put(Figure.GAPS, len(self._record.gaps))

    def _measure_beginning(self) -> None:
        started = self._record.first("stream.started")
        media = self._record.first("media.first_in")
        if started is None or media is None:
            self.missing.append("no media message came")
            return
        self._put(Figure.START_TO_MEDIA, (media.at - started.at) * 1000)
        first = first_sound(self._agent, 0, AUDIBLE)
        if first is None:
            self.missing.append("the agent was never heard")
        else:
            self._put(Figure.ANSWER_TO_SOUND, _ms(first))

    def _measure_way_in(self, said: Said) -> None:
        """For each packet of an utterance, from Twilio's beat until the model has its middle.

        The middle, because a filter may carry a packet's last samples over into the next one.
        """
        first, last = self._utterance(said)
        events = [one for one in self._log.events if (one.direction, one.kind) == ("in", "audio")]
        ends = np.cumsum([one.audio_bytes // 2 for one in events], dtype=np.int64)
        since = int(np.searchsorted([one.at for one in events], self._at(first)))
        start = int(ends[since - 1]) if since else 0
        lasts = HEARS_AT * (last - first) // RATE + int(HEARS_WITHIN_SECS * HEARS_AT)
        model = np.frombuffer(self._log.audio, dtype="<i2")[start : start + lasts]
        offset = place_of(self._caller[first:last], model[:: HEARS_AT // RATE])
        if offset is None:
            self.missing.append(f"the model never heard “{said.text}”")
            return
        for packet in range(first // PACKET + 1, last // PACKET):
            middle = packet * PACKET + PACKET // 2
            place = start + (offset + middle - first) * HEARS_AT // RATE
            arrival = int(np.searchsorted(ends, place, side="right"))
            if arrival < len(events):
                sent_at = self._at((packet + 1) * PACKET)
                self._put(Figure.PACKET_TO_MODEL, (events[arrival].at - sent_at) * 1000)

    def _measure_reply(self, said: Said) -> None:
        """From the caller's last sound, and from the reply's first chunk, to its first sound."""
        over_at = self._at(_sample(said.end_secs))
        reply = next((reply for reply in self._log.replies if reply.started_at >= over_at), None)
        chunk = None if reply is None else self._first_out("audio", reply.started_at)
        if reply is None or chunk is None:
            self.missing.append(f"nothing answered “{said.text}”")
            return
        sent = max(0, int((chunk.at - self._answered_at) * RATE))
        first = first_sound(self._agent, sent, AUDIBLE)
        if first is None:
            self.missing.append(f"the answer to “{said.text}” was never heard")
            return
        self._put(Figure.RESPONSE, _ms(first - self._utterance(said)[1]))
        spoken = speak(reply.text, voice=reply.voice, rate=SPEAKS_AT)
        generated = at_line_rate(spoken, SPEAKS_AT)
        silent = first_sound(generated, 0, AUDIBLE) or 0
        waited_secs = first / RATE - (chunk.at - self._answered_at)
        self._put(Figure.CHUNK_TO_SOUND, waited_secs * 1000 - _ms(silent))
        if reply.complete and said is self._record.said[-1]:
            due = first + last_sound(generated, 0, len(generated), SOFT) - silent
            gaps = (gap for gap in self._record.gaps if _sample(gap.start_secs) > first)
            due += sum(_sample(gap.secs) for gap in gaps)
            heard = last_sound(self._agent, first, len(self._agent), SOFT)
            self._put(Figure.LOST, _ms(max(0, due - heard)))

    def _measure_barge_in(self, said: Said) -> None:
        first, last = self._utterance(said)
        clear = next((one for one in self._record.all("clear") if one.at >= self._at(first)), None)
        interrupted = self._first_out("interrupted", self._at(first))
        if clear is None or interrupted is None:
            self.missing.append("the barge-in brought no clear")
            return
        self._put(Figure.BARGE_IN_TO_CLEAR, (clear.at - self._at(first)) * 1000)
        self._put(Figure.INTERRUPTED_TO_CLEAR, (clear.at - interrupted.at) * 1000)
        give_up = last + _sample(NOT_STOPPED_SECS)
        heard = last_sound(self._agent, first, give_up, AUDIBLE)
        if give_up - heard <= PACKET:
            self.missing.append("the barge-in did not stop the agent")
            return
        self._put(Figure.BARGE_IN_TO_SILENCE, _ms(heard - first))

    def _utterance(self, said: Said) -> tuple[int, int]:
        """The first and the last sample of what the caller said that the model can hear."""
        start, end = _sample(said.start_secs), _sample(said.end_secs)
        first = first_sound(self._caller[:end], start, SOFT)
        return start if first is None else first, last_sound(self._caller, start, end, SOFT)

    def _first_out(self, kind: str, from_at: float) -> Event | None:
        return next(
            (
                event
                for event in self._log.events
                if event.direction == "out" and event.kind == kind and event.at >= from_at
            ),
            None,
        )

    def _at(self, sample: int) -> float:
        return self._answered_at + sample / RATE

    def _put(self, figure: Figure, value: float) -> None:
        self.values[figure].append(value)


def _sample(secs: float) -> int:
    return round(secs * RATE)


def _ms(samples: int) -> float:
    return samples * 1000 / RATE
