"""What a call tells the next connection, and another instance: its parts go in, words come out."""

from dataclasses import replace

import pytest

from agent.call_memory import CallMemory, Speech
from agent.conversation import Conversation
from agent.model_instructions import CUT_OFF
from agent.ports import SpokenTurn
from agent.record.models import Speaker
from pipelines.gemini.call_so_far import MOST_LATELY, CallSoFar
from pipelines.gemini.handover import Handover
from pipelines.gemini.reply_state import ReplyState
from pipelines.phone.caller_speech import CallerSpeech, Stretch
from pipelines.phone.playback import Playback

EPOCH = 1_000_000.0
SECOND_OF_MULAW = 8_000


class Call:
    """A call of which a test plays both sides."""

    def __init__(self, recalled: CallMemory | None = None, now: float = 0.0) -> None:
        self.conversation = Conversation()
        self.reply = ReplyState()
        self.speech = CallerSpeech()
        self.playback = Playback(lambda: 10.0)
        self.so_far = CallSoFar(
            self.conversation, self.reply, self.speech, self.playback, recalled, now=now
        )

    def asks(self, text: str) -> None:
        """The caller asks, which the model transcribes."""
        self.reply.caller_said(text)

    def begins(self, text: str) -> None:
        """The model begins to answer."""
        self.so_far.reply_begins()
        self.reply.words(text)

    def turn(self, asked: str, said: str) -> None:
        """A whole turn, which nobody has heard yet."""
        self.asks(asked)
        self.begins(said)
        assert self.so_far.turn_ends()
        self.reply.completed()

    def on_its_way(self, text: str, secs: float) -> None:
        """The phone has speech that is not played yet."""
        self.playback.sent(round(secs * SECOND_OF_MULAW))
        self.playback.said(text)

    def told(self, *, resumed: bool = True, replays: bool = False) -> Handover:
        """What a connection is told, where no tool runs."""
        return self.so_far.handover(resumed=resumed, replays=replays, tools=[])


# --- another connection --------------------------------------------------------------------------


def test_a_resumed_session_is_told_the_turns_that_no_handle_covers() -> None:
    call = Call()
    call.turn("When do\n you open?", "At nine.")
    (note,) = call.told().notes
    assert "Caller: When do you open?\nYou: At nine." in note
    call.so_far.covered()
    assert call.told() == Handover()


def test_of_many_turns_the_newest_are_told() -> None:
    call = Call()
    for number in range(5):
        call.turn(f"Question {number}?", f"Answer {number}.")
    lately = call.so_far.memory(None, EPOCH).lately
    assert len(lately) == MOST_LATELY
    assert (lately[0], lately[-1]) == ("Caller: Question 2?", "You: Answer 4.")


def test_a_turn_without_words_leaves_nothing() -> None:
    call = Call()
    assert not call.so_far.turn_ends()
    call.reply.sound()
    call.reply.generated()
    assert not call.so_far.turn_ends()
    assert call.told() == Handover()


def test_a_fresh_session_is_told_what_was_heard_and_what_is_on_its_way() -> None:
    call = Call()
    call.conversation.add(SpokenTurn(Speaker.AGENT, "Hello.", 0, 500))
    call.turn("When?", "At nine.")
    call.on_its_way("At nine.", 1.0)
    (note,) = call.told(resumed=False).notes
    assert "You: Hello.\nCaller: When?\nYou: At nine." in note
    (note,) = call.told(resumed=False, replays=True).notes
    assert "You: Hello.\nYou: At nine." in note, "the caller's turn comes as audio"


def test_a_prompt_is_told_again_until_the_model_replies() -> None:
    call = Call()
    call.so_far.prompted("[The caller pressed 1.]")
    assert call.told().prompts == ("[The caller pressed 1.]",)
    call.begins("One it is.")
    call.reply.generated()
    assert call.told().prompts == ()


def test_a_connection_that_serves_has_been_told_the_prompts() -> None:
    call = Call()
    call.so_far.prompted("[The caller pressed 1.]")
    call.so_far.connected()
    assert call.told().prompts == ()


