"""The model's WebSocket, with a short way past the general encoder for what comes often.

google-genai builds and checks a pydantic message for each packet; 80 times a second and call,
that is most of what a call costs. Sound and words have one shape each, so they are written and
read by hand here; everything else goes through the SDK as it is.

    hear ─▶ {"realtime_input": {"audio": …}} ─▶ socket            at once, or not at all
    socket ─▶ recv ─┬─ nothing but speech ─▶ on_speech
                    ├─ nothing but words ─▶ on_words
                    └─ all else ─▶ google-genai                   in the order that it came

The SDK hands `create_connection` on to websockets, so this is what it opens its session over.

Source: https://ai.google.dev/api/live,
https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html
"""

import json
import re
from base64 import b64decode, urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
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
OnWords = Callable[["Words"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of a transcript: what the caller said, or what the model says."""

    text: str
    by_caller: bool


async def unheard(_: object) -> None:
    """What comes before anybody listens is nobody's."""


class ModelSocket(ClientConnection):
    """A client's WebSocket that takes sound without waiting, and hands over what comes often."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Told each message that is nothing but speech: PCM16 as the model made it.
        self.on_speech: OnSpeech = unheard
        # Told each message that is nothing but a piece of a transcript, of either side.
        self.on_words: OnWords = unheard
        self._is_let_go = False
        if (opened := _opened.get()) is not None:
            opened.append(self)

    def let_go(self) -> None:
        """Nobody will use it any more.

        It and uvloop's TLS transport know each other, and would wait for a full collection of the
        garbage collector with a quarter of a megabyte.
        """
        self._is_let_go = True
        if self.protocol.state is State.CLOSED:
            vars(self).pop("transport", None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        super().connection_lost(exc)
        if self._is_let_go:
            vars(self).pop("transport", None)

    def hear(self, pcm: bytes) -> bool:
        """Send one packet of PCM16 at 16 kHz now; False when the socket cannot take it now."""
        if self.paused or self.protocol.state is not State.OPEN or self.transport.is_closing():
            return False
        self.protocol.send_text(_BEFORE_SOUND + urlsafe_b64encode(pcm) + _BEHIND_SOUND)
        self.send_data()
        return True

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message that is neither speech nor words alone; those before it are handed over.

        Raises: what `ClientConnection.recv` does, and whatever their takers raise.
        """
        while True:
            message = await super().recv(decode)
            content = read_content(message)
            if content is None:
                return message
            try:
                if isinstance(content, bytes):
                    await self.on_speech(content)
                else:
                    await self.on_words(content)
            except TypeError as error:
                # google-genai takes a TypeError for a recv of old, and would ask again.
                raise RuntimeError("a message could not be taken") from error


@contextmanager
def sockets_opened() -> Iterator[list[ModelSocket]]:
    """The sockets that are made within, in this task; the newest is the one in use."""
    made: list[ModelSocket] = []
    token = _opened.set(made)
    try:
        yield made
    finally:
        _opened.reset(token)


# A message with one piece of speech, before and behind its sound.
_BEFORE_SPEECH = re.compile(
    r' \{ "serverContent" : \{ "modelTurn" : \{ "parts" : \[ \{ "inlineData" : \{ '
    r'"mimeType" : "audio/pcm[^"\\]*" , "data" : "'.replace(" ", r"[ \t\r\n]*").encode()
)
_BEHIND_SPEECH = re.compile(rb'"[ \t\r\n]*(?:\}[ \t\r\n]*){2}\][ \t\r\n]*(?:\}[ \t\r\n]*){3}')


def read_content(message: str | bytes) -> bytes | Words | None:
    """What a message holds that holds nothing else: speech as PCM16, or a piece of a transcript.

    None for all other messages.
    """
    if isinstance(message, bytes) and (speech := _usual_speech(message)) is not None:
        return speech
    try:
        read = json.loads(message)
    except (ValueError, RecursionError):
        return None  # the SDK says what is wrong with it
    match read:
        case {"serverContent": {"modelTurn": {"parts": [*parts], **role}, **beside}, **more}:
            return None if beside or more or role.keys() - {"role"} else _sound_of(parts)
        case {"serverContent": {"outputTranscription": {"text": str(text), **of_it}, **beside}}:
            if len(read) == 1 and not beside and not of_it:
                return Words(text, by_caller=False)
        case {"serverContent": {"inputTranscription": {"text": str(text), **of_it}, **beside}}:
            if len(read) == 1 and not beside and not of_it:
                return Words(text, by_caller=True)
    return None


def _usual_speech(message: bytes) -> bytes | None:
    """The sound of a message with one piece of it, read without a parser."""
    before = _BEFORE_SPEECH.match(message)
    if before is None:
        return None
    end = message.find(b'"', before.end())
    if end < 0 or _BEHIND_SPEECH.fullmatch(message, end) is None:
        return None
    try:
        return a2b_base64(message[before.end() : end], strict_mode=True)
    except ValueError:
        return None


def _sound_of(parts: list[Any]) -> bytes | None:
    sound = []
    for part in parts:
        match part:
            case {"inlineData": {"mimeType": str(kind), "data": str(data), **more}, **beside}:
                if more or beside or not kind.startswith("audio/pcm"):
                    return None
                try:
                    sound.append(b64decode(data, validate=True))
                except ValueError:
                    return None
            case _:
                return None
    return sound[0] if len(sound) == 1 else b"".join(sound)
