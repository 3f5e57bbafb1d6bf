"""Messages to the model, each as the function that sends it over a session."""

from collections.abc import Callable

from google.genai import types

from pipelines.gemini.audio_socket import AUDIO_TYPE
from pipelines.gemini.client import ModelSession
from pipelines.gemini.send_queue import Send


def text(words: str, *, sent: Callable[[str], None] | None = None) -> Send:
    """A line that makes the model speak; `sent` is called with it after it was sent."""

    async def send(session: ModelSession) -> None:
        await session.send_realtime_input(text=words)
        if sent is not None:
            sent(words)

    return send


def note(words: str) -> Send:
    """A line for the model to know, which nobody answers; it interrupts what is generated."""
    turn = types.UserContent(words)
    return lambda session: session.send_client_content(turns=turn, turn_complete=False)


def audio(pcm: bytes) -> Send:
    """A packet of the caller's sound: PCM16 at 16 kHz."""

    async def send(session: ModelSession) -> None:
        await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type=AUDIO_TYPE))

    return send


def activity(*, starts: bool) -> Send:
    """The caller begins, or ends: for a model that does not detect speech itself."""
    if starts:
        return lambda session: session.send_realtime_input(activity_start=types.ActivityStart())
    return lambda session: session.send_realtime_input(activity_end=types.ActivityEnd())
