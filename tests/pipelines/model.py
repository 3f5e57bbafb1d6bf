"""A model played by hand: it keeps what it is sent, and says what the test has it say."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from google.genai import errors, types
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close

from pipelines.gemini.audio_socket import OnSpeech, OnWords
from pipelines.gemini.client import ModelSession
from pipelines.gemini.server_message import LeftOut
from tests.pipelines.tone import pcm_tone


class PlayedSession:
    """One session: what `ModelSession` does, without a socket."""

    def __init__(self, config: types.LiveConnectConfig) -> None:
        self.config = config
        self.audio: list[bytes] = []
        self.sent: list[tuple[str, Any]] = []
        self._messages: asyncio.Queue[types.LiveServerMessage | LeftOut | Exception] = (
            asyncio.Queue()
        )
        self._changed = asyncio.Condition()
        self.flushes = 0

    # --- as the product sees it ---

    def listen(self, on_speech: OnSpeech, on_words: OnWords) -> None:
        self.on_speech = on_speech

    def hear(self, pcm: bytes) -> bool:
        return False

    def when_sent(self, tell: Callable[[], None]) -> None:
        tell()

    def flush(self) -> None:
        self.flushes += 1

    async def send_realtime_input(self, **what: Any) -> None:
        ((kind, value),) = what.items()
        if kind == "audio":
            self.audio.append(value.data)
        else:
            self.sent.append((kind, value))
        await self._wake()

    async def send_client_content(self, *, turns: types.Content, turn_complete: bool) -> None:
        assert turns.role == "user"
        assert not turn_complete
        self.sent.append(("remember", (turns.parts or [])[0].text))
        await self._wake()

    async def send_tool_response(self, *, function_responses: types.FunctionResponse) -> None:
        self.sent.append(("tool", function_responses))
        await self._wake()

    async def receive(self) -> AsyncIterator[types.LiveServerMessage | LeftOut]:
        while True:
            message = await self._messages.get()
            if isinstance(message, Exception):
                raise message
            yield message

    # --- as the test plays it ---

    @property
    def handle(self) -> str | None:
        """The handle of the session that this one continues."""
        resumption = self.config.session_resumption
        return resumption.handle if resumption else None

    def says(self, message: dict[str, Any] | LeftOut | Exception) -> None:
        if isinstance(message, dict):
            self._messages.put_nowait(types.LiveServerMessage.model_validate(message))
        else:
            self._messages.put_nowait(message)

    def content(self, **content: Any) -> None:
        self.says({"server_content": content})

    def speaks(self, text: str, secs: float, *, completes: bool = True, hz: float = 440.0) -> None:
        """A whole reply at once: a tone, in chunks of 40 ms, and its words."""
        pcm = pcm_tone(secs, 24_000, hz)
        for start in range(0, len(pcm), 1920):
            data = pcm[start : start + 1920]
            part = {"inline_data": {"data": data, "mime_type": "audio/pcm;rate=24000"}}
            self.content(model_turn={"parts": [part]})
        self.content(output_transcription={"text": text})
        if completes:
            self.content(generation_complete=True)
            self.content(turn_complete=True)

    def drops(self, code: int = 1011) -> None:
        self.says(ConnectionClosedError(Close(code, "dropped"), None))

    @property
    def texts(self) -> list[str]:
        return [value for kind, value in self.sent if kind == "text"]

    async def until(self, reached: Callable[["PlayedSession"], object]) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(reached(self)))

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class PlayedModel:
    """Hands out sessions; `refusals` come first, one for each attempt."""

    model = "models/played"
    secrets = ("a-secret-key",)

    def __init__(self, *refusals: Exception, setup_secs: float = 0.1) -> None:
        self.refusals = list(refusals)
        self.setup_secs = setup_secs
        self.attempts = 0
        self.sessions: list[PlayedSession] = []
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def connect(self, config: types.LiveConnectConfig) -> AsyncIterator[ModelSession]:
        self.attempts += 1
        await asyncio.sleep(self.setup_secs)
        if self.refusals:
            raise self.refusals.pop(0)
        session = PlayedSession(config)
        self.sessions.append(session)
        async with self._changed:
            self._changed.notify_all()
        yield session

    async def session(self, number: int = 1) -> PlayedSession:
        """Wait for the n-th session."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.sessions) >= number)
        return self.sessions[number - 1]


def refused(code: int) -> errors.APIError:
    return errors.APIError(code, {"error": {"message": "refused"}})
