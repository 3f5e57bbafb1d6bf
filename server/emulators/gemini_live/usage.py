"""What a turn costs: the whole context again, each time, by modality.

Source: ai.google.dev/gemini-api/docs/tokens: 25 tokens per second of audio in a Live session.
"""

from dataclasses import dataclass
from typing import Any

AUDIO_TOKENS_PER_SEC = 25
CHARACTERS_PER_TEXT_TOKEN = 4


@dataclass(slots=True)
class Context:
    """The tokens in the model's window."""

    text: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        """Of both modalities."""
        return self.text + self.audio

    def add_text(self, text: str) -> None:
        """Text came in: an instruction, a tool's answer, what was typed."""
        self.text += -(-len(text) // CHARACTERS_PER_TEXT_TOKEN)

    def add_audio(self, secs: float) -> None:
        """Speech of either side."""
        self.audio += round(secs * AUDIO_TOKENS_PER_SEC)

    def compress(self, trigger: int, target: int) -> None:
        """A sliding window: beyond `trigger` tokens the oldest are forgotten, down to `target`."""
        if self.total > trigger:
            self.audio = max(0, target - self.text)


def usage_of_turn(prompt: Context, response_secs: float) -> dict[str, Any]:
    """`usageMetadata` of a turn that read `prompt` and spoke for so long."""
    response = round(response_secs * AUDIO_TOKENS_PER_SEC)
    return {
        "promptTokenCount": prompt.total,
        "responseTokenCount": response,
        "totalTokenCount": prompt.total + response,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": prompt.text},
            {"modality": "AUDIO", "tokenCount": prompt.audio},
        ],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": response}],
    }
