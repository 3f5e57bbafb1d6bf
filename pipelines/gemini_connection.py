"""One connection to Gemini Live: opened, set up, handed out as a session, and let go of.

Until it is set up google-genai has no part in it, and from then on the session is the SDK's:
docs/decisions/0010-a-session-is-set-up-by-hand.md.

    socket ─▶ setup ─▶ answer ─▶ session
      └─────────┴────────┴─ refused, cancelled ─▶ closed, let go of
"""

import json
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from google.genai.errors import APIError
from google.genai.live import AsyncSession
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from pipelines.gemini_endpoint import GeminiEndpoint
from pipelines.model_socket import ModelSocket, OnSpeech, OnWords

# Gemini's pongs were seen to take 8 to 30 s; the websockets default of 20 s drops live calls.
PING_EVERY_SECS = 20.0
PONG_WITHIN_SECS = 60.0
# One that answers no more would hold up the next attempt for 10 s by the websockets default.
CLOSED_WITHIN_SECS = 1.0

_GOOD_END, _BAD_END = CloseCode.NORMAL_CLOSURE, CloseCode.INTERNAL_ERROR

_Sends = Callable[..., Coroutine[Any, Any, None]]


class OpenSession:
    """google-genai's session and the socket that it is open over, as one `ModelSession`."""

    def __init__(self, session: AsyncSession, socket: ModelSocket) -> None:
        self._socket = socket
        self.hear = socket.hear
        self.send_realtime_input: _Sends = session.send_realtime_input
        self.remember = socket.remember
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


class GeminiConnection(AbstractAsyncContextManager[OpenSession]):
    """A connection; may be left by another task than entered it."""

    def __init__(self, endpoint: GeminiEndpoint, setup: str) -> None:
        """`setup` is the first message."""
        self._endpoint = endpoint
        self._setup = setup
        self._socket: ModelSocket | None = None
        # All that were made: a redirect, or a refused handshake, leaves some behind.
        self._made: list[ModelSocket] = []

    async def __aenter__(self) -> OpenSession:
        try:
            socket = self._socket = await self._open()
            await _set_up(socket, self._setup)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return OpenSession(self._endpoint.session(socket), socket)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        socket, self._socket = self._socket, None
        try:
            if socket is not None:
                await socket.close(_GOOD_END if error is None else _BAD_END)
        finally:
            for made in self._made:
                made.let_go()
            self._made.clear()

    async def _open(self) -> ModelSocket:
        await connect(
            self._endpoint.uri,
            additional_headers=self._endpoint.headers,
            ssl=self._endpoint.tls,
            proxy=self._endpoint.proxy,
            create_connection=self._make,  # type: ignore[arg-type]
            ping_interval=PING_EVERY_SECS,
            ping_timeout=PONG_WITHIN_SECS,
            close_timeout=CLOSED_WITHIN_SECS,
            # Deflating base64 costs more than sending it.
            compression=None,
        )
        return self._made[-1]

    def _make(self, *args: Any, **kwargs: Any) -> ModelSocket:
        self._made.append(ModelSocket(*args, **kwargs))
        return self._made[-1]


async def _set_up(socket: ModelSocket, setup: str) -> None:
    try:
        await socket.send_text(setup)
        answer = await socket.recv(decode=False)
    except ConnectionClosed as closed:
        if closed.rcvd is None:
            raise APIError(CloseCode.ABNORMAL_CLOSURE, "Abnormal closure.") from closed
        raise APIError(closed.rcvd.code, closed.rcvd.reason) from closed
    try:
        understood = isinstance(json.loads(answer or b"{}"), dict)
    except ValueError:
        understood = False
    if not understood:
        raise ValueError("the answer to the setup is no JSON object")
