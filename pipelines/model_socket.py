"""The model's WebSocket, with a short way for sound past the general encoder, in both directions.

google-genai builds and checks a pydantic message for each packet; 75 times a second and call,
that is most of what a call costs. Sound has one shape, so it is written and read by hand here;
everything else goes through the SDK as it is.

    hear ─▶ {"realtime_input": {"audio": …}} ─▶ socket            at once, or not at all
    socket ─▶ recv ─┬─ nothing but speech ─▶ on_speech
                    └─ all else ─▶ google-genai                   in the order that it came

The SDK hands `create_connection` on to websockets, so this is what it opens its session over.

Source: https://ai.google.dev/api/live,
https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html
"""

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.protocol import State

from pipelines.rates import GEMINI_HEARS_AT

AUDIO_TYPE = f"audio/pcm;rate={GEMINI_HEARS_AT}"
# As google-genai writes it, to the letter.
_BEFORE_SOUND = b'{"realtime_input": {"audio": {"data": "'
_BEHIND_SOUND = b'", "mime_type": "' + AUDIO_TYPE.encode() + b'"}}}'

_opened: ContextVar[list["ModelSocket"] | None] = ContextVar("opened_sockets", default=None)

OnSpeech = Callable[[bytes], Awaitable[None]]


async def _unheard(_: bytes) -> None:
    """Speech that comes before anybody listens is nobody's."""


class ModelSocket(ClientConnection):
    """A client's WebSocket that takes sound without waiting, and hands over speech by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Told each message that is nothing but speech: PCM16 as the model made it.
        self.on_speech: OnSpeech = _unheard
        if (opened := _opened.get()) is not None:
            opened.append(self)

    def hear(self, pcm: bytes) -> bool:
        """Send one packet of PCM16 at 16 kHz now; False when the socket cannot take it now."""
        if self.paused or self.protocol.state is not State.OPEN or self.transport.is_closing():
            return False
        self.protocol.send_text(_BEFORE_SOUND + urlsafe_b64encode(pcm) + _BEHIND_SOUND)
        self.send_data()
        return True

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message that is not speech alone; speech on the way to it is handed over.

        Raises: what `ClientConnection.recv` does, and whatever `on_speech` raises.
        """
        while True:
            message = await super().recv(decode)
            speech = read_speech(message)
            if speech is None:
                return message
            try:
                await self.on_speech(speech)
            except TypeError as error:
                # google-genai takes a TypeError for a recv of old, and would ask again.
                raise RuntimeError("speech could not be taken") from error


@contextmanager
def sockets_opened() -> Iterator[list[ModelSocket]]:
    """The sockets that are made within, in this task; the newest is the one in use."""
    made: list[ModelSocket] = []
    token = _opened.set(made)
    try:
        yield made
    finally:
        _opened.reset(token)


def read_speech(message: str | bytes) -> bytes | None:
    """The sound of a message that holds nothing else, as PCM16; None for all others."""
    marker: Any = b'"inlineData"' if isinstance(message, bytes) else '"inlineData"'
    if marker not in message:
        return None
    try:
        match json.loads(message):
            case {"serverContent": {"modelTurn": {"parts": [*parts], **role}, **beside}, **more}:
                if beside or more or role.keys() - {"role"}:
                    return None
                return _sound_of(parts)
    except ValueError:
        pass  # the SDK says what is wrong with it
    return None


def _sound_of(parts: list[Any]) -> bytes | None:
    sound = []
    for part in parts:
        match part:
            case {"inlineData": {"mimeType": str(kind), "data": str(data), **more}, **beside}:
                if more or beside or not kind.startswith("audio/pcm"):
                    return None
                sound.append(b64decode(data, validate=True))
            case _:
                return None
    return sound[0] if len(sound) == 1 else b"".join(sound)
