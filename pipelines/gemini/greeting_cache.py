"""GreetingCache: greetings that calls share. Each is generated once, then played at once.

The key is the greeting's words, voice, language and model. The audio is kept as the model made it,
PCM16 at 24 kHz; each session that plays it is told what was said.
"""

from collections import OrderedDict
from dataclasses import dataclass

from agent.profile import AgentProfile
from pipelines.rates import GEMINI_SPEAKS_AT

# Size of the cache in bytes of speech; half a minute is 1.4 MB.
MOST_BYTES = 64_000_000
LONGEST_BYTES = 30 * GEMINI_SPEAKS_AT * 2


@dataclass(frozen=True, slots=True)
class GreetingKey:
    """Cache key: calls with the same key share a greeting."""

    words: str
    voice: str | None
    language: str
    model: str

    @classmethod
    def of(cls, profile: AgentProfile, model: str) -> "GreetingKey":
        """The greeting of this profile, said by this model."""
        return cls(profile.greeting, profile.voice, profile.language, model)


class GreetingCache:
    """The greetings of one process, the least recently used dropped first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[GreetingKey, bytes] = OrderedDict()
        self._bytes = 0

    def find(self, key: GreetingKey) -> bytes:
        """The audio of a greeting; empty when it is not cached."""
        sound = self._kept.get(key, b"")
        if sound:
            self._kept.move_to_end(key)
        return sound

    def keep(self, key: GreetingKey, pcm: bytes, said: str) -> None:
        """Cache a complete greeting, if its transcript `said` has the words of the key."""
        if key in self._kept or not 0 < len(pcm) <= LONGEST_BYTES:
            return
        if _words(said) != _words(key.words):
            return
        self._kept[key] = pcm
        self._bytes += len(pcm)
        while self._bytes > self._most_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)


def _words(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())
