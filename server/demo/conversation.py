"""Script of the demo: the person's side, and the model's answers.

agent    greeting ........      bring your card, and then ....X     noted ...    goodbye
person             what to bring?                    barges in ..      thank you
tools                                                      move_appointment   hang_up
"""

from typing import Any

from server.emulators.twilio import Handset

METADATA = {"name": "Ms Lee", "appointment": "Tuesday at ten"}

QUESTION = "What should I bring with me?"
BARGE_IN = "Sorry, can I come on Friday instead?"
THANKS = "Thank you, goodbye."

NOTED = "That is noted. We will call you back."
GOODBYE = "Thank you. Goodbye, Ms Lee."

# The answer that is interrupted: far longer than the person has patience for.
LONG_ANSWER = (
    "Please bring your insurance card and a list of the medicines you take. "
    "If you have been to another doctor this year, bring the letters you were given, "
    "and come a quarter of an hour early, because there is a form to fill in."
)

# What may be heard of the agent when its goodbye is looked for.
SAID = [NOTED, GOODBYE, LONG_ANSWER]

SCRIPT: dict[str, Any] = {
    "language": "en-US",
    "rules": [
        {"hears": QUESTION, "say": LONG_ANSWER},
        {
            "hears": BARGE_IN,
            "call": {"name": "move_appointment", "args": {"wish": "Friday"}},
        },
        {
            "tool_result": "move_appointment",
            "say": NOTED,
        },
        {
            "hears": THANKS,
            "do": [{"say": GOODBYE}, {"call": {"name": "hang_up"}}],
        },
    ],
}


async def person(phone: Handset) -> None:
    """Ms Lee, on the phone."""
    await phone.listen_until_silence()
    await phone.say(QUESTION)
    await phone.hears_speech()
    await phone.pause(1.5)
    await phone.say(BARGE_IN)
    await phone.listen_until_silence()
    await phone.say(THANKS)
    await phone.until_hung_up()
