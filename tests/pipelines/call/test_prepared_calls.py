"""Calls that are prepared while they ring: the greeting waits, and is heard whole."""

import asyncio
import audioop

import numpy as np
import pytest

from agent.measures import FirstSound, ModelDeadAir
from agent.profile import AgentProfile, VadConfig
from agent.record.models import EndReason, Speaker
from pipelines.gemini.greeting_cache import GreetingCache, GreetingKey
from pipelines.phone.transport_output import BARGES_IN_AFTER_SECS
from pipelines.steps import PAUSE_IN_WORD_SECS
from tests.pipelines.call.test_run_call import OnStage, call, scene
from tests.pipelines.model import PlayedModel, PlayedSession, refused
from tests.pipelines.tone import mulaw_tone, pcm_tone


async def prepared(stage: OnStage, secs: float = 2.0) -> PlayedSession:
    """The greeting was generated while the phone rings."""
    session = await stage.model.session()
    await session.until(lambda s: s.texts)
    session.speaks("Hello there, my friend.", secs)
    await asyncio.wait_for(stage.running.prepared(), 5)
    return session


def loudest(session: PlayedSession) -> int:
    """The level of the loudest packet that the model was sent."""
    return max(audioop.rms(packet, 2) for packet in session.audio)


def loud_packets(session: PlayedSession) -> int:
    """How many packets of speech the model was sent."""
    return sum(audioop.rms(packet, 2) > 1000 for packet in session.audio)


def told_of_speech(session: PlayedSession) -> list[str]:
    """What the model was told of when the caller speaks, for it does not find out itself."""
    return [kind for kind, _ in session.sent if kind.startswith("activity")]


def heard_secs(stage: OnStage) -> tuple[float, float]:
    """From the answer to the first sound at the phone, and to the last."""
    heard = np.frombuffer(audioop.ulaw2lin(bytes(stage.phone.heard), 2), "<i2")
    loud = np.flatnonzero(abs(heard.astype(int)) > 1000)
    return loud[0] / 8000, loud[-1] / 8000


@scene
async def test_the_greeting_is_there_when_the_phone_is_picked_up() -> None:
    async with call() as stage:
        await prepared(stage)
        await asyncio.sleep(60)
        await stage.phone.pick_up()
        await asyncio.sleep(3)
        first, last = heard_secs(stage)
        assert first < 0.05
        assert last == pytest.approx(2.0, abs=0.1)
        (heard,) = stage.of(FirstSound)
        assert heard.secs <= 0.021, "the phone notices what it plays every 20 ms"
    (turn,) = stage.record.turns
    assert (turn.text, turn.interrupted) == ("Hello there, my friend.", False)
    assert (turn.start_ms, turn.end_ms) == pytest.approx((0, 2000), abs=40)
    assert "latency.first_sound" in stage.kinds()


@scene
async def test_an_answer_before_the_session_is_ready_joins_it() -> None:
    async with call(PlayedModel(setup_secs=2.0)) as stage:
        await asyncio.sleep(0.5)
        await stage.phone.pick_up()
        await prepared(stage)
        await asyncio.sleep(3)
        assert len(stage.model.sessions) == 1
    assert [turn.text for turn in stage.record.turns] == ["Hello there, my friend."]


@scene
async def test_a_session_that_drops_while_it_waits_greets_nobody_twice() -> None:
    async with call() as stage:
        session = await prepared(stage)
        session.drops()
        fresh = await stage.model.session(2)
        await fresh.until(lambda s: s.sent)
        assert fresh.texts == []
        assert "Hello there" in str(fresh.sent[0])
        await stage.phone.pick_up()
        await asyncio.sleep(3)
    assert [turn.text for turn in stage.record.turns] == ["Hello there, my friend."]


@scene
async def test_a_callee_who_hangs_up_within_the_greeting_leaves_what_was_heard() -> None:
    async with call() as stage:
        await prepared(stage, 4.0)
        await asyncio.sleep(10)
        await stage.phone.pick_up()
        await asyncio.sleep(2)
        stage.phone.put_down()
        await asyncio.sleep(0.1)
    (turn,) = stage.record.turns
    assert turn.interrupted
    assert turn.text in ("Hello", "Hello there")


