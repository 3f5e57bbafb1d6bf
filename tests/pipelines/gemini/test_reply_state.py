"""Where the model's reply stands: what happens goes in, frames come out."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import (
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from pipelines.gemini.reply_state import Phase, ReplyState
from processors.frames import LateTextFrame

NAMES = {
    LLMFullResponseStartFrame: "begin",
    LLMFullResponseEndFrame: "end",
    TTSStartedFrame: "sound",
    TTSStoppedFrame: "silence",
}


def told(frames: Iterable[Frame]) -> list[str]:
    """Frames in short: words as they are, late ones in brackets."""
    short = []
    for frame in frames:
        if isinstance(frame, LateTextFrame):
            short.append(f"({frame.text})")
        elif isinstance(frame, TTSTextFrame):
            short.append(frame.text)
        else:
            short.append(NAMES[type(frame)])
    return short


def test_a_reply_begins_sounds_and_ends() -> None:
    reply = ReplyState()
    assert told(reply.sound()) == ["begin", "sound"]
    assert told(reply.words("Good ")) == ["Good "]
    assert told(reply.sound()) == []
    assert told(reply.words("morning.")) == ["morning."]
    assert reply.text == "Good morning."
    assert told(reply.generated()) == ["silence"]
    assert reply.is_replying
    assert told(reply.completed()) == ["end"]
    assert not reply.is_replying


def test_a_turn_that_ends_while_it_sounds_ends_the_sound_first() -> None:
    reply = ReplyState()
    reply.sound()
    assert told(reply.completed()) == ["silence", "end"]
    assert told(reply.completed()) == ["end"]


def test_words_carry_their_own_spaces() -> None:
    _, words = ReplyState().words("Hi")
    assert isinstance(words, TTSTextFrame)
    assert words.includes_inter_frame_spaces


def test_words_after_a_turn_are_its_own_when_no_sound_follows() -> None:
    reply = ReplyState()
    reply.sound()
    reply.completed()
    assert told(reply.words("Bye ")) == told(reply.words("now.")) == []
    assert reply.has_late_words
    assert told(reply.settle()) == ["(Bye now.)"]
    assert not reply.has_late_words
    assert reply.settle() == []


def test_words_after_a_turn_are_the_next_ones_when_sound_follows() -> None:
    reply = ReplyState()
    reply.sound()
    reply.completed()
    reply.words("And ")
    assert told(reply.sound()) == ["begin", "And ", "sound"]
    reply.words("so on.")
    assert reply.text == "And so on."


def test_the_caller_settles_late_words_and_the_next_words_begin_a_reply() -> None:
    reply = ReplyState()
    reply.sound()
    reply.completed()
    reply.words("Bye.")
    assert told(reply.caller_said("Wait!")) == ["(Bye.)"]
    assert told(reply.words("Yes?")) == ["begin", "Yes?"]


def test_words_after_a_prompt_begin_a_reply() -> None:
    reply = ReplyState()
    reply.completed()
    reply.prompted()
    assert told(reply.words("Yes?")) == ["begin", "Yes?"]
    reply.prompted()
    assert reply.is_replying, "a prompt ends no reply"


def test_an_interruption_ends_the_reply_and_drops_late_words() -> None:
    reply = ReplyState()
    reply.sound()
    reply.completed()
    reply.words("Bye.")
    reply.interrupted()
    assert not reply.has_late_words
    assert told(reply.sound()) == ["begin", "sound"]
    reply.interrupted()
    assert told(reply.words("So")) == ["begin", "So"]


# --- another session takes over ---


def test_a_reply_that_broke_off_is_unfinished_until_another_session_begins_one() -> None:
    reply = ReplyState()
    reply.caller_said("When do you open?")
    reply.sound()
    reply.words(" We are open ")
    assert told(reply.reconnected()) == ["silence", "end"]
    assert reply.phase is Phase.QUIET
    assert (reply.is_unfinished, reply.asked) == (True, "When do you open?")
    assert reply.unfinished == "We are open"
    reply.words("from nine")
    assert (reply.asked, reply.unfinished) == ("When do you open?", "We are open from nine")
    reply.reconnected()
    assert reply.unfinished == "We are open from nine"


def test_a_reply_that_was_made_whole_is_only_ended() -> None:
    reply = ReplyState()
    reply.sound()
    reply.generated()
    assert told(reply.reconnected()) == ["end"]
    assert not reply.is_unfinished


def test_a_reply_of_which_nothing_was_heard_is_unfinished_too() -> None:
    reply = ReplyState()
    reply.words("We are")
    assert told(reply.reconnected()) == ["end"]
    assert reply.is_unfinished
    assert not reply.has_spoken


def test_an_interruption_ends_what_was_unfinished() -> None:
    reply = ReplyState()
    reply.sound()
    reply.reconnected()
    reply.interrupted()
    assert not reply.is_unfinished


def test_what_the_caller_said_last_is_unanswered() -> None:
    reply = ReplyState()
    reply.caller_said("When do ")
    reply.caller_said("you open?")
    assert told(reply.reconnected()) == []
    assert reply.unanswered == "When do you open?"


def test_words_that_come_again_replace_those_that_came() -> None:
    reply = ReplyState()
    reply.caller_said("When do ")
    reply.heard_again()
    reply.caller_said("When do you ")
    reply.caller_said("open?")
    assert reply.unanswered == "When do you open?"


def test_what_was_answered_or_said_into_a_reply_is_not_unanswered() -> None:
    reply = ReplyState()
    reply.caller_said("When do you open?")
    reply.sound()
    reply.caller_said("Hello?")
    reply.completed()
    assert reply.reconnected() == []
    assert reply.unanswered == ""


def test_late_words_are_settled_before_another_session_takes_over() -> None:
    reply = ReplyState()
    reply.completed()
    reply.words("Bye.")
    assert told(reply.reconnected()) == ["(Bye.)"]
    assert told(reply.words("Hi")) == ["begin", "Hi"]


STEPS = {
    "sound": lambda reply: reply.sound(),
    "words": lambda reply: reply.words("w"),
    "caller": lambda reply: reply.caller_said("c"),
    "prompted": lambda reply: reply.prompted() or [],
    "settle": lambda reply: reply.settle(),
    "interrupted": lambda reply: ["cut"] if reply.interrupted() is None else [],
    "generated": lambda reply: reply.generated(),
    "completed": lambda reply: reply.completed(),
    "reconnected": lambda reply: reply.reconnected(),
}


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=40))
def test_sound_is_within_replies_and_no_reply_within_another(steps: list[str]) -> None:
    reply, open_frames = ReplyState(), []
    for step in steps:
        for frame in STEPS[step](reply):
            match frame:
                case "cut":
                    open_frames.clear()
                case LLMFullResponseStartFrame():
                    assert open_frames == []
                    open_frames.append("reply")
                case TTSStartedFrame():
                    assert open_frames == ["reply"]
                    open_frames.append("sound")
                case TTSStoppedFrame():
                    assert open_frames.pop() == "sound"
                case LLMFullResponseEndFrame():
                    assert open_frames in ([], ["reply"])
                    open_frames.clear()
        assert reply.is_replying == bool(open_frames)
        assert (reply.phase is Phase.SOUNDING) == (open_frames == ["reply", "sound"])
