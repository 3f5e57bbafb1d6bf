"""What every agent of a bench is told and says: plain text, for processes that know no emulator."""

from typing import Any

OUR_NUMBER = "+15550100999"
GREETING = "Hello, this is the practice."
# Gemini's name of a voice.
AGENT_VOICE = "Charon"


def system_prompt(number: str) -> str:
    """What the agent is told; it names the number, by which the model's session is found again."""
    return f"You are the assistant of a medical practice, on the phone with {number}. Be brief."


def call_request(number: str) -> dict[str, Any]:
    """The body of `POST /calls` that has our server call this number."""
    return {
        "phone_number": number,
        "greeting": GREETING,
        "system_prompt": system_prompt(number),
        "voice": AGENT_VOICE,
    }
