"""A model that answers by itself: it hears when the caller stops, and speaks after a while."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.genai import types

from pipelines.gemini.audio_socket import OnSpeech, OnWords
from pipelines.gemini.client import ModelSession
from pipelines.gemini.messages import Words
from pipelines.gemini.server_message import LeftOut
from processors.noise_floor import sound_level
from tests.pipelines.model import PlayedModel, PlayedSession

LOUD = 1_000.0
QUIET_PACKETS = 25
THINKING_SECS = 0.3
REPLY_SECS = 1.0
LOWEST_HZ, STEP_HZ = 400.0, 60.0


class AnsweringSession(PlayedSession):
    """Hears by level; `frozen` says nothing more, `answers` False only listens."""

    def __init__(self, config: types.LiveConnectConfig, number: int) -> None:
        super().__init__(config)
        self.number = number
        self.thinking_secs = THINKING_SECS
        # How long after a reply its handle comes.
        self.handle_after_secs = 0.0
        self.frozen = False
        self.answers = True
        self.is_open = True
        # What it was sent; how many packets of that were speech, and how many replies it gave.
        self.heard = bytearray()
        self.loud_packets = 0
        self.replies = 0
        self._quiet = 0
        self._speaks = False
        self._thinking: set[asyncio.Task[None]] = set()

    @property
    def hz(self) -> float:
        """The tone that it speaks in, by which it is known at the phone."""
        return LOWEST_HZ + STEP_HZ * self.number

    def hear(self, pcm: bytes) -> bool:
        self.heard += pcm
        for start in range(0, len(pcm), 640):
            self._hear(pcm[start : start + 640])
        return True

    def listen(self, on_speech: OnSpeech, on_words: OnWords) -> None:
        self.on_speech, self.on_words = on_speech, on_words

    async def receive(self) -> AsyncIterator[types.LiveServerMessage | LeftOut]:
        """Speech and words take the short way, as from `AudioSocket`."""
        async for message in super().receive():
            content = None if isinstance(message, LeftOut) else message.server_content
            if content is not None and content.model_turn is not None:
                for part in content.model_turn.parts or []:
                    assert part.inline_data is not None
                    await self.on_speech(part.inline_data.data or b"")
            elif content is not None and content.output_transcription is not None:
                await self.on_words(Words(content.output_transcription.text or "", by_caller=False))
            elif content is not None and content.input_transcription is not None:
                await self.on_words(Words(content.input_transcription.text or "", by_caller=True))
            else:
                yield message

    async def send_realtime_input(self, **what: Any) -> None:
        await super().send_realtime_input(**what)
        if "text" in what:
            self.answer()

    def _hear(self, packet: bytes) -> None:
        if sound_level(packet) >= LOUD:
            self.loud_packets += 1
            self._speaks, self._quiet = True, 0
            return
        self._quiet += 1
        if self._speaks and self._quiet >= QUIET_PACKETS:
            self._speaks = False
            self.answer()

    def answer(self) -> None:
        """Speak after a while, and give a handle that covers it."""
        thinking = asyncio.create_task(self._answer())
        self._thinking.add(thinking)
        thinking.add_done_callback(self._thinking.discard)

    async def _answer(self) -> None:
        await asyncio.sleep(self.thinking_secs)
        if self.frozen or not self.answers:
            return
        self.replies += 1
        self.speaks(f"Reply of session {self.number}.", REPLY_SECS, hz=self.hz)
        handle = f"{self.number}-{self.replies}"
        await asyncio.sleep(self.handle_after_secs)
        self.says({"session_resumption_update": {"new_handle": handle, "resumable": True}})


class AnsweringModel(PlayedModel):
    """Hands out sessions that answer, after a while of `thinking_secs`."""

    thinking_secs = THINKING_SECS

    @asynccontextmanager
    async def connect(self, config: types.LiveConnectConfig) -> AsyncIterator[ModelSession]:
        self.attempts += 1
        await asyncio.sleep(self.setup_secs)
        if self.refusals:
            raise self.refusals.pop(0)
        session = AnsweringSession(config, len(self.sessions) + 1)
        session.thinking_secs = self.thinking_secs
        self.sessions.append(session)
        async with self._changed:
            self._changed.notify_all()
        try:
            yield session
        finally:
            session.is_open = False

    @property
    def newest(self) -> AnsweringSession:
        session = self.sessions[-1]
        assert isinstance(session, AnsweringSession)
        return session