@scene
async def test_a_call_that_nobody_answers_leaves_no_turn_and_knows_its_tokens() -> None:
    async with call() as stage:
        session = await prepared(stage)
        details = [{"modality": "AUDIO", "token_count": 50}]
        session.says({"usage_metadata": {"response_tokens_details": details}})
        await asyncio.sleep(0.1)
        assert stage.running.tokens == {("output", "audio"): 50}
    assert [turn.text for turn in stage.record.turns if turn.text] == []


@scene
async def test_a_greeting_of_half_a_minute_waits_whole() -> None:
    async with call() as stage:
        await prepared(stage, 30.0)
        await stage.phone.pick_up()
        await asyncio.sleep(31)
        assert heard_secs(stage)[1] == pytest.approx(30.0, abs=0.1)


@scene
async def test_the_longest_greeting_waits_whole() -> None:
    async with call() as stage:
        await prepared(stage, 240.0)
        await stage.phone.pick_up()
        await asyncio.sleep(245)
        assert heard_secs(stage)[1] == pytest.approx(240.0, abs=0.1)


@scene
async def test_where_the_callee_speaks_first_there_is_nothing_to_wait_for() -> None:
    async with call(PlayedModel(setup_secs=2.0), greeting="") as stage:
        assert stage.running.is_prepared
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * 1600 + mulaw_tone(0.4))
        await asyncio.sleep(3)
        session = await stage.model.session()
        assert loudest(session) > 1000, "their first word is not shielded"
        assert session.texts == []


@scene
async def test_a_model_that_comes_back_while_it_rings_greets_the_callee() -> None:
    async with call(PlayedModel(*[refused(1011)] * 7, setup_secs=1.0)) as stage:
        await asyncio.sleep(20)
        session = await stage.model.session()
        await session.until(lambda s: s.texts)
        await stage.phone.pick_up()
        assert stage.model.attempts == 8


@scene
async def test_the_callee_waits_for_what_is_left_of_the_patience() -> None:
    async with call(PlayedModel(*[refused(1011)] * 4, setup_secs=1.0)) as stage:
        await asyncio.sleep(5.8)  # between two attempts: the next one is made at once
        await stage.phone.pick_up()
        session = await stage.model.session()
        await session.until(lambda s: s.texts)
        assert stage.model.attempts == 5


@scene
async def test_patience_that_was_used_up_while_it_rang_is_over_when_it_is_answered() -> None:
    await patience_is_over(0.1)


@scene
async def test_an_attempt_that_hangs_is_over_when_it_is_answered_and_patience_is_used_up() -> None:
    await patience_is_over(1000.0)


async def patience_is_over(setup_secs: float) -> None:
    async with call(PlayedModel(*[refused(1011)] * 50, setup_secs=setup_secs)) as stage:
        await asyncio.sleep(12)
        attempts = stage.model.attempts
        await stage.phone.pick_up()
        answered = asyncio.get_running_loop().time()
        assert (await stage.running.ended()).reason is EndReason.NO_MODEL
        assert asyncio.get_running_loop().time() - answered < 0.01
        assert stage.model.attempts == attempts


@scene
async def test_a_hello_over_the_greeting_is_heard_by_the_model_behind_it() -> None:
    async with call(answer_shield=1500) as stage:
        session = await prepared(stage)
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * 1600 + mulaw_tone(0.4))
        await asyncio.sleep(2.1)
        assert len(session.audio) > 80, "silence is sent, not nothing"
        assert loudest(session) < 200
        await asyncio.sleep(1)
        assert 19 <= loud_packets(session) <= 22, "all of it, once"
        assert stage.phone.events("clear") == []
    assert stage.transcript() == [(Speaker.AGENT, "Hello there, my friend.", False)]


@scene
async def test_a_hello_that_has_just_ended_when_the_shield_does_waits_for_the_greeting() -> None:
    async with call(answer_shield=1500, vad=VadConfig(disabled=True)) as stage:
        session = await prepared(stage)
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * round((1.2 - PAUSE_IN_WORD_SECS) * 8000) + mulaw_tone(0.25))
        await asyncio.sleep(2.1)
        assert loudest(session) < 200
        assert told_of_speech(session) == []
        await asyncio.sleep(1)
        assert 12 <= loud_packets(session) <= 14, "all of it, once"
        assert told_of_speech(session) == ["activity_start", "activity_end"]


