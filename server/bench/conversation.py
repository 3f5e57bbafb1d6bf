"""What happens on every call of a bench, so that all systems are asked for the same.

agent    greeting ....        answer ........X            goodbye ...
caller                 question        barges in ....                 (hangs up)
"""

from server.bench.texts import GREETING
from server.emulators.gemini_live import Script
from server.emulators.gemini_live.server_messages import SPEAKS_AT
from server.emulators.speech import speak, voice_for
from server.emulators.twilio import Handset, Person
from server.emulators.twilio.mulaw import RATE

QUESTION = "What should I bring with me?"
ANSWER = (
    "Please bring your insurance card and a list of the medicines you take and come a quarter of "
    "an hour early because there is a form that you have to fill in"
)
BARGE_IN = "Sorry, I have to go now."
GOODBYE = "Thank you, goodbye."

CALLER_VOICE = "en-us+f3"
# How the emulated model speaks with the agent's voice.
SPOKEN_AS = voice_for("en-US", "m3")

# No sentence has a pause as long as this.
SILENCE_SECS = 0.5
# From the first word of the answer until the caller barges in.
PATIENCE_SECS = 1.0

# The model answers whatever it hears: recognising words would take time from what is measured.
SCRIPT = Script.parse(
    {
        "language": "en-US",
        "rules": [{"hears": "*", "say": ANSWER, "times": 1}, {"hears": "*", "say": GOODBYE}],
    }
)


async def _talk(phone: Handset) -> None:
    await phone.listen_until_silence(SILENCE_SECS)
    await phone.say(QUESTION)
    await phone.hears_speech()
    await phone.pause(PATIENCE_SECS)
    await phone.say(BARGE_IN)
    await phone.listen_until_silence(SILENCE_SECS)
    phone.hang_up()


CALLER = Person(_talk, voice=CALLER_VOICE)


def rehearse() -> None:
    """Have every sentence synthesised, so that no call waits for a voice."""
    for text in (QUESTION, BARGE_IN):
        speak(text, voice=CALLER_VOICE, rate=RATE)
    for text in (GREETING, ANSWER, GOODBYE):
        speak(text, voice=SPOKEN_AS, rate=SPEAKS_AT)
