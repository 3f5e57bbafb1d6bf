"""The model's WebSocket, with a short way past the general encoder for what comes often.

google-genai builds and checks a pydantic message for each packet; 80 times a second and call,
that is most of what a call costs. Sound and words have one shape each, and so has what a session is
told of the time before it: they are written and read by hand here. Once a session is set up,
everything else goes through the SDK as it is.

    hear ─▶ {"realtime_input": {"audio": …}} ─▶ socket            at once, or not at all
    remember ─▶ {"client_content": …} ─▶ socket
    socket ─▶ recv ─┬─ nothing but speech ─▶ on_speech
                    ├─ nothing but words ─▶ on_words
                    └─ all else ─▶ google-genai                   in the order that it came

Source: https://ai.google.dev/api/live,
https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html
"""

import json
from binascii import b2a_base64
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.protocol import State

from pipelines.model_messages import Words, read_content, read_speech
from pipelines.quick_socket import QuickSocket
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


async def unheard(_: object) -> None:
    """What comes before anybody listens is nobody's."""


class ModelSocket(QuickSocket):
    """A client's WebSocket that takes sound without waiting, and hands over what comes often."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Told each message that is nothing but speech: PCM16 as the model made it.
        self.on_speech: OnSpeech = unheard
        # Told each message that is nothing but a piece of a transcript, of either side.
        self.on_words: OnWords = unheard
        self._is_let_go = False

    def let_go(self) -> None:
        """Nobody will use it any more; what is not closed by now is cut off.

        It and uvloop's TLS transport know each other, and would wait for a full collection of the
        garbage collector with a quarter of a megabyte.
        """
        self._is_let_go = True
        if self.protocol.state is State.CLOSED:
            vars(self).pop("transport", None)
        elif "transport" in vars(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is no more."""
        super().connection_lost(exc)
        if self._is_let_go:
            vars(self).pop("transport", None)

    def hear(self, pcm: bytes) -> bool:
        """Send one packet of PCM16 at 16 kHz now; False when the socket cannot take it now."""
        sound = b2a_base64(pcm, newline=False).translate(_URL_SAFE)
        return self.send_now(_BEFORE_SOUND + sound + _BEHIND_SOUND)

    async def remember(self, said: str) -> None:
        """Send what was said before, as the user's turn that is not over."""
        turn = {"parts": [{"text": said}], "role": "user"}
        content = {"turns": [turn], "turnComplete": False}
        await self.send_text(json.dumps({"client_content": content}))

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
                    await self.on_speech(self._with_more(content))
                else:
                    await self.on_words(content)
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
