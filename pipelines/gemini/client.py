"""Opens Gemini Live sessions: one `genai.Client` for all calls of a process."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from google import genai
from google.genai import types
from google.genai.live import AsyncSession

from agent.loop_load import LoopLoad
from pipelines.gemini.audio_socket import AudioSocket, OnSpeech, OnWords
from pipelines.gemini.server_message import LeftOut, read_message
from pipelines.recording.tape import TAPE

# Pipecat's own service has the same default: https://ai.google.dev/gemini-api/docs/models
DEFAULT_MODEL = "models/gemini-3.8-live"

# Gemini's pongs were seen to take 8 to 30 s; the websockets default of 20 s drops live calls.
PING_EVERY_SECS = 20.0
PONG_WITHIN_SECS = 60.0
# A peer that is gone would hold up the next attempt for 10 s by the websockets default.
CLOSED_WITHIN_SECS = 1.0
# A larger message closes the session; the websockets default is 1 MiB, 16 s of speech.
MOST_MESSAGE_BYTES = 16 * 1024 * 1024


class ModelSession(Protocol):
    """An open session: google-genai's `AsyncSession`, with a fast path for audio and words."""

    def listen(self, on_speech: OnSpeech, on_words: OnWords) -> None:
        """Call these for messages that hold only speech (PCM16, 24 kHz) or transcript.

        They are called in the order received, while `receive` is iterated.
        """
        ...

    def hear(self, pcm: bytes) -> bool:
        """Send PCM16 at 16 kHz now, or with the next packets when the loop is busy.

        False when it has to wait: use `send_realtime_input` then.
        """
        ...

    def when_sent(self, tell: Callable[[], None]) -> None:
        """Call `tell` once everything that was heard is sent: now, if nothing waits."""
        ...

    def flush(self) -> None:
        """Send what waits for other packets."""
        ...

    async def send_realtime_input(self, **what: Any) -> None:
        """As in google-genai."""
        ...

    async def send_client_content(self, **what: Any) -> None:
        """As in google-genai."""
        ...

    async def send_tool_response(self, **what: Any) -> None:
        """As in google-genai."""
        ...

    def receive(self) -> AsyncIterator[types.LiveServerMessage | LeftOut]:
        """The messages that do not go to `listen`, and what is not known of them.

        It ends with a turn, as google-genai's does; iterate again for the next one.

        Raises: websockets' ConnectionClosed when the session is over.
        """
        ...


Connection = AbstractAsyncContextManager[ModelSession]


class ConnectModel(Protocol):
    """Opens sessions of a model."""

    @property
    def model(self) -> str:
        """The model's name."""
        ...

    @property
    def secrets(self) -> Sequence[str]:
        """What a refusal may quote and a log must not: the API key."""
        ...

    def connect(self, config: types.LiveConnectConfig) -> Connection:
        """Open a session; entering raises when Gemini refuses it."""
        ...


class GeminiClient:
    """Opens sessions with one API key; the SDK reads GOOGLE_GEMINI_BASE_URL and SSL_CERT_FILE.

    A proxy is found as websockets finds it:
    https://websockets.readthedocs.io/en/stable/topics/proxies.html
    """

    def __init__(
        self, api_key: str, model: str = DEFAULT_MODEL, load: LoopLoad | None = None
    ) -> None:
        """`load`: of the loop that the sessions are used on; None: packets are never joined."""
        self.model = model
        self._load = load
        self.secrets: Sequence[str] = (api_key,)
        # The SDK passes these on to websockets' `connect`.
        options = {
            "create_connection": _make_socket,
            "ping_interval": PING_EVERY_SECS,
            "ping_timeout": PONG_WITHIN_SECS,
            "close_timeout": CLOSED_WITHIN_SECS,
            "max_size": MOST_MESSAGE_BYTES,
            # Compressing base64 costs more than sending it.
            "compression": None,
        }
        self._client = genai.Client(
            api_key=api_key,
            vertexai=False,  # whatever the environment says
            http_options=types.HttpOptions(async_client_args=options),
        )

    @asynccontextmanager
    async def connect(self, config: types.LiveConnectConfig) -> AsyncIterator[ModelSession]:
        """Open a session of the model; another task than the one that entered may leave it.

        Raises, on entering: google.genai.errors.APIError with the close code when the setup is
        refused; ValueError or AttributeError when its answer cannot be read; OSError or
        websockets' exceptions when there is no connection.
        """
        made: list[AudioSocket] = []
        _made.set(made)
        try:
            async with self._client.aio.live.connect(model=self.model, config=config) as session:
                if self._load is not None:
                    made[-1].join_packets(self._load)
                yield _OpenSession(session, made[-1])
        finally:
            for socket in made:
                socket.drop_transport()
            made.clear()

    async def aclose(self) -> None:
        """Close what the client keeps open."""
        await self._client.aio.aclose()


# The sockets that this task opens; a redirect makes more than one.
_made: ContextVar[list[AudioSocket]] = ContextVar("made_sockets")


def _make_socket(*args: Any, **kwargs: Any) -> AudioSocket:
    socket = AudioSocket(*args, **kwargs)
    socket.tape_on(TAPE.get())
    _made.get().append(socket)
    return socket


_Sends = Callable[..., Coroutine[Any, Any, None]]


class _OpenSession:
    """`ModelSession` made of google-genai's session and its socket."""

    def __init__(self, session: AsyncSession, socket: AudioSocket) -> None:
        self.listen = socket.listen
        self.hear = socket.hear
        self.when_sent = socket.when_sent
        self.flush = socket.flush
        self.send_realtime_input: _Sends = session.send_realtime_input
        self.send_client_content: _Sends = session.send_client_content
        self.send_tool_response: _Sends = session.send_tool_response
        self._socket = socket

    async def receive(self) -> AsyncIterator[types.LiveServerMessage | LeftOut]:
        # The SDK's own `receive` raises for a message that it does not know.
        while True:
            for read in read_message(await self._socket.recv(decode=False)):
                yield read
                if isinstance(read, LeftOut) or read.server_content is None:
                    continue
                if read.server_content.turn_complete:
                    return
