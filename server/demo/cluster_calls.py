"""Calls of the cluster demo: what people say, what the model answers, what was heard of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.emulators.twilio import EmulatedCall, Handset

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
# What whoever goes on says, by where the call stood.
GO_ON = "As I was saying, just ask for me at the desk."
ANSWER = "I have it now: just ask for me at the desk."
CUT_OFF = "We were cut off for a moment. Please go on."
LONGEST_SILENCE_SECS = 3.0
# A frozen instance is noticed when its leases have run out.
LONGEST_FROZEN_SECS = 16.0

SCRIPT: dict[str, Any] = {
    "language": "en-US",
    "not_understood": "I did not get that.",
    "rules": [
        *({"hears": asked, "say": say} for asked, say in zip(QUESTIONS, ANSWERS, strict=True)),
        {"hears": THANKS, "do": [{"say": GOODBYE}, {"call": {"name": "hang_up"}}]},
        {"text_matches": "broke while you were", "say": GO_ON},
        {"text_matches": "broke before you could answer", "say": ANSWER},
        {"text_matches": "line was interrupted", "say": CUT_OFF},
    ],
}


async def guest(phone: Handset) -> None:
    """Asks one question after the other, and takes leave."""
    await phone.listen_until_silence()
    for question in QUESTIONS:
        await phone.say(question)
        await phone.listen_until_silence()
    await phone.say(THANKS)
    await phone.until_hung_up()


@dataclass(frozen=True, slots=True)
class Heard:
    """One call as its caller heard it; `struck` is what happened to its instance."""

    number: str
    struck: str
    streams: int
    silence_secs: float
    # From the loss of a stream to the agent's next sound, the longest; None: none was lost.
    back_secs: float | None
    greetings: int
    outcome: str

    @property
    def problem(self) -> str | None:
        """Why the call counts as lost, or broken; None when it does not."""
        if self.outcome != "completed (agent)":
            return f"ended {self.outcome}"
        if self.greetings != 1:
            return f"was greeted {self.greetings} times"
        is_frozen = "frozen" in self.struck
        if self.silence_secs > (LONGEST_FROZEN_SECS if is_frozen else LONGEST_SILENCE_SECS):
            return f"was silent for {self.silence_secs:.1f} s"
        return None


def heard(call: EmulatedCall, result: dict[str, Any], struck: str) -> Heard:
    """What the caller heard, from the emulated telephone, and the outcome, from the record."""
    return Heard(
        number=call.order.to,
        struck=struck,
        streams=len(call.record.all("stream.started")),
        silence_secs=_longest_silence([*call.record.agent_speech(), *call.record.caller_speech()]),
        back_secs=_back_after(call),
        greetings=sum(turn["text"] == GREETING for turn in result["turns"]),
        outcome=f"{result['status']} ({result['end_reason']})",
    )


def _back_after(call: EmulatedCall) -> float | None:
    record = call.record
    starts = [span.start_secs for span in record.agent_speech(pause_secs=0.1)]
    lost = [record.secs(moment) for moment in record.all("stream.stopped")[:-1]]
    back = [next((s - at for s in starts if s > at), float("inf")) for at in lost]
    return max(back, default=None)


def _longest_silence(spans: Sequence[Any]) -> float:
    longest, until = 0.0, None
    for span in sorted(spans, key=lambda span: span.start_secs):
        if until is not None:
            longest = max(longest, span.start_secs - until)
        until = max(until or 0.0, span.end_secs)
    return longest
