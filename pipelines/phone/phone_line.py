"""PhoneLine: the call's audio to and from Twilio. It exists before a stream is bound to it,
and stays when a stream is lost and another takes its place.

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
    Stop,
    StreamError,
    decode,
    encode_clear,
    encode_mark,
    encode_media,
)
from pipelines.rates import PACKET_BYTES
from pipelines.recording.recording import Recording

# What may wait for a stream: five minutes of speech. The longest greeting takes less to be said.
MOST_WAITING_BYTES = 300 * 50 * PACKET_BYTES
# Once a stream is there, what waits is sent in pieces of a second of speech, marks included.
AT_ONCE_BYTES = 50 * PACKET_BYTES


class MediaStream(Protocol):
    """One media stream of Twilio's, as the server hands it over."""

    @property
    def stream_sid(self) -> str:
        """Twilio's name for it."""
        ...

    async def send(self, *texts: str) -> None:
        """Send messages, in this order; a stream that has closed takes and drops them."""
        ...

    async def close(self) -> None:
        """Close the socket; Twilio goes on with the TwiML behind `<Stream>`."""
        ...


class Hearing(Protocol):
    """Who listens to the line."""

    async def media(self, payload: bytes) -> None:
        """The caller's sound: mu-law, 8 kHz."""
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
        # What waits for the first stream: sound, and the names of marks.
        self._waiting: deque[bytes | str] = deque()
        self._waiting_bytes = 0
        # The stream that is being sent what waited; what is played meanwhile waits behind it.
        self._catching_up: MediaStream | None = None
        self._closed = False
        # Twilio said that it will send no more over the stream that is, or was, bound last.
        self.stopped = False
        # When the first stream was bound: the call's zero.
        self.answered_at: float | None = None
        self.packets_received = 0
        self.packets_sent = 0
        # Called, in this order, whenever a stream is bound, before anything is sent over it.
        self.on_bound: list[Callable[[], None]] = []
        self.on_lost: Callable[[], None] = lambda: None
        # Keeps the caller's sound, when the call is recorded.
        self.recording: Recording | None = None

    @property
    def bound(self) -> bool:
        """Whether a stream carries the line now."""
        return self._stream is not None

    @property
    def carries(self) -> bool:
        """Whether what is played now will be heard: now, or as soon as the phone is answered."""
        return self._stream is not None or (self.answered_at is None and not self._closed)

    def ms_from_answer(self, moment: float) -> int:
        """A moment of the call's clock as ms from the answer; 0 before it."""
        if self.answered_at is None:
            return 0
        return max(0, round((moment - self.answered_at) * 1000))

    def listen(self, hearing: Hearing) -> None:
        """Hand what comes in to `hearing` from now on."""
        self._hearing = hearing

    async def bind(self, stream: MediaStream) -> None:
        """Carry the line over `stream`; one that carried it before is let go.

        What was played before the first stream came is sent now. A line that was closed takes no
        stream: it is closed at once.
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
        for bound in self.on_bound:
            bound()
        try:
            while self._waiting and self._stream is stream:
                await stream.send(*self._take_waiting(stream.stream_sid))
        finally:
            if self._catching_up is stream:
                self._catching_up = None

    def unbind(self, stream: MediaStream) -> None:
        """The stream is gone. One that carries the line no more is nobody's loss."""
        if self._stream is stream:
            self._stream = None
            self._lose()

    async def receive(self, text: str) -> bool:
        """Take one message of the bound stream; False after `stop`.

        Raises: StreamError when it is no message of the protocol, or comes at the wrong time.
        """
        message = decode(text)
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

    async def play(self, payload: bytes) -> None:
        """Append mu-law to what the caller hears."""
        if self._waits:
            if self._waiting_bytes + len(payload) <= MOST_WAITING_BYTES:
                self._waiting.append(payload)
                self._waiting_bytes += len(payload)
        elif self._stream is not None:
            await self._send_media(self._stream, payload)

    async def mark(self, name: str) -> None:
        """Ask to be told when everything played so far was heard."""
        if self._waits:
            self._waiting.append(name)
        elif self._stream is not None:
            await self._stream.send(encode_mark(self._stream.stream_sid, name))

    async def clear(self) -> None:
        """Take back what was not heard yet."""
        self._forget_waiting()
        if self._stream is not None:
            await self._stream.send(encode_clear(self._stream.stream_sid))

    async def close(self) -> None:
        """Let the stream go, for good: the TwiML behind it says what comes next."""
        self._closed = True
        # What still comes is nobody's, and who listened knows the line: neither keeps the other.
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
        self._forget_waiting()
        self.on_lost()

    def _forget_waiting(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _take_waiting(self, stream_sid: str) -> list[str]:
        """The messages of the oldest sound and marks that wait, as many as are sent at once."""
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
        await stream.send(encode_media(stream.stream_sid, payload))
