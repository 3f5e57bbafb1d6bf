"""One timeline of what the phone heard and what the model did."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from server.emulators.gemini_live import Session
from server.emulators.gemini_live.session_log import Event
from server.emulators.speech import speak
from server.emulators.twilio.mulaw import PACKET, RATE, encode
from server.emulators.twilio.sound import at_line_rate, tone
from server.replay.events import REPLY_PAUSE_SECS, HeardSpan, Timeline
from tests.server.replay.stands import Telephone, in_virtual_time

SECOND = encode(tone(440, 1.0))
PAUSE = encode(tone(440, 1.0) * 0)


def kinds(timeline: Timeline, *lanes: str) -> list[str]:
    return [event.kind for event in timeline.events if event.lane in lanes]


def moment_of(timeline: Timeline, kind: str) -> float:
    return next(event.at for event in timeline.events if event.kind == kind)


async def hears(phone: Telephone, *sounds: bytes) -> None:
    """The phone plays this, and some silence behind it."""
    assert phone.line is not None
    for sound in sounds:
        phone.line.hear(sound)
    await asyncio.sleep(sum(map(len, sounds)) / RATE + 2.0)


def test_times_count_from_the_answer_and_are_negative_before_it() -> None:
    async def scene() -> Timeline:
        phone = Telephone(rings_secs=3.0)
        async with phone:
            assert phone.timeline.answered_at is not None
            await asyncio.sleep(1.0)
            phone.record.note("stream.started")
        return phone.timeline

    told = {event.kind: event.at for event in in_virtual_time(scene).events}
    assert told["ringing"] == pytest.approx(-3.0)
    assert told["in-progress"] == pytest.approx(0.0)
    assert told["stream.started"] == pytest.approx(1.0)


def test_without_an_answer_times_count_from_the_beginning() -> None:
    async def scene() -> Timeline:
        phone = Telephone()
        await asyncio.sleep(2.0)
        phone.record.note("busy")
        return phone.timeline

    (event,) = in_virtual_time(scene).events
    assert (event.kind, event.at) == ("busy", pytest.approx(2.0))


def test_a_reply_is_from_its_first_sound_to_its_last_and_short_pauses_belong_to_it() -> None:
    short = PAUSE[: round((REPLY_PAUSE_SECS - 0.1) * RATE)]

    async def scene() -> Timeline:
        phone = Telephone()
        async with phone:
            await hears(phone, SECOND, short, SECOND)
        return phone.timeline

    timeline = in_virtual_time(scene)
    assert kinds(timeline, "agent") == [
        "bot_started_speaking",
        "bot_stopped_speaking",
        "response",
        "tts_response",
    ]
    assert moment_of(timeline, "bot_started_speaking") == pytest.approx(0.0, abs=0.05)
    for kind in ("bot_stopped_speaking", "response"):
        assert moment_of(timeline, kind) == pytest.approx(2.6, abs=0.05)


def test_a_longer_pause_makes_two_replies() -> None:
    async def scene() -> list[HeardSpan]:
        phone = Telephone()
        replies: list[HeardSpan] = []
        phone.timeline.on_reply = replies.append
        async with phone:
            await hears(phone, SECOND, PAUSE, SECOND)
        return replies

    (first, second) = in_virtual_time(scene)
    assert (first.start_secs, first.end_secs) == pytest.approx((0.0, 1.0), abs=0.05)
    assert (second.start_secs, second.end_secs) == pytest.approx((2.0, 3.0), abs=0.05)
    assert not any(reply.cut or reply.by_twilio for reply in (first, second))


def test_a_reply_that_is_cut_or_said_by_twilio_is_known() -> None:
    async def scene() -> list[HeardSpan]:
        phone = Telephone()
        replies: list[HeardSpan] = []
        phone.timeline.on_reply = replies.append
        async with phone:
            assert phone.line is not None
            phone.line.hear(SECOND * 3)
            await asyncio.sleep(1.0)
            dropped, _ = phone.line.clear()
            phone.record.note("clear", dropped_ms=dropped * 1000 // RATE)
            await asyncio.sleep(2.0)
            phone.line.hear(SECOND)
            await asyncio.sleep(2.5)
            # Nothing waited: what was heard is whole.
            phone.record.note("clear", dropped_ms=0)
            phone.record.note("twilio.says", text="Sorry.")
            phone.line.hear(SECOND)
            await asyncio.sleep(2.5)
            phone.record.note("stream.started")
            phone.line.hear(SECOND)
            await asyncio.sleep(2.5)
            phone.line.hear(SECOND)
            await asyncio.sleep(0.5)
            phone.hang_up()
        return replies

    replies = in_virtual_time(scene)
    assert [reply.cut for reply in replies] == [True, False, False, False, True]
    assert [reply.by_twilio for reply in replies] == [False, False, True, False, False]


def test_a_hang_up_ends_the_reply_that_is_heard() -> None:
    async def scene() -> Timeline:
        phone = Telephone()
        async with phone:
            assert phone.line is not None
            phone.line.hear(SECOND * 3)
            await asyncio.sleep(1.0)
            assert phone.timeline.agent_speaks
            phone.hang_up()
        assert not phone.timeline.agent_speaks
        return phone.timeline

    timeline = in_virtual_time(scene)
    assert kinds(timeline, "agent").count("response") == 1
    assert kinds(timeline, "agent", "phone")[-1] == "hung_up"
    assert moment_of(timeline, "response") == pytest.approx(1.0, abs=0.05)


def test_what_is_not_known_yet_is_not_taken_for_not_happened() -> None:
    async def scene() -> None:
        phone = Telephone()
        timeline = phone.timeline
        heard: list[HeardSpan] = []
        timeline.on_reply = heard.append
        async with phone:
            await asyncio.sleep(1.0)
            assert timeline.known_until() == pytest.approx(0.7, abs=0.01)
            assert phone.line is not None
            phone.line.hear(SECOND)
            await asyncio.sleep(1.5)
            # Quiet since 2.0 s: a reply that is over, or one that goes on.
            assert timeline.known_until() == pytest.approx(2.0, abs=0.05)
            phone.line.hear(SECOND)
            await asyncio.sleep(0.5)
            assert timeline.known_until() == pytest.approx(2.7, abs=0.05)
            await asyncio.sleep(3.0)
            # Over since 3.5 s, and its words are still looked for.
            (reply,) = heard
            assert timeline.known_until() == reply.end_secs == pytest.approx(3.5, abs=0.05)
            timeline.heard(reply, "hello")
            assert timeline.known_until() == pytest.approx(timeline.now() - 0.3)

    in_virtual_time(scene)


def test_the_caller_is_heard_with_words() -> None:
    async def scene() -> Timeline:
        phone = Telephone()
        async with phone as handset:
            await handset.play(speak("Good morning.", rate=RATE), RATE, text="Good morning.")
        return phone.timeline

    caller = [event for event in in_virtual_time(scene).events if event.lane == "caller"]
    assert [(event.kind, event.text) for event in caller] == [
        ("user_started_speaking", "Good morning."),
        ("user_stopped_speaking", "Good morning."),
    ]
    spoken = len(at_line_rate(speak("Good morning.", rate=RATE), RATE)) / RATE
    assert caller[1].at - caller[0].at == pytest.approx(spoken, abs=2 * PACKET / RATE)


def model(timeline: Timeline, kind: str, message: Any = None) -> None:
    session = cast(Session, SimpleNamespace(number=1))
    timeline.model(session, Event(0.0, "out", kind, message))


def test_the_model_tells_what_it_hears_says_and_calls() -> None:
    async def scene() -> Timeline:
        timeline = Timeline()
        model(timeline, "setup", {})
        model(timeline, "speech_started")
        model(timeline, "speech_ended")
        model(timeline, "heard", "is my car ready")
        model(timeline, "says", "One moment.")
        model(timeline, "serverContent", {"modelTurn": {}})
        model(timeline, "serverContent", {"generationComplete": True})
        model(timeline, "toolCall", {"functionCalls": [{"name": "look", "args": {"car": 1}}]})
        model(timeline, "toolResponse", {"functionResponses": [{"name": "look"}]})
        model(timeline, "toolCallCancellation", {"ids": ["1"]})
        model(timeline, "audio")
        return timeline

    timeline = in_virtual_time(scene)
    told = [(event.kind, event.text) for event in timeline.events if event.lane == "model"]
    assert told == [
        ("setup", ""),
        ("vad_user_started_speaking", ""),
        ("vad_user_stopped_speaking", ""),
        ("user_transcription", "is my car ready"),
        ("llm_started", "One moment."),
        ("llm_response", "One moment."),
    ]
    tools = [event for event in timeline.events if event.lane == "tool"]
    assert [(event.kind, event.detail["name"], event.detail["args"]) for event in tools] == [
        ("function_call", "look", {"car": 1}),
        ("function_call_stopped", "look", {"cancelled": False}),
        ("function_call_stopped", "", {"cancelled": True}),
    ]


def test_the_servers_record_tells_of_tools_where_the_model_does_not() -> None:
    async def scene() -> Timeline:
        timeline = Timeline()
        timeline.recorded("tool.called", {"name": "look", "arguments": {"car": 1}})
        timeline.recorded("tool.answered", {"name": "look"})
        timeline.recorded("call.left", {})
        return timeline

    events = in_virtual_time(scene).events
    assert [event.kind for event in events] == ["function_call", "function_call_stopped"]
    assert events[0].detail == {"name": "look", "args": {"car": 1}}


def test_who_waits_is_woken_by_the_next_event_and_by_the_end() -> None:
    async def scene() -> None:
        timeline = Timeline()
        more = asyncio.create_task(timeline.more_than(0))
        await asyncio.sleep(1)
        assert not more.done()
        timeline.add("phone", "ringing")
        await more
        last = asyncio.create_task(timeline.more_than(1))
        await asyncio.sleep(1)
        timeline.end()
        await last
        assert timeline.over

    in_virtual_time(scene)