@scene
async def test_a_hello_comes_before_what_the_caller_says_next() -> None:
    async with call(answer_shield=1500, vad=VadConfig(disabled=True)) as stage:
        session = await prepared(stage, 8.0)
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * 1600 + mulaw_tone(0.4))
        await asyncio.sleep(4)
        assert loudest(session) < 200, "the greeting is not over"
        stage.phone.speak(mulaw_tone(0.6, level=4500))
        await asyncio.sleep(3)
        levels = [audioop.rms(packet, 2) for packet in session.audio]
        first, second = (
            [index for index, level in enumerate(levels) if low < level < 1.2 * low]
            for low in (3900, 2900)
        )
        assert (len(first), len(second)) == (pytest.approx(20, abs=2), pytest.approx(30, abs=2))
        assert sum(index < first[0] for index in second) <= 2, "but for what it took to notice"
        assert told_of_speech(session) == ["activity_start", "activity_end"]


@scene
async def test_a_first_word_is_not_given_to_the_model_as_noise() -> None:
    noise = np.random.default_rng(2).normal(0, 300, 8000 * 3)
    word = np.frombuffer(pcm_tone(0.4, 8000), "<i2")
    noise[1600 : 1600 + len(word)] += word
    async with call(answer_shield=1500) as stage:
        session = await prepared(stage)
        await stage.phone.pick_up()
        stage.phone.speak(audioop.lin2ulaw(noise.astype("<i2").tobytes(), 2))
        await asyncio.sleep(1.4)
        heard = np.frombuffer(b"".join(session.audio), "<i2").astype(float)
        levels = np.sqrt((heard[: heard.size // 320 * 320].reshape(-1, 320) ** 2).mean(axis=1))
        assert levels.size >= 68, "noise, and no pause"
        assert 200 < levels[1:].min() <= levels.max() < 400
        packets = heard[320 : heard.size // 320 * 320].reshape(-1, 320)
        likeness = np.corrcoef(packets) - np.eye(len(packets))
        assert likeness.max() < 0.5, "no packet is there twice"


@scene
async def test_who_speaks_when_the_shield_ends_is_heard_from_their_first_sound() -> None:
    async with call(answer_shield=1500, vad=VadConfig(disabled=True)) as stage:
        session = await prepared(stage)
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * 9600 + mulaw_tone(0.5))
        await asyncio.sleep(3)
        loud = [packet for packet in session.audio if audioop.rms(packet, 2) > 1000]
        assert 23 <= len(loud) <= 27, "all of it, once"
        assert told_of_speech(session) == ["activity_start", "activity_end"]


@scene
async def test_a_hello_that_goes_on_after_the_shield_is_speech_to_the_model() -> None:
    async with call(answer_shield=1500, vad=VadConfig(disabled=True)) as stage:
        session = await prepared(stage)
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * 7200 + mulaw_tone(0.3) + b"\xff" * 2880 + mulaw_tone(0.3))
        await asyncio.sleep(1.5)
        assert told_of_speech(session) == []
        await asyncio.sleep(2)
        assert loudest(session) > 1000
        assert told_of_speech(session) == ["activity_start", "activity_end"]


@scene
async def test_a_question_over_the_greeting_is_told_of_where_the_model_does_not_listen_itself() -> (
    None
):
    async with call(answer_shield=1500, vad=VadConfig(disabled=True)) as stage:
        session = await prepared(stage)
        await stage.phone.pick_up()
        stage.phone.speak(mulaw_tone(0.9))
        await asyncio.sleep(3)
        assert told_of_speech(session) == ["activity_start", "activity_end"]


@scene
async def test_a_question_over_the_greeting_is_sent_after_the_shield() -> None:
    async with call(answer_shield=1500) as stage:
        session = await prepared(stage)
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * 1600 + mulaw_tone(1.0))
        await asyncio.sleep(1.45)
        assert loudest(session) < 200
        await asyncio.sleep(1)
        loud = [packet for packet in session.audio if audioop.rms(packet, 2) > 1000]
        assert 48 <= len(loud) <= 52, "all of it, once"


@scene
async def test_a_shield_may_last_until_the_greeting_is_over() -> None:
    async with call(answer_shield="greeting") as stage:
        session = await prepared(stage, 4.0)
        await stage.phone.pick_up()
        await asyncio.sleep(3)
        stage.phone.speak(mulaw_tone(0.3))
        await asyncio.sleep(0.9)
        assert loudest(session) < 200
        await asyncio.sleep(0.6)
        stage.phone.speak(mulaw_tone(0.3))
        await asyncio.sleep(0.5)
        assert loudest(session) > 1000


@scene
async def test_a_shield_until_the_greeting_is_over_waits_for_the_greeting_to_come() -> None:
    async with call(PlayedModel(setup_secs=2.0), answer_shield="greeting") as stage:
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * 1600 + mulaw_tone(0.4))
        session = await prepared(stage, 2.0)
        await asyncio.sleep(1.5)
        stage.phone.speak(mulaw_tone(0.2))
        await asyncio.sleep(0.4)
        assert loudest(session) < 200
        await asyncio.sleep(1.6)
        assert 29 <= loud_packets(session) <= 33, "both words, behind the greeting"
        stage.phone.speak(mulaw_tone(0.4))
        await asyncio.sleep(1)
        assert 49 <= loud_packets(session) <= 53
    assert stage.transcript() == [(Speaker.AGENT, "Hello there, my friend.", False)]


