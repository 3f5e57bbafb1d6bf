"""What is said on every call of the chaos bench.

agent    greeting ....            answer ..........................
caller                 question                                     4 s of silence (hangs up)
"""

import asyncio
from contextlib import suppress
from typing import Any

from server.bench.texts import GREETING
from server.chaos.question import question
from server.emulators.gemini_live import Script
from server.emulators.gemini_live.server_messages import SPEAKS_AT
from server.emulators.speech import speak, voice_for
from server.emulators.twilio import Handset, Person
from server.emulators.twilio.mulaw import RATE

ANSWER = (
    "Please bring your insurance card and a list of the medicines you take and come a quarter of "
    "an hour early because there is a form that you have to fill in"
)
WAITS = "Let me look that up for you."
TOOL = "check_stock"
# A tool's answer or a prompt of ours is answered like the question.
PROMPTS = r"^\[(The connection broke|The caller has spoken|The caller could not|You had called)"
SPOKEN_AS = voice_for("en-US", "m3")

GREETED_WITHIN_SECS = 9.0
ANSWERED_WITHIN_SECS = 24.0
# No system is silent for so long, and then goes on.
OVER_AFTER_SECS = 4.0
BEFORE_QUESTION_SECS = 0.8


def script(*, with_tool: bool = False, rules: tuple[dict[str, Any], ...] = ()) -> Script:
    """What the model does: `rules` come before the usual ones."""
    answer: dict[str, Any] = {"hears": "*", "say": ANSWER}
    if with_tool:
        steps = [{"say": WAITS}, {"call": {"name": TOOL, "args": {"article": "tea"}}}]
        answer = {"hears": "*", "do": steps}
    usual = [answer, {"tool_result": TOOL, "say": ANSWER}, {"text_matches": PROMPTS, "say": ANSWER}]
    return Script.parse({"language": "en-US", "rules": [*rules, *usual]})


def answer_secs() -> float:
    """How long the answer is."""
    return len(speak(ANSWER, voice=SPOKEN_AS, rate=SPEAKS_AT)) / 2 / SPEAKS_AT


def rehearse() -> None:
    """Have every sentence synthesised, so that no call waits for a voice."""
    for text in (GREETING, ANSWER, WAITS):
        speak(text, voice=SPOKEN_AS, rate=SPEAKS_AT)


async def _talk(phone: Handset) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(GREETED_WITHIN_SECS):
            await phone.listen_until_silence(BEFORE_QUESTION_SECS)
    await phone.play(question(RATE), RATE, text="question")
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWERED_WITHIN_SECS):
            await phone.listen_until_silence(OVER_AFTER_SECS)
    phone.hang_up()


CALLER = Person(_talk)