def test_a_reply_that_broke_off_goes_on() -> None:
    call = Call()
    call.asks("When?")
    call.begins("From nine")
    (prompt,) = call.told().prompts
    assert '"When?"' in prompt
    assert '"From nine"' in prompt


def test_hints_come_after_the_other_notes() -> None:
    call = Call()
    call.turn("When?", "At nine.")
    call.so_far.hints.add("Offer tea.")
    (hint,) = call.so_far.hints.take_untold()
    assert call.told().notes[1:] == (hint,)
    call.so_far.covered()
    assert call.told().notes == ()
    assert call.told(resumed=False).notes == (hint,)


# --- another instance ----------------------------------------------------------------------------


def test_a_memory_holds_what_the_caller_is_owed_in_times_of_every_clock() -> None:
    call = Call()
    call.speech.stretches.append(Stretch(7.0, 8.5))
    call.asks("When do  you open?")
    call.so_far.hints.add("Offer tea.")
    memory = call.so_far.memory("handle", EPOCH)
    assert memory == CallMemory(
        handle="handle",
        asked="When do you open?",
        asked_from=EPOCH + 7.0,
        asked_until=EPOCH + 8.5,
        hints=call.so_far.hints.lines,
    )


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_memory_holds_the_speech_on_its_way(goes_on: bool) -> None:
    call = Call()
    call.asks("When?")
    call.begins("From nine to five.")
    call.on_its_way("From nine to five.", 2.0)
    if not goes_on:
        call.reply.generated()
    memory = call.so_far.memory(None, EPOCH)
    assert memory.speech == Speech(
        "From nine to five.", EPOCH + 10.0, EPOCH + 12.0, goes_on=goes_on
    )
    assert memory.asked == "When?"


def test_a_whole_answer_that_no_handle_covers_yet_is_known_to_a_resumed_session() -> None:
    call = Call()
    call.asks("When?")
    call.begins("From nine to five.")
    call.on_its_way("From nine to five.", 2.0)
    assert call.so_far.memory("handle", EPOCH).lately == ()
    call.reply.generated()
    memory = call.so_far.memory("handle", EPOCH)
    told = Call(memory, now=EPOCH + 13.0).so_far.recalled_handover(resumed=True)
    (note,) = told.notes
    assert "Caller: When?\nYou: From nine to five." in note
    assert told.prompts == (CUT_OFF,)


BROKE_OFF = CallMemory(
    handle="handle",
    conversation="Caller: Hi",
    lately=("Caller: Hi",),
    asked="When?",
    speech=Speech("From nine to five.", 100.0, 104.0, goes_on=True),
    hints=("as it was sent",),
)


def test_the_first_session_here_goes_on_where_the_caller_heard_the_other_one_end() -> None:
    call = Call(BROKE_OFF, now=102.5)
    assert call.so_far.is_recalled
    told = call.so_far.recalled_handover(resumed=True)
    assert "Caller: Hi" in told.notes[0]
    assert told.notes[1:] == BROKE_OFF.hints
    (prompt,) = told.prompts
    assert '"When?"' in prompt
    assert '"From nine"' in prompt


def test_a_caller_who_has_heard_the_whole_answer_is_asked_to_go_on() -> None:
    heard = replace(BROKE_OFF, speech=Speech("From nine to five.", 100.0, 104.0))
    told = Call(heard, now=105.0).so_far.recalled_handover(resumed=True)
    assert told.prompts == (CUT_OFF,)


def test_another_instance_is_told_the_same_until_the_agent_speaks_here() -> None:
    call = Call(BROKE_OFF, now=102.0)
    assert call.so_far.memory("newer", EPOCH) == replace(BROKE_OFF, handle="newer", recorded=True)
    call.begins("As I said")
    assert not call.so_far.is_recalled
    memory = call.so_far.memory("newer", EPOCH)
    assert (memory.asked, memory.hints) == ("", BROKE_OFF.hints)


def test_a_call_that_was_moved_in_a_quiet_moment_has_nothing_to_go_on_with() -> None:
    call = Call(CallMemory(lately=("Caller: Hi",), quiet=True))
    assert not call.so_far.is_recalled
    (note,) = call.told().notes
    assert "Caller: Hi" in note
