"""The timeline of a recording: every sound at its place, whatever came when.

The agent's side is held against the emulated telephone's playout buffer, which knows nothing of
ours, the caller's against what was said.
"""

from collections.abc import Iterable
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.phone.playback import Playback
from pipelines.rates import MULAW_SILENCE, PACKET_BYTES, PHONE_RATE
from pipelines.recording.agent_track import JITTER
from pipelines.recording.caller_track import LATE
from pipelines.recording.recording import HELD_AT_MOST_SECS, HOLD_SECS, Cut, Recording, State
from server.emulators.twilio.playout import PlayoutBuffer
from tests.pipelines.clock import Clock

MS = PHONE_RATE // 1000
SILENCE = bytes((MULAW_SILENCE,))
A_DAY_SECS = 86_400.0


class Sounds:
    """Sound of which every piece is another, and none is silence."""

    def __init__(self) -> None:
        self._random = Random(8000)

    def make(self, count: int) -> bytes:
        return self._random.randbytes(count).replace(SILENCE, b"\x00")


class Kept:
    """What was taken of a recording, each time right behind what was taken before."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.caller = b""
        self.agent = b""

    def take(self) -> Cut | None:
        cut = self.recording.take()
        if cut is not None:
            assert cut.start == len(self.caller)
            assert len(cut.caller) == len(cut.agent) > 0
            self.caller += cut.caller
            self.agent += cut.agent
        return cut

    def end(self) -> None:
        self.recording.close()
        self.take()
        assert self.recording.state is State.OVER
        assert self.recording.held_bytes == 0


def answered(longest_secs: float = A_DAY_SECS) -> tuple[Kept, Clock]:
    clock = Clock()
    kept = Kept(Recording(clock, longest_secs=longest_secs))
    kept.recording.bound()
    return kept, clock


def speak(kept: Kept, clock: Clock, packets: Iterable[bytes]) -> None:
    """The caller speaks, on a line that does not waver."""
    for packet in packets:
        clock.pass_secs(0.02)
        kept.recording.caller(packet)
        kept.take()


def in_packets(sound: bytes) -> list[bytes]:
    return [sound[at : at + PACKET_BYTES] for at in range(0, len(sound), PACKET_BYTES)]


# --- the caller's side


def test_both_sides_are_as_long_as_the_call() -> None:
    kept, clock = answered()
    clock.pass_secs(7.25)
    kept.end()
    assert kept.caller == kept.agent == SILENCE * (7250 * MS)


def test_a_phone_that_nobody_answers_is_no_recording() -> None:
    recording = Recording(Clock(), longest_secs=A_DAY_SECS)
    recording.agent(b"hello", 101.0)
    recording.close()
    assert recording.state is State.OVER
    assert recording.take() is None


@st.composite
def journeys(draw: st.DrawFn) -> list[tuple[int, int]]:
    """For each packet when it was said and when it came, in samples: jitter, stalls, bursts."""
    count = draw(st.integers(1, 800))
    # A stall is over before the next one begins.
    stalls = draw(st.dictionaries(st.sampled_from([0, 470]), st.integers(0, 9_000)))
    jitter = Random(draw(st.integers()))
    delays = [jitter.randint(0, 50) for _ in range(count)]
    came, free_at = [], 0
    for number, delay in enumerate(delays):
        said = (number + 1) * PACKET_BYTES
        free_at = max(free_at, said + (delay + stalls.get(number, 0)) * MS)
        came.append((said, free_at))
    return came


@given(journeys())
@example([(160, 520), (320, 520), (480, 520), *((160 * n, 160 * n) for n in range(4, 200))])
@example([(160 * n, 9 * PHONE_RATE) for n in range(1, 451)])
@example([(160 * n, 11_000 if n < 16 else 40_000) for n in range(1, 251)])
def test_jitter_stalls_and_bursts_make_no_gap_and_lose_nothing(
    journey: list[tuple[int, int]],
) -> None:
    kept, clock = answered()
    began = clock.now
    packets = in_packets(Sounds().make(len(journey) * PACKET_BYTES))
    for packet, (_, came) in zip(packets, journey, strict=True):
        while (to := began + came / PHONE_RATE) > clock.now:
            clock.now = min(to, clock.now + 0.5)
            kept.take()
        kept.recording.caller(packet)
    clock.pass_secs(1)
    kept.end()
    assert len(kept.caller) == journey[-1][1] + PHONE_RATE
    said = b"".join(packets)
    # One piece, later than it was said by no more than the quickest packets were.
    start = kept.caller.index(said[-PACKET_BYTES:]) + PACKET_BYTES - len(said)
    quickest = min(came - said_at for said_at, came in journey)
    assert 0 <= start - quickest <= LATE
    assert kept.caller == (SILENCE * start + said).ljust(len(kept.caller), SILENCE)


@given(before=st.integers(5, 300), missing=st.integers(6, 400), after=st.integers(55, 300))
def test_packets_that_never_came_are_silence_where_they_were(
    before: int, missing: int, after: int
) -> None:
    kept, clock = answered()
    sounds = Sounds()
    first, last = sounds.make(before * PACKET_BYTES), sounds.make(after * PACKET_BYTES)
    speak(kept, clock, in_packets(first))
    clock.pass_secs(missing * 0.02)
    speak(kept, clock, in_packets(last))
    kept.end()
    assert kept.caller == first + SILENCE * (missing * PACKET_BYTES) + last


@given(before=st.integers(0, 200), away_ms=st.integers(0, 9_000), late=st.integers(0, 40))
def test_what_a_lost_stream_does_not_carry_is_silence(before: int, away_ms: int, late: int) -> None:
    kept, clock = answered()
    sounds = Sounds()
    first, last = sounds.make(before * PACKET_BYTES), sounds.make(60 * PACKET_BYTES)
    speak(kept, clock, in_packets(first))
    kept.recording.taken_back()
    kept.recording.lost()
    clock.pass_secs(away_ms / 1000)
    kept.take()
    kept.recording.bound()
    head, *rest = in_packets(last)
    clock.pass_secs(0.02 + late / 1000)
    kept.recording.caller(head)
    clock.pass_secs(-late / 1000)
    speak(kept, clock, rest)
    clock.pass_secs(1)
    kept.end()
    start = kept.caller.index(last)
    assert abs(start - len(first) - away_ms * MS) <= 5 * MS
    assert kept.caller == (first.ljust(start, SILENCE) + last).ljust(len(kept.caller), SILENCE)


def test_a_call_ends_where_its_last_stream_did() -> None:
    kept, clock = answered()
    speak(kept, clock, in_packets(Sounds().make(50 * PACKET_BYTES)))
    kept.recording.taken_back()
    kept.recording.lost()
    clock.pass_secs(4)
    kept.take()
    kept.end()
    assert len(kept.caller) == PHONE_RATE


def test_what_was_said_before_the_answer_is_no_part_of_the_call() -> None:
    kept, clock = answered()
    packets = in_packets(Sounds().make(60 * PACKET_BYTES))
    clock.pass_secs(0.001)
    for packet in packets[:10]:  # they waited for the server
        kept.recording.caller(packet)
    speak(kept, clock, packets[10:])
    kept.end()
    assert kept.caller[:400] == b"".join(packets)[-len(kept.caller) :][:400]


def test_a_flood_of_packets_does_not_grow() -> None:
    kept, clock = answered()
    speak(kept, clock, in_packets(Sounds().make(200 * PACKET_BYTES)))
    for packet in in_packets(Sounds().make(3000 * PACKET_BYTES)):
        kept.recording.caller(packet)
    assert kept.recording.held_bytes < (HOLD_SECS + 1) * 2 * PHONE_RATE
    kept.end()
    assert len(kept.caller) == 4 * PHONE_RATE


# --- the agent's side


class Phone:
    """The book, the recording and the ear of one call; messages take `delay_ms` each way."""

    def __init__(self, delay_ms: int = 0) -> None:
        self.clock = Clock()
        self._began = self.clock.now
        self.delay = delay_ms * MS
        self.kept = Kept(Recording(self.clock, longest_secs=A_DAY_SECS))
        self.book = Playback(self.clock)
        self.book.recording = self.kept.recording
        self.kept.recording.bound()
        self.ear = PlayoutBuffer()
        self.now = 0
        self._underway: list[tuple[int, str, bytes | str]] = []
        self._coming_back: list[tuple[int, str]] = []

    def send(self, payload: bytes) -> None:
        begins = self.book.current is None
        self.book.sent(len(payload))
        self.kept.recording.agent(payload, self.book.last_sound)
        self._tell("media", payload)
        if begins:
            self._tell("mark", self.book.mark())

    def mark(self) -> None:
        self._tell("mark", self.book.mark())

    def complete(self) -> None:
        self.mark()
        self.book.completed()

    def clear(self) -> None:
        self.book.take_back()
        self._tell("clear", "")

    def wait(self, count: int) -> None:
        for _ in range(count // MS):
            self.now += MS
            self.clock.now = self._began + self.now / PHONE_RATE
            self._echo(self.ear.advance(self.now))
            while self._underway and self._underway[0][0] <= self.now:
                self._arrive(*self._underway.pop(0)[1:])
            while self._coming_back and self._coming_back[0][0] <= self.now:
                self.book.marked(self._coming_back.pop(0)[1])

    def _tell(self, kind: str, content: bytes | str) -> None:
        if self.delay:
            self._underway.append((self.now + self.delay, kind, content))
        else:
            self._arrive(kind, content)

    def _arrive(self, kind: str, content: bytes | str) -> None:
        if isinstance(content, bytes):
            self.ear.append(content, self.now)
        elif kind == "clear":
            self._echo(self.ear.clear()[1])
        elif self.ear.mark(content):
            self._echo([content])

    def _echo(self, names: list[str]) -> None:
        for name in names:
            if self.delay:
                self._coming_back.append((self.now + self.delay, name))
            else:
                self.book.marked(name)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 20)),
        st.tuples(st.just("wait"), st.integers(1, 1500)),
        st.tuples(st.just("send and mark"), st.integers(1, 20)),
        st.tuples(st.just("send and complete"), st.integers(1, 20)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("take"), st.just(0)),
    ),
    max_size=60,
)


def play(phone: Phone, script: list[tuple[str, int]]) -> bytes:
    """Play it, and everything that was sent."""
    sounds, sent = Sounds(), b""
    for kind, much in script:
        if kind.startswith("send"):
            payload = sounds.make(much * PACKET_BYTES)
            sent += payload
            phone.send(payload)
            if kind != "send":
                getattr(phone, kind.split()[-1])()
        elif kind == "wait":
            phone.wait(much * MS)
        elif kind == "take":
            phone.kept.take()
        else:
            getattr(phone, kind)()
    return sent


@given(steps)
def test_the_agent_is_recorded_where_the_phone_heard_it(script: list[tuple[str, int]]) -> None:
    phone = Phone()
    play(phone, script)
    phone.wait(100 * MS)
    phone.book.take_back()
    phone.kept.end()
    heard = bytes(phone.ear.heard)
    assert len(phone.kept.agent) == phone.now
    assert phone.kept.agent == heard


@given(steps, st.integers(1, 150))
def test_over_a_slow_network_nothing_is_recorded_twice_or_that_was_taken_back(
    script: list[tuple[str, int]], delay_ms: int
) -> None:
    phone = Phone(delay_ms)
    sent = play(phone, script)
    phone.wait(2000 * MS)
    phone.clear()
    phone.wait(400 * MS)
    phone.kept.end()
    assert len(phone.kept.agent) == phone.now
    recorded = phone.kept.agent.replace(SILENCE, b"")
    heard = bytes(phone.ear.heard).replace(SILENCE, b"")
    # Sounds are told apart by their order: both are what was sent with pieces left out.
    assert is_sent_in_part(recorded, sent)
    cuts = sum(kind == "clear" for kind, _ in script) + 1
    assert abs(len(recorded) - len(heard)) <= cuts * (2 * delay_ms + 60) * MS


def is_sent_in_part(part: bytes, whole: bytes) -> bool:
    remaining = iter(whole)
    return all(sound in remaining for sound in part)


@given(secs=st.integers(1, 9), delay_ms=st.integers(0, 150), pause_ms=st.integers(0, 900))
def test_speech_over_a_slow_network_moves_as_a_whole(
    secs: int, delay_ms: int, pause_ms: int
) -> None:
    phone = Phone(delay_ms)
    sounds = Sounds()
    phone.wait((300 + pause_ms) * MS)
    speech = sounds.make(secs * PHONE_RATE)
    for at in range(0, len(speech), 10 * PACKET_BYTES):
        phone.send(speech[at : at + 10 * PACKET_BYTES])
        phone.mark()
        phone.wait(20 * MS)
        phone.kept.take()
    phone.complete()
    for _ in range(secs + 1):
        phone.wait(PHONE_RATE)
        phone.kept.take()
    phone.kept.end()
    start = phone.kept.agent.index(speech)
    # Where it was heard, as far as a mark can tell that: up to the mark's own way back later.
    later = start - bytes(phone.ear.heard).index(speech)
    assert -JITTER <= later <= phone.delay


def test_a_greeting_made_while_it_rings_is_heard_from_the_answer_on() -> None:
    clock = Clock()
    kept = Kept(Recording(clock, longest_secs=A_DAY_SECS))
    book = Playback(clock, waits=True)
    book.recording = kept.recording
    greeting = Sounds().make(PHONE_RATE)
    for payload in in_packets(greeting):
        book.sent(len(payload))
        kept.recording.agent(payload, book.last_sound)
        clock.pass_secs(0.05)
    assert kept.take() is None
    book.begin()
    kept.recording.bound()
    clock.pass_secs(1.5)
    kept.end()
    assert kept.agent == greeting + SILENCE * (PHONE_RATE // 2)


def test_a_greeting_that_is_taken_back_while_it_rings_is_never_heard() -> None:
    clock = Clock()
    kept = Kept(Recording(clock, longest_secs=A_DAY_SECS))
    kept.recording.agent(b"hello", 101.0)
    kept.recording.taken_back()
    kept.recording.bound()
    clock.pass_secs(1)
    kept.end()
    assert kept.agent == SILENCE * PHONE_RATE


# --- its bounds


def test_it_stops_at_its_longest() -> None:
    kept, clock = answered(longest_secs=3.0)
    speak(kept, clock, in_packets(Sounds().make(600 * PACKET_BYTES)))
    assert kept.recording.full
    assert kept.recording.state is State.OVER
    assert len(kept.caller) == 3 * PHONE_RATE
    kept.recording.caller(b"more")
    kept.recording.agent(b"more", clock.now)
    assert kept.recording.held_bytes == 0


def test_one_that_nobody_takes_gives_itself_up() -> None:
    changes: list[int] = []
    clock = Clock()
    recording = Recording(clock, longest_secs=A_DAY_SECS, on_change=lambda: changes.append(1))
    recording.bound()
    most = 0
    for packet in in_packets(Sounds().make(60 * PHONE_RATE)):
        clock.pass_secs(0.02)
        recording.caller(packet)
        recording.agent(packet, clock.now + 0.02)
        most = max(most, recording.held_bytes)
    assert recording.overflowed
    assert recording.state is State.OVER
    assert changes == [1]
    assert most <= 2 * (HELD_AT_MOST_SECS + 1) * PHONE_RATE
    assert recording.held_bytes == 0


def test_an_hour_holds_no_more_than_its_first_seconds() -> None:
    kept, clock = answered()
    packet = Sounds().make(PACKET_BYTES)
    held = []
    for number in range(50 * 3600):
        clock.pass_secs(0.02)
        kept.recording.caller(packet)
        kept.recording.agent(packet, clock.now + 0.02)
        if number % 50 == 0:
            kept.recording.take()
            held.append(kept.recording.held_bytes)
    assert max(held[10:]) == max(held[:10]) <= 2 * (HOLD_SECS + 0.1) * PHONE_RATE
