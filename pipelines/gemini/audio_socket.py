"""The model's WebSocket, with a fast path past the general encoder for audio and transcripts.

google-genai builds and checks a pydantic message for each packet; 80 times a second and call,
that is most of what a call costs. Audio and words have one shape each, so they are written and
read by hand here; everything else goes through the SDK as it is.

    hear ─▶ {"realtime_input": {"audio": …}} ─▶ socket            at once, or not at all
    socket ─▶ recv ─┬─ nothing but speech ─▶ on_speech
                    ├─ nothing but words ─▶ on_words
                    └─ all else ─▶ google-genai                   in the order that it came

The SDK hands `create_connection` on to websockets, so this is what it opens its sessions over.

Source: https://ai.google.dev/api/live,
https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html
"""

from binascii import b2a_base64
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.protocol import State

from pipelines.gemini.messages import Words, read_content, read_speech
from pipelines.gemini.websocket_client import FastClientConnection
from pipelines.rates import GEMINI_HEARS_AT, GEMINI_SPEAKS_AT

AUDIO_TYPE = f"audio/pcm;rate={GEMINI_HEARS_AT}"
# As google-genai writes it, to the letter.
_BEFORE_SOUND = b'{"realtime_input": {"audio": {"data": "'
_BEHIND_SOUND = b'", "mime_type": "' + AUDIO_TYPE.encode() + b'"}}}'
# The alphabet of base64 that google-genai uses: RFC 4648, section 5.
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# 200 ms of speech go on as one piece at the most.
MOST_AT_ONCE_BYTES = GEMINI_SPEAKS_AT * 2 // 5

OnSpeech = Callable[[bytes], Awaitable[None]]
OnWords = Callable[[Words], Awaitable[None]]


async def _unheard(_: object) -> None:
    """Drop what comes before anybody listens."""


class AudioSocket(FastClientConnection):
    """A client's WebSocket that takes sound without waiting, and hands over what comes often."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_speech: OnSpeech = _unheard
        self._on_words: OnWords = _unheard
        self._is_let_go = False

    def listen(self, on_speech: OnSpeech, on_words: OnWords) -> None:
        """Hand over messages that are nothing but speech, or nothing but a piece of a transcript.

        `on_speech` takes PCM16 as the model made it, `on_words` the words of either side.
        """
        self._on_speech, self._on_words = on_speech, on_words

    def let_go(self) -> None:
        """Cut off what is not closed by now, and drop the transport: nobody uses it any more.

        It and uvloop's TLS transport know each other, and would wait for a full collection of the
        garbage collector with a quarter of a megabyte.
        """
        self._is_let_go = True
        if not hasattr(self, "transport"):
            return
        if self.protocol.state is State.CLOSED:
            del self.transport
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        super().connection_lost(exc)
        if self._is_let_go:
            del self.transport

    def hear(self, pcm: bytes) -> bool:
        """Send one packet of PCM16 at 16 kHz now; False when the socket cannot take it now."""
        sound = b2a_base64(pcm, newline=False).translate(_URL_SAFE)
        return self.send_now(_BEFORE_SOUND + sound + _BEHIND_SOUND)

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
                    await self._on_speech(self._with_more(content))
                else:
                    await self._on_words(content)
            except TypeError as error:
                # google-genai takes a TypeError for a recv of old, and would ask again.
                raise RuntimeError("a message could not be taken") from error

    def _with_more(self, speech: bytes) -> bytes:
        """This speech, and what of it has come by now: a loop that is behind catches up at once."""
        pieces, size = [speech], len(speech)
        # Half a sample at the end of a message is left out, so nothing may be put behind it.
        while size < MOST_AT_ONCE_BYTES and size % 2 == 0:
            more = self.next_if(read_speech)
            if more is None:
                break
            pieces.append(more)
            size += len(more)
        return speech if len(pieces) == 1 else b"".join(pieces)
