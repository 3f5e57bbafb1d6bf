"""Greeting: the first words of one call, from the cache of the process or made by the model."""

from agent.model_instructions import GREET
from pipelines.gemini.client import ModelSession
from pipelines.gemini.greeting_cache import GreetingCache, GreetingKey


class Greeting:
    """Finds the greeting's sound, or asks for it once a session and collects it for other calls."""

    def __init__(self, key: GreetingKey, cache: GreetingCache | None) -> None:
        self.words = key.words
        self._key = key
        self._cache = cache
        # What the model has said of it, to be kept; None: it is not to be kept.
        self._pcm: bytearray | None = None
        # The session that was asked for it.
        self._asked: ModelSession | None = None

    def shared_sound(self) -> bytes:
        """The sound that another call has kept, PCM16 at 24 kHz; without it, collect our own."""
        if self._cache is None or not self.words:
            return b""
        sound = self._cache.find(self._key)
        if not sound:
            self._pcm = bytearray()
        return sound

    async def ask(self, session: ModelSession) -> None:
        """Tell the model to greet, once a session."""
        if self._asked is not session:
            self._asked = session
            await session.send_realtime_input(text=GREET.format(self.words))

    def collect(self, pcm: bytes) -> None:
        """Add what the model says, while it is the first reply."""
        if self._pcm is not None:
            # Half a sample at the end of a message is left out, and would shift what follows.
            self._pcm += pcm[: len(pcm) // 2 * 2]

    def broken_off(self) -> None:
        """The first reply was cut, or another session goes on with it: do not keep it."""
        self._pcm = None

    def completed(self, said: str) -> None:
        """The first reply was said whole: it may be what the next call begins with."""
        pcm, self._pcm = self._pcm, None
        if pcm and self._cache is not None:
            self._cache.keep(self._key, bytes(pcm), said)
