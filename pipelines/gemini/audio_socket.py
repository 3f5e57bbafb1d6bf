"""AudioSocket: the model's WebSocket with a fast path for audio and transcripts.

google-genai builds and validates a pydantic message for each packet. At 80 packets a second and
call, that is most of a call's CPU time. Audio and transcripts have one shape each, so they are
encoded and parsed here; everything else is sent and understood by the SDK.

    hear ─▶ {"realtime_input": {"audio": …}} ─▶ socket            at once, or returns False;
                                                   two or three together on a busy loop
    socket ─▶ recv ─┬─ only speech ─────▶ on_speech
                    ├─ only transcript ─▶ on_words
                    └─ all else ────────▶ `server_message`    in the order received

The SDK passes `create_connection` on to websockets, which creates this class for its sessions.

Source: https://ai.google.dev/api/live,
https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html
"""

import asyncio
from binascii import b2a_base64
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.frames import CloseCode

from agent.loop_load import LoopLoad
from pipelines.gemini.fast_websocket import FastClientConnection
from pipelines.gemini.messages import Words, read_content, read_speech
from pipelines.gemini.packet_joiner import PACKET_SECS, PacketJoiner
from pipelines.gemini.server_message import opens_session
from pipelines.rates import GEMINI_HEARS_AT, GEMINI_SPEAKS_AT
from pipelines.recording.tape import Kind, Tape, TapedMessage

AUDIO_TYPE = f"audio/pcm;rate={GEMINI_HEARS_AT}"
# Exactly as google-genai writes it.
_BEFORE_SOUND = b'{"realtime_input": {"audio": {"data": "'
_BEHIND_SOUND = b'", "mime_type": "' + AUDIO_TYPE.encode() + b'"}}}'
# The alphabet of base64 that google-genai uses: RFC 4648, section 5.
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# At most 200 ms of speech are passed on as one piece.
MOST_AT_ONCE_BYTES = GEMINI_SPEAKS_AT * 2 // 5

# The answer to the setup, without what the SDK might not know in it.
_SETUP_COMPLETE = b'{"setupComplete": {}}'

OnSpeech = Callable[[bytes], Awaitable[None]]
OnWords = Callable[[Words], Awaitable[None]]


async def _unheard(_: object) -> None:
    """Drop what comes before `listen`."""


