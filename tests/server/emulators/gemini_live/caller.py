"""A client of the emulator: the plain google-genai session, and what came out of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from google import genai
from google.genai import errors, types
from google.genai.live import AsyncSession

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.speech import speak

MODEL = "gemini-3.8-live"
SILENCE = bytes(16_000 * 2)
CONFIG: dict[str, Any] = {
    "response_modalities": ["AUDIO"],
    "input_audio_transcription": {},
    "output_audio_transcription": {},
}


class Caller:
    """Collects every message, and says what a caller says."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.messages: list[types.LiveServerMessage] = []
        self.closed: int | None = None
        self.garbage = ""
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                self.messages.append(await self.session._receive())
                self._changed.set()
        except errors.APIError as error:
            self.closed = error.code
        except ValueError as error:
            self.garbage = str(error)
        self._changed.set()

    async def until(self, true: Callable[["Caller"], Any], timeout: float = 10.0) -> None:
        """Return when `true(caller)`; looks after every message."""
        async with asyncio.timeout(timeout):
            while not true(self):
                self._changed.clear()
                await self._changed.wait()

    async def say(self, text: str, **voice: Any) -> None:
        """Say it and be silent for a second, faster than real time."""
        await self.send(speak(text, rate=16_000, **voice) + SILENCE)

    async def send(self, pcm: bytes) -> None:
        """Send 20 ms packets."""
        starts = [*range(0, len(pcm), 640), len(pcm)]
        for start, end in pairwise(starts):
            await self.session.send_realtime_input(
                audio=types.Blob(data=pcm[start:end], mime_type="audio/pcm;rate=16000")
            )

    async def ask(self, text: str) -> None:
        """Type a text."""
        await self.session.send_realtime_input(text=text)

    async def answer(self, call: types.FunctionCall, response: dict[str, Any]) -> None:
        """Answer a function call."""
        await self.session.send_tool_response(
            function_responses=[
                types.FunctionResponse(id=call.id, name=call.name, response=response)
            ]
        )

    async def stop(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await asyncio.wait([self._reading])

    @property
    def contents(self) -> list[types.LiveServerContent]:
        """The messages with server content."""
        return [m.server_content for m in self.messages if m.server_content is not None]

    @property
    def turns(self) -> int:
        """How many turns are complete."""
        return sum(bool(content.turn_complete) for content in self.contents)

    @property
    def interruptions(self) -> int:
        """How often the model was interrupted."""
        return sum(bool(content.interrupted) for content in self.contents)

    @property
    def audio(self) -> bytes:
        """All speech that came, PCM16 at 24 kHz."""
        return b"".join(
            part.inline_data.data or b""
            for content in self.contents
            if content.model_turn is not None
            for part in content.model_turn.parts or ()
            if part.inline_data is not None
        )

    @property
    def said(self) -> str:
        """The model's words."""
        texts = [c.output_transcription.text for c in self.contents if c.output_transcription]
        return "".join(text or "" for text in texts)

    @property
    def heard(self) -> str:
        """The caller's words, as the model heard them."""
        texts = [c.input_transcription.text for c in self.contents if c.input_transcription]
        return "".join(text or "" for text in texts)

    @property
    def calls(self) -> list[types.FunctionCall]:
        """The functions that the model called."""
        return [call for m in self.messages if m.tool_call for call in m.tool_call.function_calls]

    @property
    def handles(self) -> list[str]:
        """The resumption handles that came."""
        updates = [m.session_resumption_update for m in self.messages]
        return [update.new_handle for update in updates if update and update.new_handle]


def client_of(emulator: GeminiLiveEmulator, api_key: str = "a-key") -> genai.Client:
    """The SDK's client, pointed at the emulator."""
    return genai.Client(
        api_key=api_key,
        http_options={
            "base_url": emulator.url,
            "async_client_args": {"ssl": emulator.client_context()},
        },
    )


@asynccontextmanager
async def calling(emulator: GeminiLiveEmulator, **config: Any) -> AsyncIterator[Caller]:
    """A session with the emulator."""
    settings = types.LiveConnectConfig.model_validate(CONFIG | config)
    async with client_of(emulator).aio.live.connect(model=MODEL, config=settings) as session:
        caller = Caller(session)
        try:
            yield caller
        finally:
            await caller.stop()
