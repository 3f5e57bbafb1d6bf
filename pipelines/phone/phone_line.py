"""PhoneLine: the call's audio to and from Twilio, over the media stream that is bound to it.

The line exists before the first stream, and stays when a stream is lost and replaced.

    Twilio ── socket ── MediaStream ── bind ──▶ PhoneLine ──▶ hearing.media/key/mark/stop
                                                    ▲ play · mark · clear
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from pipelines.phone.twilio_serializer import (
    Dtmf,
    Mark,
    Media,
    Message,
    Stop,
    StreamError,
    around_payload,
    decode,
    encode_clear,
    encode_mark,
    encode_media,
)
from pipelines.rates import PACKET_BYTES
from pipelines.recording.recording import Recording
from pipelines.recording.tape import AroundAudio, Kind, Tape, is_canonical

# Limit of what waits for a stream: five minutes of speech, more than the longest greeting.
MOST_WAITING_BYTES = 300 * 50 * PACKET_BYTES
# What waited is sent in pieces of a second of speech, marks included.
AT_ONCE_BYTES = 50 * PACKET_BYTES


class MediaStream(Protocol):
    """One Twilio media stream; the server implements it."""

    @property
    def stream_sid(self) -> str:
        """Twilio's StreamSid."""
        ...

    async def send(self, *texts: str) -> None:
        """Send messages in order; a closed stream drops them."""
        ...

    async def close(self) -> None:
        """Close the socket; Twilio continues with the TwiML after `<Stream>`."""
        ...


class Hearing(Protocol):
    """Takes what comes in over the line."""

    async def media(self, payload: bytes) -> None:
        """Audio of the caller: mu-law, 8 kHz."""
        ...

    async def key(self, digit: str) -> None:
        """The caller pressed a key."""
        ...

    async def mark(self, name: str) -> None:
        """Playback reached a mark."""
        ...


