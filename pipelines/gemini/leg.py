"""Leg: one of a call's connections to the model, and what it is sent before it is up to date.

    notes ─▶ the caller's audio again, at most 4 × real time ─▶ prompts ─▶ live

A model's voice activity detection smears what comes faster.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.genai import types
from loguru import logger
from websockets.exceptions import ConnectionClosed

from pipelines.gemini.audio_socket import AUDIO_TYPE
from pipelines.gemini.client import Connection, ModelSession
from pipelines.gemini.messages import Words
from pipelines.gemini.resumption import Resumption
from pipelines.gemini.send_queue import Send
from pipelines.gemini.server_message import LeftOut
from pipelines.gemini.unkept_audio import UnkeptAudio

# 80 ms of audio every 20 ms, by the clock: a busy loop would not catch up with the caller.
PACKETS_AT_ONCE = 4
PACKETS_EVERY_SECS = 0.02

# What a connection said before it was decided whether it is heard.
Held = Words | types.LiveServerMessage | LeftOut


@dataclass(eq=False, slots=True)
class Leg:
    """One connection that is open."""

    connection: Connection
    session: ModelSession
    # The handle that it continues.
    resumes: str | None
    opened_at: float
    resumption: Resumption = field(default_factory=Resumption)
    # The packet that it is sent next, while it is not live.
    next_packet: int = 0
    # Each packet is sent when it comes.
    is_live: bool = False
    # What it is sent before and after the audio.
    first: Sequence[Send] = ()
    then: Sequence[Send] = ()
    # It may be sent something; before that, it only waits.
    begins: asyncio.Event = field(default_factory=asyncio.Event)
    # It serves the call.
    serves: asyncio.Event = field(default_factory=asyncio.Event)
    held: list[Held] = field(default_factory=list)
    # It has transcribed the caller.
    listens: bool = False
    pump: asyncio.Task[str] | None = None

    async def catch_up(self, unkept: UnkeptAudio) -> None:
        """Send what it has missed, then be live. Raises: ConnectionClosed, OSError."""
        # Silence smears nothing.
        paced = unkept.speech_from(self.next_packet) is not None
        clock = asyncio.get_running_loop().time
        sent, due = 0, clock()
        while self.next_packet < unkept.end:
            packet, self.next_packet = unkept.take(self.next_packet)
            if not self.session.hear(packet):
                blob = types.Blob(data=packet, mime_type=AUDIO_TYPE)
                await self.session.send_realtime_input(audio=blob)
            sent += 1
            if paced and sent % PACKETS_AT_ONCE == 0:
                due += PACKETS_EVERY_SECS
                if (wait := due - clock()) > 0:
                    await asyncio.sleep(wait)
        self.is_live = True

    async def send_each(self, sends: Sequence[Send]) -> None:
        """Send these, and leave out what cannot be sent. Raises: ConnectionClosed, OSError."""
        for send in sends:
            try:
                await send(self.session)
            except (ConnectionClosed, OSError):
                raise
            except Exception as error:
                logger.error("a message to the model was left out", error=type(error).__name__)
