"""PreparedSentences: "One moment, please." in the agent's voice, generated before it is needed.

A session of its own says the sentence once for each voice, language and model of a process, beside
the first call that might need it. What was not said word for word is not used.
"""

import asyncio
from dataclasses import dataclass

from google.genai import types
from loguru import logger

from agent.filler_sentences import filler_sentence
from agent.model_instructions import SAY
from agent.profile import AgentProfile
from pipelines.gemini.audible import is_audible
from pipelines.gemini.client import ConnectModel, ModelSession
from pipelines.gemini.greeting_cache import GreetingCache, GreetingKey
from pipelines.gemini.live_config import live_config
from pipelines.gemini.messages import Words
from pipelines.gemini.server_message import LeftOut

WITHIN_SECS = 20.0
# After a failure, it is not tried again for so long.
AGAIN_AFTER_SECS = 300.0


@dataclass(frozen=True, slots=True)
class Sentence:
    """Its words, and its sound: PCM16 at 24 kHz."""

    words: str
    pcm: bytes


class PreparedSentences:
    """The sentences of one process."""

    def __init__(self, client: ConnectModel) -> None:
        self._client = client
        self._kept = GreetingCache()
        # When the sentence of a voice and language was last asked for.
        self._asked_at: dict[GreetingKey, float] = {}
        self._preparing: set[asyncio.Task[None]] = set()

    def find(self, profile: AgentProfile) -> Sentence | None:
        """The sentence of this profile; None while there is none."""
        key = self._key(profile)
        sound = self._kept.find(key)
        return Sentence(key.words, sound) if sound else None

    def prepare(self, profile: AgentProfile) -> None:
        """Have the sentence of this profile made, unless it is there, or being made."""
        key, now = self._key(profile), asyncio.get_running_loop().time()
        if profile.answer_patience_secs <= 0 or self._kept.find(key):
            return
        asked_at = self._asked_at.get(key)
        if asked_at is not None and now - asked_at < AGAIN_AFTER_SECS:
            return
        self._asked_at[key] = now
        preparing = asyncio.create_task(self._prepare(profile, key), name="preparing a sentence")
        self._preparing.add(preparing)
        preparing.add_done_callback(self._preparing.discard)

    async def prepared(self) -> None:
        """Wait until nothing is being made any more."""
        while self._preparing:
            await asyncio.wait(self._preparing)

    async def aclose(self) -> None:
        """Stop making sentences."""
        for preparing in self._preparing:
            preparing.cancel()
        await self.prepared()

    def _key(self, profile: AgentProfile) -> GreetingKey:
        words = filler_sentence(profile.language)
        return GreetingKey(words, profile.voice, profile.language, self._client.model)

    async def _prepare(self, profile: AgentProfile, key: GreetingKey) -> None:
        speaker = profile.model_copy(update={"system_prompt": SPEAKER})
        try:
            async with (
                asyncio.timeout(WITHIN_SECS),
                self._client.connect(live_config(speaker, [])) as session,
            ):
                pcm, said = await _say(session, key.words)
        except Exception as error:
            logger.info("A sentence could not be prepared", error=type(error).__name__)
            return
        if is_audible(pcm):
            self._kept.keep(key, pcm, said)


SPEAKER = "You say what you are asked to say, word for word, and nothing else."


async def _say(session: ModelSession, words: str) -> tuple[bytes, str]:
    """The sound and the words of the session's first turn."""
    pcm, said = bytearray(), []

    async def take_speech(piece: bytes) -> None:
        pcm.extend(piece)

    async def take_words(piece: Words) -> None:
        if not piece.by_caller:
            said.append(piece.text)

    session.listen(take_speech, take_words)
    await session.send_realtime_input(text=SAY.format(words))
    async for message in session.receive():
        content = None if isinstance(message, LeftOut) else message.server_content
        if content is None:
            continue
        _collect(content, pcm, said)
        if content.turn_complete:
            break
    return bytes(pcm), "".join(said)


def _collect(content: types.LiveServerContent, pcm: bytearray, said: list[str]) -> None:
    if content.model_turn is not None:
        for part in content.model_turn.parts or []:
            if part.inline_data is not None and part.inline_data.data:
                pcm.extend(part.inline_data.data)
    if content.output_transcription is not None and content.output_transcription.text:
        said.append(content.output_transcription.text)