class PhoneLine:
    """The two-way line of one call."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stream: MediaStream | None = None
        self._hearing: Hearing | None = None
        # What waits for the first stream: audio, and the names of marks.
        self._waiting: deque[bytes | str] = deque()
        self._waiting_bytes = 0
        # The stream to which the waiting audio is being sent; new audio queues behind it.
        self._catching_up: MediaStream | None = None
        self._closed = False
        # Twilio has sent `stop` over the latest stream.
        self.stopped = False
        # When the first stream was bound; times of the call count from here.
        self.answered_at: float | None = None
        self.is_continued = False
        self.packets_received = 0
        self.packets_sent = 0
        # Called, in this order, whenever a stream is bound, before anything is sent over it.
        self.on_bound: list[Callable[[], None]] = []
        self.on_lost: Callable[[], None] = lambda: None
        # Takes the caller's audio, when the call is recorded.
        self.recording: Recording | None = None
        # Takes all messages, when a cassette of the call is kept.
        self.tape: Tape | None = None

    @property
    def bound(self) -> bool:
        """Whether a stream carries the line now."""
        return self._stream is not None

    @property
    def carries(self) -> bool:
        """Whether audio played now will be heard: now, or once the phone is answered."""
        return self._stream is not None or (self.answered_at is None and not self._closed)

    def ms_from_answer(self, time: float) -> int:
        """Convert a time of the call's clock to ms from the answer; 0 before it."""
        if self.answered_at is None:
            return 0
        return max(0, round((time - self.answered_at) * 1000))

    def continue_from(self, answered_at: float) -> None:
        """Go on with a call that was answered then, on another instance."""
        self.answered_at = answered_at
        self.is_continued = True

    def listen(self, hearing: Hearing) -> None:
        """Pass what comes in to `hearing` from now on."""
        self._hearing = hearing

    async def bind(self, stream: MediaStream) -> None:
        """Connect the line to `stream`, which replaces the previous one.

        Sends what was played before the first stream. A closed line closes `stream` at once.
        """
        if self._closed:
            await stream.close()
            return
        if self._stream is not None:
            self._lose()
        self._stream = stream
        self.stopped = False
        if self.answered_at is None:
            self.answered_at = self._clock()
        self._catching_up = stream
        if self.tape is not None:
            self.tape.phone(Kind.PHONE_BOUND, stream.stream_sid)
        for bound in self.on_bound:
            bound()
        try:
            while self._waiting and self._stream is stream:
                await self._send(stream, *self._take_waiting(stream.stream_sid))
        finally:
            if self._catching_up is stream:
                self._catching_up = None

    def unbind(self, stream: MediaStream) -> None:
        """The stream is lost. Ignored when another stream has replaced it."""
        if self._stream is stream:
            self._stream = None
            self._lose()

    async def receive(self, text: str) -> bool:
        """Handle one message of the bound stream; False after `stop`.

        Raises: StreamError when it is no message of the protocol, or comes at the wrong time.
        """
        message = decode(text) if self.tape is None else self._decode_onto(self.tape, text)
        hearing = self._hearing
        if isinstance(message, Media):
            self.packets_received += 1
            if self.recording is not None:
                self.recording.caller(message.payload)
            if hearing is not None:
                await hearing.media(message.payload)
        elif isinstance(message, Mark):
            if hearing is not None:
                await hearing.mark(message.name)
        elif isinstance(message, Dtmf):
            if hearing is not None:
                await hearing.key(message.digit)
        elif isinstance(message, Stop):
            self.stopped = True
            return False
        else:
            raise StreamError(f"{type(message).__name__.lower()!r} comes only once, first")
        return True

    @staticmethod
    def _decode_onto(tape: Tape, text: str) -> Message:
        try:
            message = decode(text)
        except StreamError:
            tape.phone(Kind.PHONE_IN, text)
            raise
        content = _around(text, message.payload) if isinstance(message, Media) else text
        tape.phone(Kind.PHONE_IN, content)
        return message

    async def play(self, payload: bytes) -> None:
        """Play mu-law to the caller, behind what was played before."""
        if self._waits:
            if self._waiting_bytes + len(payload) <= MOST_WAITING_BYTES:
                self._waiting.append(payload)
                self._waiting_bytes += len(payload)
        elif self._stream is not None:
            await self._send_media(self._stream, payload)

    async def mark(self, name: str) -> None:
        """Ask Twilio for a mark once everything played so far was heard."""
        if self._waits:
            self._waiting.append(name)
        elif self._stream is not None:
            await self._send(self._stream, encode_mark(self._stream.stream_sid, name))

    async def clear(self) -> None:
        """Drop what was not heard yet."""
        self._forget_waiting()
        if self._stream is not None:
            await self._send(self._stream, encode_clear(self._stream.stream_sid))

    async def close(self) -> None:
        """Close the line and its stream for good; Twilio continues with the TwiML after it."""
        self._closed = True
        # Break the reference cycle with the listeners.
        self._hearing = None
        self.on_bound.clear()
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()

    @property
    def _waits(self) -> bool:
        if self._stream is None:
            return self.answered_at is None
        return self._catching_up is self._stream

    def _lose(self) -> None:
        if self.tape is not None:
            self.tape.phone(Kind.PHONE_LOST, "")
        self._forget_waiting()
        self.on_lost()

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _take_waiting(self, stream_sid: str) -> list[str]:
        """Encode the oldest waiting audio and marks, at most a second of speech."""
        messages: list[str] = []
        sound_bytes = 0
        while self._waiting and sound_bytes < AT_ONCE_BYTES:
            content = self._waiting.popleft()
            if isinstance(content, bytes):
                sound_bytes += len(content)
                self.packets_sent += 1
                messages.append(encode_media(stream_sid, content))
            else:
                messages.append(encode_mark(stream_sid, content))
        self._waiting_bytes -= sound_bytes
        return messages

    async def _send_media(self, stream: MediaStream, payload: bytes) -> None:
        self.packets_sent += 1
        if self.tape is not None:
            before, behind = around_payload(stream.stream_sid)
            self.tape.phone(Kind.PHONE_OUT, (before, payload, behind))
        await stream.send(encode_media(stream.stream_sid, payload))

    async def _send(self, stream: MediaStream, *texts: str) -> None:
        if self.tape is not None:
            for text in texts:
                self.tape.phone(Kind.PHONE_OUT, text)
        await stream.send(*texts)


def _around(text: str, payload: bytes) -> str | AroundAudio:
    """A media message without its base64; the whole of it when an encoder would not write it so."""
    start = text.find('"', text.find('"payload"') + 9) + 1
    end = start + (len(payload) + 2) // 3 * 4
    if start < 10 or text[end : end + 1] != '"' or not is_canonical(text[end - 3 : end]):
        return text
    return text[:start], payload, text[end:]
