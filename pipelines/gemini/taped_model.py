"""TapedModel, TapedGreetings: put what comes to one call from the model on the call's tape."""

from collections.abc import Sequence

from google.genai import types

from pipelines.gemini.client import Connection, ConnectModel
from pipelines.gemini.greeting_cache import GreetingCache, GreetingKey
from pipelines.recording.tape import TAPE, Kind, Tape


class TapedModel:
    """A `ConnectModel` whose sockets have the tape of one call."""

    def __init__(self, model: ConnectModel, tape: Tape) -> None:
        self._model = model
        self._tape = tape

    @property
    def model(self) -> str:
        """The model's name."""
        return self._model.model

    @property
    def secrets(self) -> Sequence[str]:
        """What a refusal may quote and a log must not."""
        return self._model.secrets

    def connect(self, config: types.LiveConnectConfig) -> Connection:
        """Open a session. The tape is the context's from here on, which is the call's own."""
        TAPE.set(self._tape)
        return self._model.connect(config)


class TapedGreetings(GreetingCache):
    """The greetings of a process, as one call uses them."""

    def __init__(self, greetings: GreetingCache, tape: Tape) -> None:
        super().__init__()
        self._greetings = greetings
        self._tape = tape

    def find(self, key: GreetingKey) -> bytes:
        """The audio of a greeting; empty when it is not cached."""
        sound = self._greetings.find(key)
        if sound:
            self._tape.add(Kind.GREETING, 0, sound)
        return sound

    def keep(self, key: GreetingKey, pcm: bytes, said: str) -> None:
        """Cache a complete greeting."""
        self._greetings.keep(key, pcm, said)
