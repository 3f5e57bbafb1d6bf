"""The one Gemini client of a process: every call's sessions are opened through it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from google.genai import types

from pipelines.gemini_connection import GeminiConnection
from pipelines.gemini_endpoint import GeminiEndpoint
from pipelines.gemini_setup import Setup
from pipelines.model_socket import OnSpeech, OnWords

# What Pipecat's own service defaults to, too: https://ai.google.dev/gemini-api/docs/models
DEFAULT_MODEL = "models/gemini-3.8-live"


class ModelSession(Protocol):
    """An open session: google-genai's `AsyncSession`, and short ways past it."""

    # Told each message that is nothing but speech, as PCM16 at 24 kHz, in the order that it came.
    on_speech: OnSpeech
    # The same for messages that are nothing but a piece of a transcript.
    on_words: OnWords

    def hear(self, pcm: bytes) -> bool:
        """Send PCM16 at 16 kHz now; False when it has to wait, as `send_realtime_input` does."""
        ...

    async def send_realtime_input(self, **what: Any) -> None:
        """As google-genai has it."""
        ...

    async def remember(self, said: str) -> None:
        """Send what was said before this session; it asks for no answer."""
        ...

    async def send_tool_response(self, **what: Any) -> None:
        """As google-genai has it."""
        ...

    def receive(self) -> AsyncIterator[types.LiveServerMessage]:
        """As google-genai has it, less the messages that are speech or words alone."""
        ...


Connection = AbstractAsyncContextManager[ModelSession]


class ConnectModel(Protocol):
    """Opens sessions of a model."""

    @property
    def model(self) -> str:
        """The model's name."""
        ...

    def connect(self, setup: Setup) -> Connection:
        """Open a session; entering raises when it is refused."""
        ...


class GeminiClient:
    """Opens Gemini Live sessions with one API key, whatever calls they are for."""

    def __init__(self, api_key: str, model: str = DEFAULT_MODEL) -> None:
        self.model = model
        self._endpoint = GeminiEndpoint(api_key)

    def connect(self, setup: Setup) -> Connection:
        """Open a session of the model.

        Raises, on entering: google.genai.errors.APIError with the close code when the setup is
        refused; ValueError when its answer cannot be read; OSError or websockets' exceptions when
        there is no connection.
        """
        return GeminiConnection(self._endpoint, setup.message(_full_name(self.model)))

    async def aclose(self) -> None:
        """Close what the client keeps open."""
        await self._endpoint.aclose()


def _full_name(model: str) -> str:
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
