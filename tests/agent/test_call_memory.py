"""Memories of calls: what was heard, what is kept, and who may read and overwrite it."""

import pytest

from agent.call_memories_in_redis import CallMemoriesInRedis
from agent.call_memory import MOST_CONVERSATION, CallMemory, Speech
from agent.live_calls_in_redis import LiveCallsInRedis
from tests.agent.test_live_calls import Redis, redis

__all__ = ["redis"]

SPEECH = Speech("We open at nine in the morning.", heard_from=105.0, heard_until=107.0)
MEMORY = CallMemory(
    answered_at=100.0,
    handle="handle-1",
    conversation="You: Hello.",
    lately=("You: Hello.",),
    asked="When do you open?",
    asked_from=103.0,
    asked_until=104.0,
    speech=SPEECH,
    hints=("[Be brief.]",),
)


@pytest.mark.parametrize(
    ("now", "heard"),
    [
        (104.0, ""),
        (105.1, ""),
        (106.0, "We open at nine"),
        (107.0, SPEECH.text),
        (120.0, SPEECH.text),
    ],
)
def test_words_are_heard_at_an_even_pace_and_never_in_part(now: float, heard: str) -> None:
    assert SPEECH.heard_by(now) == heard


def test_a_reply_that_was_heard_to_its_end_did_not_break_off() -> None:
    assert MEMORY.heard_by(106.0) == "We open at nine"
    assert MEMORY.heard_by(110.0) is None
    assert CallMemory().heard_by(110.0) is None


def test_the_turns_that_went_on_are_told_as_they_were_heard() -> None:
    caller, agent = MEMORY.lost_turns(106.0)
    assert (caller.text, caller.start_ms, caller.end_ms) == ("When do you open?", 3000, 4000)
    assert (agent.text, agent.start_ms, agent.end_ms) == ("We open at nine", 5000, 6000)
    assert agent.interrupted
    assert not MEMORY.lost_turns(110.0)[1].interrupted


def test_text_brings_back_the_same_and_what_is_unknown_is_left_out() -> None:
    assert CallMemory.from_json(MEMORY.to_json()) == MEMORY
    assert CallMemory.from_json('{"handle": "h", "later": 1}') == CallMemory(handle="h")


def test_a_long_conversation_is_kept_from_a_line_on() -> None:
    lines = [f"Caller: line {number}" for number in range(5000)]
    kept = CallMemory(conversation="\n".join(lines)).bounded().conversation
    assert len(kept) <= MOST_CONVERSATION
    assert kept.splitlines() == lines[-len(kept.splitlines()) :]


async def test_nobody_without_the_secret_reads_a_word(redis: Redis) -> None:
    memories = CallMemoriesInRedis(redis, "a secret")
    await memories.keep({"c1": (1, MEMORY), "c2": (1, CallMemory(handle="h2"))})
    assert await memories.recall("c1") == MEMORY
    stored = await redis.get("{voice-ai}:memory:c1")
    assert b"nine" not in stored
    assert b"handle-1" not in stored
    assert await CallMemoriesInRedis(redis, "another").recall("c1") is None
    # Nor is one call's memory taken for that of another call.
    await redis.set("{voice-ai}:memory:c2", stored)
    assert await memories.recall("c2") is None
    await memories.forget("c1")
    assert await memories.recall("c1") is None


async def test_an_older_owner_overwrites_nothing(redis: Redis) -> None:
    live_calls, memories = LiveCallsInRedis(redis), CallMemoriesInRedis(redis, "a secret")
    first = await live_calls.claim("c1", "one")
    await memories.keep({"c1": (first, CallMemory(handle="first"))})
    second = await live_calls.claim("c1", "two")
    await memories.keep({"c1": (first, CallMemory(handle="frozen"))})
    assert await memories.recall("c1") == CallMemory(handle="first")
    await memories.keep({"c1": (second, CallMemory(handle="second"))})
    assert await memories.recall("c1") == CallMemory(handle="second")
