"""Filler: the prepared sentence that a caller hears while no answer comes, once a turn."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pipecat.processors.frame_processor import FrameProcessor

from agent.profile import AgentProfile
from pipelines.gemini.prepared_sentences import PreparedSentences


class Filler:
    """Says the sentence in a task of the model's step."""

    def __init__(
        self,
        step: FrameProcessor,
        sentences: PreparedSentences | None,
        say: Callable[[bytes, str], Coroutine[Any, Any, None]],
    ) -> None:
        """`say` takes PCM16 at 24 kHz and its words. `sentences` None: there is never one."""
        self._step = step
        self._sentences = sentences
        self._say = say
        self._saying: asyncio.Task[None] | None = None
        # The caller was told to wait, and no answer was heard since.
        self.was_said = False

    def prepare(self, profile: AgentProfile) -> None:
        """Have the sentence of this profile made, if there is none yet."""
        if self._sentences is not None:
            self._sentences.prepare(profile)

    def begin(self, profile: AgentProfile) -> None:
        """Say the sentence of this profile, unless it was said in this turn, or is not ready."""
        sentence = self._sentences.find(profile) if self._sentences is not None else None
        if sentence is not None and not self.was_said:
            self.was_said = True
            self._saying = self._step.create_task(
                self._say(sentence.pcm, sentence.words), name="filler"
            )

    def answered(self) -> None:
        """An answer was heard: the next turn may have the sentence again."""
        self.was_said = False

    async def stop(self) -> None:
        """Say no more of it."""
        saying, self._saying = self._saying, None
        if saying is not None:
            await self._step.cancel_task(saying)
