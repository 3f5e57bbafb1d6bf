"""Calls of the cluster demo: what people say, and what the model answers."""

import re
from dataclasses import replace

from server.emulators.gemini_live import Script
from server.emulators.gemini_live.rules import Rule, TextMatches
from server.emulators.gemini_live.steps import Call, FunctionCall, Say, Step
from server.emulators.twilio import Handset

GREETING = "Good day, this is the hotel."
QUESTIONS = ("When is breakfast?", "Where can I park?", "May I bring my dog?", "Is there a pool?")
ANSWERS = (
    "Breakfast is from half past six to eleven, in the garden room on the ground floor.",
    "You can park behind the house, which costs ten a night, or in the street for nothing.",
    "Your dog is welcome. We ask you to keep it out of the garden room, and off the beds.",
    "There is a pool on the roof, which is open from May until the end of September.",
)
THANKS = "Thank you, goodbye."
GOODBYE = "Thank you for calling. Goodbye."
# A guest who hears a sentence break off waits before asking on.
PATIENCE_SECS = 1.5
SENTENCES = (GREETING, *ANSWERS, GOODBYE)
# What whoever goes on says where there is nothing to go on with.
GO_ON = "That is all I can say of it."
CUT_OFF = "We were cut off for a moment. Please go on."
HANG_UP = Call((FunctionCall("hang_up"),))


class GoesOn(Rule):
    """The model goes on with a sentence that broke off, from the word to which it was heard."""

    _ASKED = re.compile(r'The caller had said: "(.*?)"\.')
    _HEARD = re.compile(r'heard it: "(.*?)"\. Go on')

    def for_text(self, text: str) -> tuple[Step, ...] | None:
        """The rest of the sentence, or the answer of which nothing was heard."""
        asked, heard = self._ASKED.search(text), self._HEARD.search(text)
        if heard is not None and (rest := rest_of(heard.group(1))) is not None:
            said, sentence = rest
            return (Say(said), HANG_UP) if sentence == GOODBYE else (Say(said),)
        if asked is not None and asked.group(1) in QUESTIONS:
            return (Say(ANSWERS[QUESTIONS.index(asked.group(1))]),)
        return None


def rest_of(heard: str) -> tuple[str, str] | None:
    """The rest of the sentence that was heard so far, and the sentence; None: there is no rest."""
    so_far = heard.split()
    for sentence in SENTENCES:
        words = sentence.split()
        for start in range(len(words) - len(so_far)):
            end = start + len(so_far)
            if so_far and words[start:end] == so_far:
                return " ".join(words[end:]), sentence
    return None


_WORDS = Script.parse(
    {
        "language": "en-US",
        "not_understood": "I did not get that.",
        "rules": [
            *({"hears": asked, "say": say} for asked, say in zip(QUESTIONS, ANSWERS, strict=True)),
            {"hears": THANKS, "do": [{"say": GOODBYE}, {"call": {"name": "hang_up"}}]},
            {"text_matches": "connection broke", "say": GO_ON},
            {"text_matches": "line was interrupted", "say": CUT_OFF},
        ],
    }
)
HOTEL = replace(_WORDS, rules=(GoesOn(TextMatches(re.compile("broke")), ()), *_WORDS.rules))


def prompt_for(number: int) -> str:
    """The system prompt of the n-th call: it says in a session's set-up whose session it is."""
    return f"You are at a hotel's desk, and speak with guest {number:04d}."


async def guest(phone: Handset) -> None:
    """Asks one question after the other, and takes leave."""
    await phone.listen_until_silence(PATIENCE_SECS)
    for question in QUESTIONS:
        await phone.say(question)
        await phone.listen_until_silence(PATIENCE_SECS)
    await phone.say(THANKS)
    await phone.until_hung_up()
