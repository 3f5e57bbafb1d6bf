"""The one Gemini client of a process: every call's sessions are opened through it."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol
from urllib.request import getproxies

from google import genai
from google.genai import types
from google.genai.live import AsyncSession

from pipelines.model_socket import ModelSocket, OnSpeech, OnWords, sockets_opened

# What Pipecat's own service defaults to, too: https://ai.google.dev/gemini-api/docs/models
DEFAULT_MODEL = "models/gemini-3.8-live"

# Gemini's pongs were seen to take 8 to 30 s; the websockets default of 20 s drops live calls.
PING_EVERY_SECS = 20.0
PONG_WITHIN_SECS = 60.0


class ModelSession(Protocol):
    """An open session: google-genai's `AsyncSession`, and a short way for sound."""

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

    async def send_client_content(self, **what: Any) -> None:
        """As google-genai has it."""
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

    def connect(self, config: types.LiveConnectConfig) -> Connection:
        """Open a session; entering raises when it is refused."""
        ...


class GeminiClient:
    """Opens Gemini Live sessions with one shared `genai.Client`.

    The SDK itself reads GOOGLE_GEMINI_BASE_URL; TLS trusts SSL_CERT_FILE as Python does. A proxy is
    found as websockets finds it: https://websockets.readthedocs.io/en/stable/topics/proxies.html
    """

    def __init__(self, api_key: str, model: str = DEFAULT_MODEL) -> None:
        self.model = model
        # What websockets is told of each connection.
        options: dict[str, Any] = {
            "create_connection": ModelSocket,
            "ping_interval": PING_EVERY_SECS,
            "ping_timeout": PONG_WITHIN_SECS,
            # Deflating base64 costs more than sending it.
            "compression": None,
        }
        if not getproxies().keys() - {"no"}:
            # Or websockets would look for one in the whole environment at each connection.
            options["proxy"] = None
        self._client = genai.Client(
            api_key=api_key, http_options=types.HttpOptions(async_client_args=options)
        )

    def connect(self, config: types.LiveConnectConfig) -> Connection:
        """Open a session of the model.

        Raises, on entering: google.genai.errors.APIError with the close code when the setup is
        refused; OSError or websockets' exceptions when there is no connection.
        """
        return _Connection(self._client.aio.live.connect(model=self.model, config=config))

    async def aclose(self) -> None:
        """Close what the client keeps open."""
        await self._client.aio.aclose()


_Sends = Callable[..., Coroutine[Any, Any, None]]


class _Session:
    """`ModelSession` of google-genai's session and the socket that it is open over."""

    def __init__(self, session: AsyncSession, socket: ModelSocket) -> None:
        self._socket = socket
        self.hear = socket.hear
        self.send_realtime_input: _Sends = session.send_realtime_input
        self.send_client_content: _Sends = session.send_client_content
        self.send_tool_response: _Sends = session.send_tool_response
        self.receive = session.receive

    @property
    def on_speech(self) -> OnSpeech:
        """Told each message that is nothing but speech."""
        return self._socket.on_speech

    @on_speech.setter
    def on_speech(self, told: OnSpeech) -> None:
        self._socket.on_speech = told

    @property
    def on_words(self) -> OnWords:
        """Told each message that is nothing but a piece of a transcript."""
        return self._socket.on_words

    @on_words.setter
    def on_words(self, told: OnWords) -> None:
        self._socket.on_words = told


class _Connection(AbstractAsyncContextManager[ModelSession]):
    """A connection of google-genai's; may be left by another task than entered it."""

    def __init__(self, connection: AbstractAsyncContextManager[AsyncSession]) -> None:
        self._connection = connection
        self._sockets: list[ModelSocket] = []

    async def __aenter__(self) -> ModelSession:
        with sockets_opened() as self._sockets:
            try:
                session = await self._connection.__aenter__()
            except BaseException:
                self._let_go()
                raise
        return _Session(session, self._sockets[-1])

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._connection.__aexit__(kind, error, traceback)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        for socket in self._sockets:
            socket.let_go()
        self._sockets.clear()
