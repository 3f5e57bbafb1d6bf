"""Turns of both sides: their words, their times, and that each reaches memory and record."""

import asyncio

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    InterruptionFrame,
    TranscriptionFrame,
)

from agent.conversation import Conversation
from agent.ports import MemoryRecord, SpokenTurn
from agent.record.models import Speaker
from processors.frames import TurnFrame
from processors.record_turns import RecordTurns
from processors.remember_agent import RememberAgent
from processors.remember_caller import RememberCaller
from tests import virtual_time
from tests.pipelines.stage import Stage, on_stage


class Caller:
    """When the caller was heard: seconds after the scene began."""

    def __init__(self) -> None:
        self.stretches: list[tuple[float, float]] = []

    def since(self, moment: float) -> list[tuple[float, float]]:
        return [stretch for stretch in self.stretches if stretch[1] > moment]

    def speaks(self, start: float, end: float) -> None:
        self.stretches.append((1000 + start, 1000 + end))


def ms(moment: float) -> int:
    return round((moment - 1000) * 1000)


async def until(secs: float) -> None:
    await asyncio.sleep(1000 + secs - asyncio.get_running_loop().time())


async def words(stage: Stage, *pieces: str) -> None:
    for piece in pieces:
        await stage.up(TranscriptionFrame(piece, "", ""))


def turns(stage: Stage) -> list[SpokenTurn]:
    return [frame.turn for frame in stage.after.of(TurnFrame)]  # type: ignore[attr-defined]


def test_a_turn_is_what_was_said_before_the_answer_and_late_words_still_find_it() -> None:
    async def scene() -> None:
        caller, conversation = Caller(), Conversation()
        async with on_stage(RememberCaller(conversation, caller.since, ms)) as stage:
            caller.speaks(1.0, 2.0)
            caller.speaks(2.5, 3.0)
            await until(3.2)
            await words(stage, " What are", " your")
            await until(3.5)
            await stage.up(BotStartedSpeakingFrame())
            await words(stage, " hours?")
            caller.speaks(6.0, 6.5)
            await until(7)
            await stage.up(BotStoppedSpeakingFrame())
            expected = SpokenTurn(Speaker.CALLER, "What are your hours?", 1000, 3000)
            assert turns(stage) == [expected]
            assert conversation.turns == [expected]

            await words(stage, "Thanks.")
            await stage.up(BotStartedSpeakingFrame(), BotStoppedSpeakingFrame())
            assert turns(stage)[1] == SpokenTurn(Speaker.CALLER, "Thanks.", 6000, 6500)

    virtual_time.run(scene())


def test_two_sentences_that_bring_no_space_are_parted_and_words_are_not() -> None:
    async def scene() -> None:
        async with on_stage(RememberCaller(Conversation(), Caller().since, ms)) as stage:
            await words(stage, "Hello?", "What", "ever is it? ", "It is 3.", "5 euros.")
            await stage.up(BotStartedSpeakingFrame(), BotStoppedSpeakingFrame())
            assert [turn.text for turn in turns(stage)] == [
                "Hello? Whatever is it? It is 3.5 euros."
            ]

    virtual_time.run(scene())


def test_a_hello_over_the_greeting_begins_no_turn() -> None:
    async def scene() -> None:
        caller = Caller()
        async with on_stage(RememberCaller(Conversation(), caller.since, ms)) as stage:
            await stage.up(BotStartedSpeakingFrame())
            caller.speaks(0.1, 0.6)
            await until(4)
            await stage.up(BotStoppedSpeakingFrame())
            caller.speaks(4.5, 5.0)
            await until(5.5)
            await words(stage, "What is it?")
            await stage.up(BotStartedSpeakingFrame(), BotStoppedSpeakingFrame())
            assert turns(stage) == [SpokenTurn(Speaker.CALLER, "What is it?", 4500, 5000)]

    virtual_time.run(scene())


def test_an_interruption_ends_the_turn_before_it() -> None:
    async def scene() -> None:
        caller = Caller()
        async with on_stage(RememberCaller(Conversation(), caller.since, ms)) as stage:
            caller.speaks(0.0, 1.0)
            await until(1)
            await words(stage, "Tell me all.")
            await stage.up(BotStartedSpeakingFrame())
            caller.speaks(3.0, 4.0)
            await until(3.1)
            await stage.up(InterruptionFrame())
            await until(4)
            await words(stage, "Stop.")
            await stage.up(BotStartedSpeakingFrame(), BotStoppedSpeakingFrame())
            assert [(turn.text, turn.start_ms, turn.end_ms) for turn in turns(stage)] == [
                ("Tell me all.", 0, 1000),
                ("Stop.", 3000, 4000),
            ]

    virtual_time.run(scene())


def test_an_interruption_before_any_answer_does_not_split_the_turn() -> None:
    async def scene() -> None:
        caller = Caller()
        async with on_stage(RememberCaller(Conversation(), caller.since, ms)) as stage:
            caller.speaks(0.0, 1.0)
            await until(1)
            await words(stage, "I would")
            await stage.up(InterruptionFrame())
            caller.speaks(1.5, 2.0)
            await until(2)
            await words(stage, " like tea.")
            await stage.up(BotStartedSpeakingFrame(), BotStoppedSpeakingFrame())
            assert [turn.text for turn in turns(stage)] == ["I would like tea."]

    virtual_time.run(scene())


def test_what_was_said_last_is_kept_when_the_call_ends() -> None:
    async def scene() -> None:
        caller, record = Caller(), MemoryRecord()
        conversation = Conversation()
        remember = RememberCaller(conversation, caller.since, ms)
        async with on_stage(remember, RecordTurns(record)) as stage:
            caller.speaks(0.0, 1.0)
            await until(1)
            await words(stage, "Goodbye.")
        assert [turn.text for turn in record.turns] == ["Goodbye."]

    virtual_time.run(scene())


def test_noise_without_words_is_no_turn() -> None:
    async def scene() -> None:
        caller = Caller()
        async with on_stage(RememberCaller(Conversation(), caller.since, ms)) as stage:
            caller.speaks(0.0, 1.0)
            await until(2)
            await stage.up(BotStartedSpeakingFrame(), BotStoppedSpeakingFrame())
            assert turns(stage) == []

    virtual_time.run(scene())


def test_the_agents_turns_are_remembered_as_heard_and_recorded() -> None:
    async def scene() -> None:
        conversation, record = Conversation(), MemoryRecord()
        async with on_stage(RememberAgent(conversation), RecordTurns(record)) as stage:
            heard = SpokenTurn(Speaker.AGENT, "Hello, I", 0, 900, interrupted=True)
            unheard = SpokenTurn(Speaker.AGENT, "", 2000, 2000, interrupted=True)
            await stage.down(TurnFrame(heard), TurnFrame(unheard))
        assert conversation.as_text() == "You: Hello, I (interrupted)"
        assert record.turns == [heard]

    virtual_time.run(scene())


def test_a_turn_known_late_finds_its_place() -> None:
    conversation = Conversation()
    conversation.add(SpokenTurn(Speaker.AGENT, "Hello.", 0, 1000))
    conversation.add(SpokenTurn(Speaker.AGENT, "We open at nine.", 4000, 5000))
    conversation.add(SpokenTurn(Speaker.CALLER, "When do you open?", 2000, 3000))
    assert conversation.as_text().splitlines() == [
        "You: Hello.",
        "Caller: When do you open?",
        "You: We open at nine.",
    ]