class AudioSocket(FastClientConnection):
    """Client WebSocket that sends audio at once, and passes audio and transcripts to callbacks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_speech: OnSpeech = _unheard
        self._on_words: OnWords = _unheard
        self._listens = False
        self._drops_transport = False
        self._is_lost = False
        self._tape: Tape | None = None
        self._wire = 0
        # Those of the unread messages, in their order, while there is a tape.
        self._taped: deque[TapedMessage] = deque()
        self._load = LoopLoad()
        self._joiner = PacketJoiner()
        # Sends packets for which no other one comes.
        self._sending_held: asyncio.TimerHandle | None = None
        # Told when the packets that wait are sent.
        self._tell_sent: list[Callable[[], None]] = []

    def tape_on(self, tape: Tape | None) -> None:
        """Add all messages of this connection to the tape."""
        if tape is not None:
            self._tape, self._wire = tape, tape.new_model_wire()

    def join_packets(self, load: LoopLoad) -> None:
        """Put as many packets into a message as `load` says, from now on."""
        self._load = load

    def listen(self, on_speech: OnSpeech, on_words: OnWords) -> None:
        """Call these for messages that hold only speech, or only a piece of a transcript.

        `on_speech` takes PCM16 at 24 kHz, `on_words` the words of either side.
        """
        self._on_speech, self._on_words = on_speech, on_words
        self._listens = True

    def drop_transport(self) -> None:
        """Abort the connection if it is not closed yet, and drop the transport.

        This breaks a reference cycle with uvloop's TLS transport, which would hold 250 kB until a
        full garbage collection.
        """
        self._drops_transport = True
        if not hasattr(self, "transport"):
            return
        if self._is_lost:
            del self.transport
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is lost: some turns of the loop after the protocol's state is CLOSED."""
        super().connection_lost(exc)
        self._joiner.take()
        self._tell_sent.clear()
        if self._sending_held is not None:
            self._sending_held.cancel()
            self._sending_held = None
        if self._tape is not None:
            refused = getattr(self.protocol.handshake_exc, "response", None)
            code, reason = str(self.protocol.close_code), self.protocol.close_reason or ""
            if refused is not None:
                code, reason = f"http-{refused.status_code}", refused.body.decode(errors="replace")
            self._tape.add(Kind.MODEL_CLOSED, self._wire, f"{code} {reason}")
        self._is_lost = True
        if self._drops_transport:
            del self.transport

    def hear(self, pcm: bytes) -> bool:
        """Send one packet of PCM16 at 16 kHz; False when the socket is not writable.

        It is sent now, or at most 60 ms later together with others, and before anything else.
        """
        most = self._load.packets
        if most > 1 or self._joiner.held:
            return self._hear_busy(pcm, most)
        is_sent = self.send_now(_message_of(pcm))
        if is_sent and self._tape is not None:
            self._tape.add(Kind.MODEL_HEARS, self._wire, pcm)
        return is_sent

    def when_sent(self, tell: Callable[[], None]) -> None:
        """Call `tell` once everything that was heard is sent: now, if nothing waits."""
        if self._joiner.held:
            self._tell_sent.append(tell)
        else:
            tell()

    def flush(self) -> None:
        """Send the packets that wait for others, if the socket is writable."""
        if self._joiner.held and self.is_writable:
            self._send_packets(self._joiner.take())

    def _hear_busy(self, pcm: bytes, most: int) -> bool:
        if not self.is_writable:
            return False
        due = self._joiner.add(pcm, self.loop.time(), most)
        if due:
            self._send_packets(due)
        elif self._sending_held is None:
            self._sending_held = self.loop.call_at(self._joiner.due_at, self._send_held)
        return True

    def _send_packets(self, packets: list[bytes]) -> None:
        self.send_now(_message_of(b"".join(packets)))
        self._note_sent(packets)

    def _note_sent(self, packets: list[bytes]) -> None:
        if self._tape is not None:
            for pcm in packets:
                self._tape.add(Kind.MODEL_HEARS, self._wire, pcm)
        tells, self._tell_sent = self._tell_sent, []
        for tell in tells:
            tell()

    def _send_held(self) -> None:
        """The time is over of the packets that waited when the timer was set, or of later ones."""
        self._sending_held = None
        if not self._joiner.held:
            return
        now, due_at = self.loop.time(), self._joiner.due_at
        if now >= due_at:
            self.flush()
        if self._joiner.held:
            again_at = max(due_at, now + PACKET_SECS) if now >= due_at else due_at
            self._sending_held = self.loop.call_at(again_at, self._send_held)

    async def send(self, message: Any, *, text: bool | None = None) -> None:
        """Send a message, as in websockets, behind the packets that wait."""
        if packets := self._joiner.take():
            await super().send(_message_of(b"".join(packets)), text=True)
            self._note_sent(packets)
        if self._tape is not None:
            self._tape.add(Kind.MODEL_OUT, self._wire, message)
        await super().send(message, text=text)

    def on_message(self, message: bytes) -> None:
        """A whole message was received; it is read later."""
        if self._tape is not None:
            taped = TapedMessage(message)
            self._taped.append(taped)
            self._tape.add(Kind.MODEL_IN, self._wire, taped)

    async def close(self, code: CloseCode | int = 1000, reason: str = "") -> None:
        """Send the packets that wait, and close the connection."""
        self.flush()
        self._taped.clear()
        await super().close(code, reason)

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message that is not only speech or transcript; those go to the callbacks.

        Raises: what `ClientConnection.recv` and the callbacks raise.
        """
        while True:
            message = await super().recv(decode)
            content = read_content(message) if self._tape is None else self._read_taped(message)
            if content is None:
                is_setup = not self._listens and opens_session(message)
                return _SETUP_COMPLETE if is_setup else message
            if isinstance(content, bytes):
                await self._on_speech(self._with_more(content))
            else:
                await self._on_words(content)

    def _read_taped(self, message: str | bytes) -> bytes | Words | None:
        """Read a message, and give its audio to the tape."""
        taped = self._taped.popleft() if self._taped else None
        speech = read_speech(message) if isinstance(message, bytes) else None
        if speech is None:
            return read_content(message)
        if taped is not None:
            taped.decoded(speech)
        return speech

    def _with_more(self, speech: bytes) -> bytes:
        """Join this speech with the speech received since, so that a late loop catches up."""
        pieces, size = [speech], len(speech)
        # A trailing half sample is dropped downstream, so nothing may be appended to it.
        while size < MOST_AT_ONCE_BYTES and size % 2 == 0:
            more = self.next_if(read_speech)
            if more is None:
                break
            if self._taped:
                self._taped.popleft().decoded(more)
            pieces.append(more)
            size += len(more)
        return speech if len(pieces) == 1 else b"".join(pieces)


def _message_of(pcm: bytes) -> bytes:
    sound = b2a_base64(pcm, newline=False).translate(_URL_SAFE)
    return _BEFORE_SOUND + sound + _BEHIND_SOUND
