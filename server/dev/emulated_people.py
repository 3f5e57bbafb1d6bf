"""People on the emulated phone: one who says given sentences, and one who plays a recording."""

from collections.abc import Sequence
from pathlib import Path

from server.emulators.twilio import Person
from server.emulators.twilio.person import Action, HangUp, Play, Say, WaitForAgent
from server.emulators.twilio.sound import read_wav

# An agent that looks something up is quiet between its sentences.
QUIET_SECS = 1.2


def who_says(sentences: Sequence[str]) -> Person:
    """Says each when the agent was heard to its end, hears the last answer, and hangs up."""
    return _in_turns([Say(sentence) for sentence in sentences])


def who_plays(recording: Path) -> Person:
    """Plays a WAV once the agent was heard to its end, hears the answer, and hangs up.

    Raises: ValueError for another kind of file, OSError.
    """
    read_wav(recording)
    return _in_turns([Play(recording)])


def _in_turns(actions: Sequence[Action]) -> Person:
    listen = WaitForAgent("end", QUIET_SECS)
    turns = [step for action in actions for step in (listen, action)]
    return Person([*turns, listen, HangUp()])
