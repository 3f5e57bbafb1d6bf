"""A call that is put together by hand, with every delay known, and what is read from it."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import soxr

from server.bench.conversation import ANSWER, BARGE_IN, CALLER_VOICE, GOODBYE, QUESTION, SPOKEN_AS
from server.bench.figures import Figure, figures_of
from server.bench.sound_positions import first_sound, last_sound
from server.emulators.gemini_live.server_messages import SPEAKS_AT
from server.emulators.gemini_live.session_log import Event, Reply, SessionLog
from server.emulators.speech import speak
from server.emulators.twilio.line import Line
from server.emulators.twilio.mulaw import PACKET, RATE, SILENCE, encode
from server.emulators.twilio.playout import Gap
from server.emulators.twilio.record import CallRecord, Moment, Said
from server.emulators.twilio.sound import AUDIBLE, at_line_rate
from server.emulators.twilio.waiting import Changes

ANSWERED_AT = 1_000.0
CALL_SECS = 20.0
SOFT = 100


def spoken(text: str, voice: str, rate: int) -> np.ndarray:
    return at_line_rate(speak(text, voice=voice, rate=rate), rate)


@dataclass
class Made:
    """Delays in seconds. The caller speaks at 4 s and at 9 s, the model answers at 7 s and 12 s."""

    first_media: float = 0.25
    way_in: float = 0.030
    way_out: float = 0.080
    interrupted_after: float = 0.1
    clear_after: float = 0.120
    lost_secs: float = 0.0
    gaps: list[Gap] = field(default_factory=list)
    stops: bool = True
    answers: bool = True

    def call(self) -> tuple[CallRecord, SessionLog]:
        caller = np.zeros(int(CALL_SECS * RATE), dtype=np.int16)
        agent = np.zeros(int(CALL_SECS * RATE), dtype=np.int16)
        record = CallRecord(lambda _: None)
        line = record.line = Line(Changes())
        line.answered_at = ANSWERED_AT
        for text, at in ((QUESTION, 4.0), (BARGE_IN, 9.0)):
            sound = spoken(text, CALLER_VOICE, RATE)
            start = int(at * RATE)
            caller[start : start + len(sound)] = sound
            record.said.append(Said(text, at, at + len(sound) / RATE))
        log = SessionLog()
        self._hear(log, caller)
        self._say(log, agent, "Hello.", 0.3)
        if self.answers:
            self._say(log, agent, ANSWER, 7.0)
        clear_at = 9.0 + self.clear_after
        if self.stops:
            agent[int(clear_at * RATE) :] = 0
        if self.answers:
            self._say(log, agent, GOODBYE, 12.0)
        log.events.append(Event(ANSWERED_AT + 9.0 + self.interrupted_after, "out", "interrupted"))
        log.events.sort(key=lambda event: event.at)
        record.moments += [
            Moment(ANSWERED_AT + 0.05, "stream.started", {}),
            Moment(ANSWERED_AT + 0.05 + self.first_media, "media.first_in", {}),
        ]
        if self.stops:
            record.moments.append(Moment(ANSWERED_AT + clear_at, "clear", {}))
        line.spoken = bytearray(encode(caller))
        line.ear.heard = bytearray(encode(agent))
        line.ear.gaps += self.gaps
        return record, log

    def _hear(self, log: SessionLog, caller: np.ndarray) -> None:
        """Each packet reaches the model so long after Twilio's beat, from 1 s into the call."""
        heard = soxr.resample(caller.astype(np.float32), RATE, 16_000).astype("<i2")
        for packet in range(RATE // PACKET, len(caller) // PACKET):
            at = ANSWERED_AT + (packet + 1) * PACKET / RATE + self.way_in
            pcm = heard[packet * PACKET * 2 : (packet + 1) * PACKET * 2].tobytes()
            log.audio += pcm
            log.events.append(Event(at, "in", "audio", None, len(pcm)))

    def _say(self, log: SessionLog, agent: np.ndarray, text: str, at: float) -> None:
        sound = spoken(text, SPOKEN_AS, SPEAKS_AT)
        reply = Reply(text, ANSWERED_AT + at, SPOKEN_AS, complete=True)
        log.replies.append(reply)
        log.events.append(Event(ANSWERED_AT + at, "out", "audio", None, 960))
        if text == GOODBYE and self.lost_secs:
            sound = sound[: last_sound(sound, 0, len(sound), SOFT) - int(self.lost_secs * RATE)]
        start = int((at + self.way_out) * RATE)
        agent[start : start + len(sound)] = sound

    def figures(self) -> tuple[dict[Figure, list[float]], list[str]]:
        found = figures_of(*self.call())
        return found.values, found.missing


def near(*values: float, by: float = 1.0) -> object:
    return pytest.approx(list(values), abs=by)


async def test_every_delay_is_found_as_it_was_made() -> None:
    values, missing = Made().figures()
    assert missing == []
    assert values[Figure.START_TO_MEDIA] == near(250, by=0.01)
    assert values[Figure.CHUNK_TO_SOUND] == near(80, 80)
    assert values[Figure.INTERRUPTED_TO_CLEAR] == near(20, by=0.01)
    assert values[Figure.LOST] == near(0)
    assert values[Figure.GAPS] == [0]
    way_in = values[Figure.PACKET_TO_MODEL]
    assert len(way_in) > 100
    assert way_in == near(*[30.0] * len(way_in), by=0.01)


async def test_times_of_the_caller_count_from_what_can_be_heard() -> None:
    values, _ = Made().figures()
    question = spoken(QUESTION, CALLER_VOICE, RATE)
    barge_in = spoken(BARGE_IN, CALLER_VOICE, RATE)
    answer = spoken(ANSWER, SPOKEN_AS, SPEAKS_AT)
    over = 4.0 + last_sound(question, 0, len(question), SOFT) / RATE
    heard = 7.0 + 0.080 + (first_sound(answer, 0, AUDIBLE) or 0) / RATE
    assert values[Figure.RESPONSE][0] == pytest.approx((heard - over) * 1000, abs=1)
    begins = (first_sound(barge_in, 0, SOFT) or 0) / RATE
    assert values[Figure.BARGE_IN_TO_CLEAR] == near((0.120 - begins) * 1000)
    silence = values[Figure.BARGE_IN_TO_SILENCE][0]
    assert 0 <= silence <= values[Figure.BARGE_IN_TO_CLEAR][0]


@pytest.mark.parametrize("way_in", [0.0, 0.004, 0.061, 0.3])
async def test_the_way_in_is_measured_however_long_it_is(way_in: float) -> None:
    values, missing = Made(way_in=way_in).figures()
    assert missing == []
    measured = values[Figure.PACKET_TO_MODEL]
    assert measured == near(*[way_in * 1000] * len(measured), by=0.01)


async def test_what_is_cut_off_a_reply_is_lost_and_what_comes_late_is_not() -> None:
    values, _ = Made(lost_secs=0.1).figures()
    assert values[Figure.LOST] == near(100, by=10)
    late = [Gap(start_secs=12.5, secs=0.04, after_mark=False)]
    values, _ = Made(gaps=late).figures()
    # The gap was counted, and nothing after it was moved: so much was left out.
    assert values[Figure.LOST] == near(40)
    assert values[Figure.GAPS] == [1]


async def test_what_never_happened_is_told_and_not_made_up() -> None:
    values, missing = Made(stops=False).figures()
    assert missing == ["the barge-in brought no clear"]
    assert Figure.BARGE_IN_TO_SILENCE not in values
    values, missing = Made(answers=False).figures()
    assert [sentence for sentence in missing if sentence.startswith("nothing answered")] != []
    assert Figure.RESPONSE not in values


async def test_an_agent_that_goes_on_after_its_clear_was_not_stopped() -> None:
    record, log = Made(stops=False).call()
    record.moments.append(Moment(ANSWERED_AT + 9.12, "clear", {}))
    found = figures_of(record, log)
    assert found.missing == ["the barge-in did not stop the agent"]
    assert Figure.BARGE_IN_TO_SILENCE not in found.values


async def test_a_silent_agent_and_a_deaf_model_are_told() -> None:
    record, log = Made().call()
    assert record.line is not None
    record.line.ear.heard = bytearray([SILENCE]) * len(record.line.ear.heard)
    assert "the agent was never heard" in figures_of(record, log).missing
    record, log = Made().call()
    log.audio = bytearray(len(log.audio))
    found = figures_of(record, log)
    assert f"the model never heard “{QUESTION}”" in found.missing
    assert Figure.PACKET_TO_MODEL not in found.values


async def test_a_phone_that_was_never_answered_has_no_figures() -> None:
    found = figures_of(CallRecord(lambda _: None), SessionLog())
    assert found.values == {}
    assert found.missing == ["the phone was never answered"]
