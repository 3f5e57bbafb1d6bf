"""The one Gemini client of a process: every call's sessions are opened through it."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from google import genai
from google.genai import types
from google.genai.live import AsyncSession

# What Pipecat's own service defaults to, too: https://ai.google.dev/gemini-api/docs/models
DEFAULT_MODEL = "models/gemini-3.8-live"

# Gemini's pongs were seen to take 8 to 30 s; the websockets default of 20 s drops live calls.
PING_EVERY_SECS = 20.0
PONG_WITHIN_SECS = 60.0


class ConnectModel(Protocol):
    """Opens sessions of a model."""

    @property
    def model(self) -> str:
        """The model's name."""
        ...

    def connect(self, config: types.LiveConnectConfig) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session; entering raises when it is refused."""
        ...


class GeminiClient:
    """Opens Gemini Live sessions with one shared `genai.Client`.

    The SDK itself reads GOOGLE_GEMINI_BASE_URL; TLS trusts SSL_CERT_FILE as Python does.
    """

    def __init__(self, api_key: str, model: str = DEFAULT_MODEL) -> None:
        self.model = model
        keep_alive: dict[str, Any] = {
            "ping_interval": PING_EVERY_SECS,
            "ping_timeout": PONG_WITHIN_SECS,
        }
        self._client = genai.Client(
            api_key=api_key, http_options=types.HttpOptions(async_client_args=keep_alive)
        )

    def connect(self, config: types.LiveConnectConfig) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session of the model.

        Raises, on entering: google.genai.errors.APIError with the close code when the setup is
        refused; OSError or websockets' exceptions when there is no connection.
        """
        return self._client.aio.live.connect(model=self.model, config=config)

    async def aclose(self) -> None:
        """Close what the client keeps open."""
        await self._client.aio.aclose()