@scene
async def test_a_shield_does_not_wait_for_a_greeting_that_never_comes() -> None:
    async with call(answer_shield="greeting", silence_seconds=120) as stage:
        await stage.phone.pick_up()
        session = await stage.model.session()
        await asyncio.sleep(31)
        stage.phone.speak(mulaw_tone(0.4))
        await asyncio.sleep(1)
        assert loudest(session) > 1000


@scene
async def test_without_a_shield_the_model_hears_at_once() -> None:
    async with call(answer_shield=0) as stage:
        session = await prepared(stage)
        await stage.phone.pick_up()
        stage.phone.speak(b"\xff" * 1600 + mulaw_tone(0.4))
        await asyncio.sleep(0.8)
        assert loudest(session) > 1000


@scene
async def test_words_that_the_model_takes_for_heard_are_stopped_by_the_caller_all_the_same() -> (
    None
):
    async with call(answer_shield=0) as stage:
        await prepared(stage, 6.0)
        await asyncio.sleep(30)
        await stage.phone.pick_up()
        await asyncio.sleep(2)
        stage.phone.speak(mulaw_tone(1.0))
        await asyncio.sleep(0.5)
        assert stage.phone.events("clear") == ["clear"]
        assert heard_secs(stage)[1] < 2.5
    first = stage.record.turns[0]
    assert first.interrupted
    assert first.text


@scene
async def test_a_call_that_ends_while_the_caller_barges_in_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    async with call(answer_shield=0) as stage:
        await prepared(stage, 6.0)
        await stage.phone.pick_up()
        await asyncio.sleep(2)
        stage.phone.speak(mulaw_tone(1.0))
        await asyncio.sleep(BARGES_IN_AFTER_SECS / 2)
        await stage.running.end()
        stage.phone.put_down()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before


@scene
async def test_a_cough_stops_nobody() -> None:
    async with call(answer_shield=0) as stage:
        await prepared(stage, 6.0)
        await stage.phone.pick_up()
        await asyncio.sleep(2)
        stage.phone.speak(mulaw_tone(0.15))
        await asyncio.sleep(1.0)
        assert stage.phone.events("clear") == []


@scene
async def test_a_line_that_becomes_noisier_stops_nobody() -> None:
    for level in (200, 700, 2000):
        await _line_becomes_noisier(level)


async def _line_becomes_noisier(level: float) -> None:
    noise = np.random.default_rng(3).normal(0, 20, 8000 * 4)
    noise[8000:20000] *= level / 20
    async with call(answer_shield=0) as stage:
        await prepared(stage, 6.0)
        await stage.phone.pick_up()
        stage.phone.speak(audioop.lin2ulaw(noise.astype("<i2").tobytes(), 2))
        await asyncio.sleep(4.0)
        assert stage.phone.events("clear") == []
        stage.phone.speak(mulaw_tone(0.5))
        await asyncio.sleep(0.6)
        assert stage.phone.events("clear") == ["clear"]


@scene
async def test_a_greeting_that_calls_share_is_generated_once_and_played_at_once() -> None:
    greetings = GreetingCache()
    words = {"greeting": "Hello there, my friend."}
    async with call(greetings=greetings, **words) as first:
        await prepared(first)
        await first.phone.pick_up()
        await asyncio.sleep(3)
        one = bytes(first.phone.heard[:16000])
    async with call(PlayedModel(setup_secs=4.0), greetings=greetings, **words) as second:
        await second.phone.pick_up()
        await asyncio.sleep(3)
        assert heard_secs(second)[0] < 0.1
        session = await second.model.session()
        await session.until(lambda s: s.sent)
        assert session.texts == [], "it is told, not asked"
        assert "Hello there, my friend." in str(session.sent[0])
        two = bytes(second.phone.heard[:16000])
    assert one.strip(b"\xff") == two.strip(b"\xff")
    assert second.transcript() == [(Speaker.AGENT, "Hello there, my friend.", False)]


