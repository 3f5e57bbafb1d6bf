"""The person of a scenario: speaks in turn, waits for what must come, and says what did not."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from server.emulators.twilio.handset import HungUp
from server.emulators.twilio.mulaw import RATE, encode
from server.emulators.twilio.sound import tone
from server.replay.caller import ScriptedCaller
from server.replay.events import HeardSpan
from server.replay.results import Failure
from server.replay.scenario import CallPlan, Expectation, Scenario, SendAfter, Turn
from tests.server.replay.stands import Telephone, at, in_virtual_time

REPLY = encode(tone(300, 1.5))
Agent = Callable[[Telephone], Awaitable[None]]


def expects(event: str, within_ms: int = 3_000, **more: object) -> tuple[Expectation, ...]:
    return (Expectation(at(9), event, within_ms, **more),)  # type: ignore[arg-type]


async def silent(phone: Telephone) -> None:
    """An agent that says nothing."""


async def answers(phone: Telephone) -> None:
    """An agent that says something at once, and again half a second after all that is said."""
    assert phone.line is not None
    heard = 0
    phone.line.hear(REPLY)
    while not phone.line.closed:
        await asyncio.sleep(0.02)
        if len(phone.record.said) > heard:
            heard += 1
            await asyncio.sleep(0.5)
            phone.line.hear(REPLY)


@dataclass
class Played:
    """What came of a call."""

    phone: Telephone
    failures: list[Failure]
    left_open: list[Failure]


def played(
    *turns: Turn, agent: Agent = answers, stays: bool = False, stop_on_failure: bool = True
) -> Played:
    """Live through a call; at 60 s the other side hangs up."""
    call = CallPlan(stays=stays)
    scenario = Scenario("t/t", at(1), call, turns=turns, stop_on_failure=stop_on_failure)

    async def scene() -> Played:
        phone = Telephone()
        caller = ScriptedCaller(scenario, phone.timeline, "en-us")
        async with phone as handset:
            other = asyncio.create_task(agent(phone))
            asyncio.get_running_loop().call_later(60.0, phone.hang_up, "agent")
            person = asyncio.create_task(caller(handset))
            await phone.changes.until(lambda: phone.hung_up_by is not None)
            # Twilio's emulator gives a person a second to notice.
            await asyncio.wait({person}, timeout=1.0)
            for task in (person, other):
                task.cancel()
            ended = await asyncio.gather(person, other, return_exceptions=True)
        expected = (HungUp, asyncio.CancelledError)
        assert [e for e in ended if e is not None and not isinstance(e, expected)] == []
        return Played(phone, caller.failures, caller.left_open())

    return in_virtual_time(scene)


def moments(phone: Telephone, kind: str) -> list[float]:
    return [event.at for event in phone.timeline.events if event.kind == kind]


def test_the_caller_lets_the_agent_finish_and_puts_down_behind_the_last_turn() -> None:
    call = played(
        Turn(at(2), expect=expects("bot_started_speaking")),
        Turn(at(3), ("Good morning.",), expect=expects("response", 9_000)),
    )
    assert (call.failures, call.left_open) == ([], [])
    assert call.phone.hung_up_by == "caller"
    (spoke,) = moments(call.phone, "user_started_speaking")
    assert moments(call.phone, "bot_stopped_speaking")[0] < spoke < 3.0


def test_a_caller_who_stays_waits_until_somebody_else_hangs_up() -> None:
    call = played(Turn(at(2)), stays=True)
    assert call.phone.hung_up_by == "agent"
    assert call.left_open == []


def test_a_turn_is_sent_so_long_after_an_event_though_the_agent_speaks() -> None:
    after = SendAfter(at(3), "bot_started_speaking", delay_ms=700)
    call = played(
        Turn(at(2), expect=expects("bot_started_speaking")),
        Turn(at(3), ("Stop.",), send_after=after),
    )
    (spoke,) = moments(call.phone, "user_started_speaking")
    assert spoke == pytest.approx(0.7, abs=0.1)


def test_keys_follow_so_long_after_what_was_sent_before() -> None:
    call = played(
        Turn(at(2), dtmf="1", send_after=SendAfter(at(2), "bot_started_speaking", 300)),
        Turn(at(3), dtmf="2#", send_after=SendAfter(at(3), None, delay_ms=4_000)),
    )
    pressed = [event for event in call.phone.timeline.events if event.kind == "caller.pressed"]
    assert [event.detail["key"] for event in pressed] == ["1", "2", "#"]
    assert pressed[1].at - pressed[0].at == pytest.approx(4.0, abs=0.1)


def test_a_pause_and_a_recording_are_what_is_played(tmp_path: Path) -> None:
    recording = tmp_path / "said.wav"
    soundfile.write(recording, np.stack([tone(500, 2.0)] * 2, axis=1)[::1], 16_000)
    call = played(Turn(at(2), audio=recording), agent=silent)
    (said,) = call.phone.record.said
    assert (said.text, said.end_secs - said.start_secs) == ("", pytest.approx(1.0, abs=0.05))
    call = played(Turn(at(2), ("One.", 2_500, "Two.")), agent=silent)
    (said,) = call.phone.record.said
    assert said.text == "One. Two."
    assert said.end_secs - said.start_secs > 2.5


def test_a_recording_that_cannot_be_read_is_told_before_the_call(tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(b"RIFF of another kind")
    scenario = Scenario("t/t", at(1), turns=(Turn(at(2), audio=path),))

    async def scene() -> None:
        with pytest.raises(RuntimeError, match=r"broken\.wav"):
            ScriptedCaller(scenario, Telephone().timeline, "en-us")

    in_virtual_time(scene)


@pytest.mark.parametrize(("stop", "spoken"), [(True, 0), (False, 1)])
def test_what_does_not_come_fails_at_its_deadline_and_ends_the_call_if_it_shall(
    stop: bool, spoken: int
) -> None:
    call = played(
        Turn(at(2), expect=expects("bot_interrupted", 2_000)),
        Turn(at(3), ("Hello?",)),
        stop_on_failure=stop,
    )
    assert call.failures == [Failure(at(9), "bot_interrupted within 2000 ms", "nothing")]
    assert call.left_open == []
    assert call.phone.hung_up_by == "caller"
    assert len(call.phone.record.said) == spoken
    if stop:
        assert call.phone.timeline.events[-1].at == pytest.approx(2.3, abs=0.1)


def test_a_response_in_time_counts_though_its_words_are_known_later() -> None:
    async def slow_ears(phone: Telephone) -> None:
        async def understand(reply: HeardSpan) -> None:
            await asyncio.sleep(5.0)
            phone.timeline.heard(reply, "hello there")

        tasks: list[asyncio.Task[None]] = []
        phone.timeline.on_reply = lambda reply: tasks.append(asyncio.create_task(understand(reply)))
        assert phone.line is not None
        phone.line.hear(REPLY)
        await asyncio.sleep(20)
        await asyncio.gather(*tasks)

    wanted = expects("response", 1_700, text_contains="hello")
    call = played(Turn(at(2), expect=wanted), agent=slow_ears)
    assert call.failures == []
    absent = expects("response", 1_700, absent=True)
    call = played(Turn(at(2), expect=absent), agent=slow_ears)
    assert [failure.expected for failure in call.failures] == ["no response within 1700 ms"]


def test_turns_that_the_call_was_over_too_early_for_are_left_open() -> None:
    async def hangs_up_soon(phone: Telephone) -> None:
        assert phone.line is not None
        phone.line.hear(REPLY * 4)
        await asyncio.sleep(2.0)
        phone.hang_up("agent")

    call = played(
        Turn(at(2), expect=expects("bot_started_speaking")),
        Turn(at(3), ("I want to say something.",)),
        Turn(at(4), hang_up=True),
        agent=hangs_up_soon,
    )
    # What is behind the first one only follows from it.
    not_played = [(failure.where, failure.expected) for failure in call.left_open]
    assert not_played == [(at(3), "the turn to be played")]


def test_a_turn_in_which_the_call_ends_is_judged_by_what_came_of_it() -> None:
    async def leaves(phone: Telephone) -> None:
        await asyncio.sleep(3.0)
        phone.hang_up("agent")

    for event, failed in (("user_started_speaking", False), ("bot_interrupted", True)):
        call = played(
            Turn(at(2), ("Goodbye then.",), expect=expects(event, 30_000)),
            agent=leaves,
            stays=True,
        )
        failures = call.failures + call.left_open
        assert [failure.seen for failure in failures] == ["the call ended"] * failed


def test_what_began_before_a_turn_is_no_response_to_it() -> None:
    async def greets(phone: Telephone) -> None:
        assert phone.line is not None
        phone.line.hear(REPLY)

    after = SendAfter(at(2), "bot_started_speaking", delay_ms=300)
    call = played(
        Turn(at(2), ("Xyzzy",), send_after=after, expect=expects("response")), agent=greets
    )
    assert [failure.seen for failure in call.failures] == ["nothing"]


def test_what_came_before_a_turn_was_sent_does_not_count() -> None:
    after = SendAfter(at(2), "bot_stopped_speaking", delay_ms=2_000)
    for event in ("bot_started_speaking", "bot_stopped_speaking", "response"):
        turn = Turn(at(2), ("Hello?",), send_after=after, expect=expects(event, 100))
        call = played(turn)
        assert len(call.failures) == 1, event


def test_a_turn_that_is_cut_by_the_end_of_the_call_was_not_played() -> None:
    async def leaves(phone: Telephone) -> None:
        await asyncio.sleep(1.0)
        phone.hang_up("agent")

    call = played(Turn(at(2), ("I would like to tell you a long story.",)), agent=leaves)
    (failure,) = call.left_open
    assert (failure.expected, failure.seen) == (
        "the turn to be said",
        "the call was over within it",
    )


def test_a_recording_of_silence_is_no_turn(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(RATE), RATE)
    call = played(Turn(at(2), ("Hello?",), audio=path))
    assert [failure.expected for failure in call.failures] == ["a turn that can be heard"]


def test_without_a_call_no_turn_that_does_something_was_played() -> None:
    quiet = expects("bot_started_speaking", absent=True)
    scenario = Scenario("t/t", at(1), turns=(Turn(at(2), expect=quiet), Turn(at(3), dtmf="1")))

    async def scene() -> list[Failure]:
        timeline = Telephone().timeline
        caller = ScriptedCaller(scenario, timeline, "en-us")
        timeline.end()
        return caller.left_open()

    assert [failure.where for failure in in_virtual_time(scene)] == [at(3)]


def test_the_rate_of_the_line_is_what_a_turn_is_made_for() -> None:
    call = played(Turn(at(2), ("Good morning.",)), agent=silent)
    (said,) = call.phone.record.said
    assert 0.5 < said.end_secs - said.start_secs < 2.0
    assert len(call.phone.record.caller_audio) >= 2 * RATE * said.end_secs
