"""Splice: joins Twilio's connection with the owner's, so that bytes pass from one to the other.

    Twilio ══ data_received ══▶ owner's transport.write     no frame is read, none is copied
    owner  ══ data_received ══▶ Twilio's transport.write
    a peer reads slowly ─▶ its buffer is full ─▶ the other side is not read ─ 5 s ─▶ both end

Both connections carry the same WebSocket frames in the same direction, a client's masked and a
server's not (RFC 6455, section 5.1), so what comes in on one is what goes out on the other: pings
and close frames, too. Nothing has come from the owner before the splice: `start` asks it to begin.
"""

import asyncio
from collections.abc import Callable

from pipelines.gemini.websocket_frames import masked_text_frame
from server.twilio.media_websocket import SLOW_READER_SECS, MediaWebSocketProtocol

# How long Twilio may take to send the rest of a frame.
WHOLE_WITHIN_SECS = 0.25
_LOOKS_EVERY_SECS = 0.005


class _End(asyncio.Protocol):
    """The protocol of one connection: what it receives is written to the other one."""

    def __init__(
        self,
        own: asyncio.Transport,
        other: asyncio.Transport,
        on_end: Callable[[Exception | None], None],
    ) -> None:
        self._own, self._other = own, other
        self._on_end = on_end
        self._slow: asyncio.TimerHandle | None = None
        # The event loop calls the transport itself.
        self.data_received = other.write  # type: ignore[method-assign]

    def pause_writing(self) -> None:
        """The peer reads slowly: what would come for it waits where it comes from."""
        if not self._other.is_closing():
            self._other.pause_reading()
        self._slow = asyncio.get_running_loop().call_later(SLOW_READER_SECS, self._own.abort)

    def resume_writing(self) -> None:
        """The peer has read."""
        self.cancel_timer()
        if not self._other.is_closing():
            self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, and with it the splice."""
        self.cancel_timer()
        self._on_end(exc)

    def cancel_timer(self) -> None:
        """Wait no longer for a slow reader."""
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None


class Splice:
    """Twilio's connection and the owner's; `run` lasts until either is over."""

    def __init__(self, twilio: MediaWebSocketProtocol, owner: asyncio.Transport) -> None:
        self._twilio = twilio
        self._owner = owner
        self._ended = asyncio.Event()

    def abort(self) -> None:
        """Let go of an owner that does not answer any more."""
        self._owner.abort()

    async def run(self, start: str) -> bool:
        """Send `start`, and join both.

        False when the owner has gone, or Twilio is in the middle of a frame for too long: then
        nothing was sent, and nothing of the stream is lost.
        """
        transport = self._twilio.transport
        twilio_end = _End(transport, self._owner, self._twilio_lost)
        owner_end = _End(self._owner, transport, lambda _: self._ended.set())
        unread = await self._handed_over(twilio_end)
        if unread is None:
            self._owner.abort()
            return False
        self._owner.set_protocol(owner_end)
        self._owner.write(masked_text_frame(start.encode()) + unread)
        try:
            await self._ended.wait()
        finally:
            twilio_end.cancel_timer()
            owner_end.cancel_timer()
            self._twilio.take_back()
            self._owner.close()
        return True

    def _twilio_lost(self, error: Exception | None) -> None:
        self._twilio.connection_lost(error)
        self._ended.set()

    async def _handed_over(self, end: _End) -> bytes | None:
        """What Twilio has sent behind `start`, at the end of a frame; None: too late."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + WHOLE_WITHIN_SECS
        while not self._owner.is_closing():
            # Also after a loop that was busy for all of the time.
            if (unread := self._twilio.hand_over(end)) is not None:
                return unread
            if loop.time() >= give_up:
                break
            await asyncio.sleep(_LOOKS_EVERY_SECS)
        return None
