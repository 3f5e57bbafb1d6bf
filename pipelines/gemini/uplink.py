"""Uplink: what a call sends to the model, over any number of connections.

caller's audio ─┬─▶ ring (`UnkeptAudio`), for a connection that is behind, or comes next
                └─▶ each live connection: now, or behind what waits (`SendQueue`)
all else ─────────▶ `SendQueue`, which waits for a connection that serves
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from websockets.exceptions import ConnectionClosed

from agent.measures import MeasureSink, UplinkShare
from agent.model_instructions import CALLER_WAITS
from pipelines.gemini import client_message
from pipelines.gemini.client import ModelSession
from pipelines.gemini.continuity import Continuity
from pipelines.gemini.leg import Leg
from pipelines.gemini.refusals import close_reason
from pipelines.gemini.send_queue import Send, SendQueue
from pipelines.gemini.unkept_audio import UnkeptAudio
from pipelines.phone.packet_stamp import take_stamp

# A hedge that gives no sign of having heard anything is asked for an answer.
HEDGE_ASKED_AFTER_SECS = 1.2


class Uplink:
    """Sends one call's audio and messages, in order; nothing is lost with a connection."""

    def __init__(
        self,
        legs: Continuity[Leg],
        measure: MeasureSink,
        stopwatch: Callable[[], float],
        *,
        marks_speech: bool,
    ) -> None:
        """`marks_speech`: the model does not detect speech itself, and has to be told."""
        self._legs = legs
        self._measure = measure
        self._stopwatch = stopwatch
        self._marks_speech = marks_speech
        self._caller_speaks = False
        self._waiting = SendQueue()
        self.unkept = UnkeptAudio()
        # Sends a message behind what waits.
        self.send = self._waiting.add
        # The audio that waits is in the ring, too: the next connection is sent it from there.
        self.drop_sound = self._waiting.drop_sound

    def hear(self, pcm: bytes) -> None:
        """Send a packet of the caller's sound, PCM16 at 16 kHz: now, or behind what waits."""
        self.unkept.add(pcm)
        leg, beside = self._legs.serving, self._legs.beside
        if beside is not None and beside.is_live and not beside.session.hear(pcm):
            beside.is_live = False
            beside.next_packet = self.unkept.end - 1
            beside.begins.set()
        if leg is None or not leg.is_live:
            return
        if self._waiting.is_empty and leg.session.hear(pcm):
            if (came := take_stamp()) is not None:
                leg.session.when_sent(partial(self._measure_share, came))
            return
        send, came = client_message.audio(pcm), take_stamp()
        self._waiting.add_sound(send if came is None else self._timed(send, came, leg.session))

    def flush(self) -> None:
        """Send the sound that waits for more of it: the caller stopped, so an answer is due."""
        for leg in (self._legs.serving, self._legs.beside):
            if leg is not None and leg.is_live:
                leg.session.flush()

    def mark_speech(self, *, starts: bool) -> None:
        """Tell a model that does not detect speech itself that the caller begins or ends."""
        self._caller_speaks = starts
        leg = self._legs.serving
        if leg is not None and leg.is_live:
            self._waiting.add(client_message.activity(starts=starts))

    async def send_to(self, leg: Leg) -> str:
        """Send a connection its briefing, what it has missed, and what comes.

        Returns why it ended.
        """
        try:
            await leg.begins.wait()
            await leg.send_each(leg.first)
            marked = self._marks_speech and leg.next_packet < self.unkept.end
            if marked:
                await client_message.activity(starts=True)(leg.session)
            await leg.catch_up(self.unkept)
            if marked and not self._caller_speaks:
                await client_message.activity(starts=False)(leg.session)
            await leg.send_each(leg.then)
            if leg.serves.is_set():
                return await self._waiting.send_to(leg.session)
            await self._ask_hedge(leg)
            await leg.serves.wait()
            if not leg.is_live:
                await leg.catch_up(self.unkept)
        except ConnectionClosed as error:
            return close_reason(error)
        except OSError as error:
            return type(error).__name__
        return await self._waiting.send_to(leg.session)

    async def _ask_hedge(self, leg: Leg) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HEDGE_ASKED_AFTER_SECS):
                await leg.serves.wait()
        if not leg.serves.is_set() and not leg.listens:
            await leg.session.send_realtime_input(text=CALLER_WAITS)

    def _timed(self, send: Send, came: float, opened: ModelSession) -> Send:
        """Measure our share of it; waiting for a session that has yet to be opened is not ours."""

        async def timed(session: ModelSession) -> None:
            await send(session)
            if session is opened:
                self._measure_share(came)

        return timed

    def _measure_share(self, came: float) -> None:
        self._measure(UplinkShare(self._stopwatch() - came))