@scene
async def test_nobody_waits_behind_a_greeting_that_calls_share() -> None:
    greetings = GreetingCache()
    words = {"greeting": "Hello there, my friend."}
    async with call(greetings=greetings, **words) as first:
        await prepared(first)
    patience = {"answer_patience_secs": 2.5, "silence_seconds": 60}
    async with call(greetings=greetings, **words, **patience) as second:
        await second.phone.pick_up()
        await asyncio.sleep(20)
        assert heard_secs(second)[1] < 3
        assert second.of(ModelDeadAir) == []
        assert not second.running.is_over


@scene
async def test_a_greeting_that_came_with_half_a_sample_is_shared_as_it_was_heard() -> None:
    greetings = GreetingCache()
    heard = []
    async with call(greetings=greetings, greeting="Hello.") as first:
        session = await first.model.session()
        await session.until(lambda s: s.texts)
        session.speaks("", 0.5, completes=False)
        half = {"inline_data": {"data": b"\x00", "mime_type": "audio/pcm;rate=24000"}}
        session.content(model_turn={"parts": [half]})
        session.speaks("Hello.", 0.5)
        await first.phone.pick_up()
        await asyncio.sleep(3)
        heard.append(bytes(first.phone.heard))
    async with call(greetings=greetings, greeting="Hello.") as second:
        await second.phone.pick_up()
        await asyncio.sleep(3)
        heard.append(bytes(second.phone.heard))
        session = await second.model.session()
        assert session.texts == [], "it is told, not asked"
    one, two = (sound.strip(b"\xff") for sound in heard)
    assert len(one) > 7_000
    assert one == two


@scene
async def test_a_greeting_that_was_begun_twice_is_not_shared() -> None:
    greetings = GreetingCache()
    async with call(greetings=greetings, greeting="Hello.") as stage:
        cut_short = await stage.model.session()
        await cut_short.until(lambda s: s.texts)
        cut_short.speaks("Hello.", 0.5, completes=False)
        await asyncio.sleep(0.1)
        cut_short.drops()
        session = await stage.model.session(2)
        await session.until(lambda s: s.texts)
        session.speaks("Hello.", 0.5)
        await asyncio.sleep(0.1)
    async with call(greetings=greetings, greeting="Hello.") as stage:
        session = await stage.model.session()
        await session.until(lambda s: s.sent)
        assert "word for word" in session.texts[0]


@scene
async def test_a_greeting_said_in_other_words_is_not_shared() -> None:
    greetings = GreetingCache()
    async with call(greetings=greetings, greeting="Hello.") as stage:
        await prepared(stage)
        await stage.phone.pick_up()
        await asyncio.sleep(3)
    async with call(greetings=greetings, greeting="Hello.") as stage:
        session = await stage.model.session()
        await session.until(lambda s: s.texts)
        assert "word for word" in session.texts[0]


@pytest.mark.parametrize(
    "other",
    [
        {"greeting": "Hello you."},
        {"voice": "Puck"},
        {"language": "en-GB"},
    ],
)
def test_a_greeting_is_shared_by_calls_that_sound_the_same(other: dict[str, str]) -> None:
    greetings, profile = GreetingCache(), AgentProfile(greeting="Hello.", voice="Kore")
    greetings.keep(GreetingKey.of(profile, "m"), b"\x00\x01", "Hello!")
    same = profile.model_copy(update={"system_prompt": "You talk with Ms Lee."})
    assert greetings.find(GreetingKey.of(same, "m")) == b"\x00\x01"
    assert greetings.find(GreetingKey.of(profile.model_copy(update=other), "m")) == b""
    assert greetings.find(GreetingKey.of(profile, "another model")) == b""


def test_the_least_used_greeting_is_dropped_first() -> None:
    greetings = GreetingCache(most_bytes=100)
    a, b, c = (GreetingKey.of(AgentProfile(greeting=word), "m") for word in ("a", "b", "c"))
    greetings.keep(a, bytes(40), "A.")
    greetings.keep(b, bytes(40), "b")
    assert greetings.find(a) == bytes(40)
    greetings.keep(c, bytes(40), "c")
    assert (greetings.find(a), greetings.find(b)) == (bytes(40), b"")
