"""ModelStep: what a `GeminiSession` tells, and asks, the step of the call that it works for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from google.genai import types

from pipelines.gemini.messages import Words
from pipelines.gemini.send_queue import Send


@dataclass(frozen=True, slots=True)
class Briefing:
    """What a connection is sent before the caller's audio, and after it."""

    first: Sequence[Send] = ()
    then: Sequence[Send] = ()


class ModelStep(Protocol):
    """Takes what the connection that serves says, and knows where the conversation stands."""

    async def take_speech(self, pcm: bytes) -> None:
        """A message that is nothing but speech: PCM16 at 24 kHz."""
        ...

    async def take_words(self, words: Words) -> None:
        """A message that is nothing but a piece of a transcript."""
        ...

    async def take_message(self, message: types.LiveServerMessage) -> None:
        """Any other message. All three are called in the order that the messages came."""
        ...

    def brief(self, resumed: bool, replays: bool) -> Briefing:
        """What a connection is told: whether it resumes, and whether the audio comes again."""
        ...

    async def connected(self) -> None:
        """A connection takes over, and serves from now on."""
        ...

    def covered(self) -> None:
        """A handle covers all that was said so far."""
        ...

    def is_quiet(self) -> bool:
        """Whether neither side speaks, and nothing is owed: a hand-over is not noticed."""
        ...

    def is_answering(self) -> bool:
        """Whether an answer was begun, and is unfinished."""
        ...
