"""GeminiSession: one call's session with Gemini Live, reconnected whenever it drops.

Caller audio waits here while there is no connection, so that a slow or refused connect loses
nothing. A dropped session is resumed by its handle; when Gemini refuses that, a new session is
told the conversation so far.

    connect ──▶ pump: send what waits · receive ──▶ dropped ──▶ connect (handle) ──▶ …
       └─ refused, or dropped at once: again, until the retry budget is used up ──▶ NoModel

What cannot succeed (a wrong key, a certificate, a name that is not found) is not tried again. No
message ends a session: one that is not known, or that fails here, is left out and counted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from google.genai import types
from loguru import logger
from websockets.exceptions import ConnectionClosed

from agent.measures import MeasureSink, ModelConnect, ModelDrop, ModelLeftOut, UplinkShare
from agent.ports import Record
from pipelines.gemini.audio_socket import AUDIO_TYPE, OnSpeech, OnWords
from pipelines.gemini.client import Connection, ConnectModel, ModelSession
from pipelines.gemini.messages import Words
from pipelines.gemini.refusals import (
    HOPELESS,
    HOPELESS_AT_FIRST,
    close_reason,
    presentable,
    refusal,
    sentence,
)
from pipelines.gemini.resumption import Resumption
from pipelines.gemini.retry_budget import RetryBudget, SessionPatience
from pipelines.gemini.send_queue import Send, SendQueue
from pipelines.gemini.server_message import LeftOut
from pipelines.phone.packet_stamp import take_stamp

# Of so many kinds of what was left out in one call, each is reported once.
MOST_KINDS = 50
# How long a closing handshake may hold up what comes after it.
CLOSED_WITHIN_SECS = 1.0
# What was received before a connection broke is still read; it is there already.
DRAINED_WITHIN_SECS = 1.0


class NoModel(Exception):
    """Gemini could not be reached within the retry budget.

    The message is the last refusal, and what Gemini said of it.
    """


class GeminiSession:
    """Connects, sends, receives and reconnects, until its `run` is cancelled."""

    def __init__(
        self,
        client: ConnectModel,
        config: Callable[[str | None], types.LiveConnectConfig],
        *,
        on_message: Callable[[types.LiveServerMessage], Awaitable[None]],
        on_speech: OnSpeech,
        on_words: OnWords,
        on_connected: Callable[[bool], Awaitable[None]],
        record: Record,
        measure: MeasureSink,
        patience: SessionPatience,
        stopwatch: Callable[[], float],
    ) -> None:
        """`config` makes the setup for a resume handle, or for a session from scratch.

        `on_speech` and `on_words` take the messages that are nothing but speech, or a piece of a
        transcript, `on_message` all others, in the order that they came. `on_connected` hears of
        each session that is open, with whether it remembers the call.
        """
        self._client = client
        self._config = config
        self._on_message = on_message
        self._on_speech = on_speech
        self._on_words = on_words
        self._on_connected = on_connected
        self._record = record
        self._measure = measure
        self._patience = patience
        self._stopwatch = stopwatch
        self._resumption = Resumption()
        # The session that is open now, and is sent what comes.
        self._open: ModelSession | None = None
        self._waiting = SendQueue()
        self._budget = RetryBudget(patience)
        self._budget.somebody_waits = False
        # The phone was answered.
        self._answered = asyncio.Event()
        # The attempt to connect that is under way.
        self._attempt: asyncio.Timeout | None = None
        # This call had a session before.
        self._was_open = False
        # What Gemini said when it closed the last session.
        self._said = ""
        self._kinds_left_out: set[str] = set()
        # Connections that are being closed, beside what goes on.
        self._closing: set[asyncio.Task[None]] = set()

    def hear(self, pcm: bytes) -> None:
        """Send a packet of the caller's sound, PCM16 at 16 kHz: now, or behind what waits.

        Of sound that has to wait, only the newest is kept.
        """
        session = self._open
        if session is not None and self._waiting.is_empty and session.hear(pcm):
            if (came := take_stamp()) is not None:
                self._measure(UplinkShare(self._stopwatch() - came))
            return

        async def send(session: ModelSession) -> None:
            await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type=AUDIO_TYPE))

        what: Send = send
        if session is not None and (came := take_stamp()) is not None:
            what = self._timed(what, came, session)
        self._waiting.add_sound(what)

    def send(self, what: Send) -> None:
        """Send behind what waits."""
        self._waiting.add(what)

    def send_first(self, what: Send) -> None:
        """Send before everything that waits."""
        self._waiting.add_first(what)

    def answered(self) -> None:
        """Somebody waits from now on, for what is left of the patience."""
        self._budget.somebody_waits = True
        self._answered.set()
        if self._open is not None:
            self._budget.reset()
            return
        now = asyncio.get_running_loop().time()
        attempt = self._attempt
        if attempt is not None and not attempt.expired() and self._budget.is_spent(now):
            attempt.reschedule(now)

    def leave_out(self, left: LeftOut) -> None:
        """Count what was not used of a message; report each kind once."""
        self._measure(ModelLeftOut(left.what))
        kind = f"{left.what}: {left.name}"
        if kind in self._kinds_left_out or len(self._kinds_left_out) >= MOST_KINDS:
            return
        self._kinds_left_out.add(kind)
        detail = {"what": left.what, "name": left.name}
        if said := presentable(left.said, self._client.secrets):
            detail["said"] = said
        self._record.event("model.left_out", detail)
        logger.bind(**detail).warning("model sent what is not known; it is left out")

    async def run(self) -> None:
        """Keep a session open until cancelled.

        Raises: NoModel when none can be opened within the patience.
        """
        while True:
            connection, session = await self._connect()
            opened, resumed = asyncio.get_running_loop().time(), self._resumption.handle
            try:
                self._resumption.opened()
                session.listen(self._take_speech, self._take_words)
                await self._on_connected(resumed is not None)
                self._open, self._was_open = session, True
                reason = await self._pump(session)
            finally:
                self._open = None
                await self._leave(connection)
            self._measure(ModelDrop(reason))
            said, self._said = self._said, ""
            self._record.event("model.dropped", _told(reason, said))
            logger.bind(**_told(reason, said)).info("model session ended; connecting again")
            if asyncio.get_running_loop().time() - opened >= self._patience.short_session_secs:
                self._budget.reset()
            elif resumed is not None and resumed == self._resumption.handle:
                self._resumption.refused()  # accepted, and of no use: as good as refused
            else:
                await self._pause(reason, said)

    def _timed(self, send: Send, came: float, opened: ModelSession) -> Send:
        """Measure our share of it; waiting for a session that has yet to be opened is not ours."""

        async def timed(session: ModelSession) -> None:
            await send(session)
            if session is opened:
                self._measure(UplinkShare(self._stopwatch() - came))

        return timed

    async def _connect(self) -> tuple[Connection, ModelSession]:
        loop = asyncio.get_running_loop()
        while True:
            attempted = loop.time()
            connection = self._client.connect(self._config(self._resumption.handle))
            try:
                async with asyncio.timeout(self._patience.attempt_secs) as self._attempt:
                    session = await connection.__aenter__()
            except Exception as error:
                reason, said = refusal(error), sentence(error, self._client.secrets)
                self._measure(ModelConnect(reason, loop.time() - attempted, said))
                self._record.event("model.refused", _told(reason, said))
                logger.bind(**_told(reason, said)).warning("model refused a session")
                self._attempt = None
                if self._resumption.handle is not None:
                    self._resumption.refused()
                    continue
                if reason in HOPELESS_AT_FIRST and not self._was_open:
                    raise _no_model(reason, said) from None
                await self._pause(reason, said, since=attempted)
            else:
                self._attempt = None
                took_secs = loop.time() - attempted
                self._measure(ModelConnect("ok", took_secs))
                resumed = self._resumption.handle is not None
                detail = {"resumed": resumed, "ms": round(took_secs * 1000)}
                self._record.event("model.connected", detail)
                return connection, session

    async def _pause(self, trouble: str, said: str, *, since: float | None = None) -> None:
        """Wait before the next attempt. Raises: NoModel when the retry budget is used up."""
        loop = asyncio.get_running_loop()
        pause = self._budget.next_pause(loop.time(), hopeless=trouble in HOPELESS, since=since)
        if pause is None:
            raise _no_model(trouble, said)
        if self._answered.is_set():
            await asyncio.sleep(pause)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._answered.wait()
        if self._budget.is_spent(loop.time()):
            raise _no_model(trouble, said)

    async def _pump(self, session: ModelSession) -> str:
        """Send and receive until the connection is no more; returns why."""
        sending = asyncio.create_task(self._waiting.send_to(session), name="to model")
        receiving = asyncio.create_task(self._receive(session), name="from model")
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            # What came before the break is still to be read; and the receiver knows the close
            # code where the sender only knows that it failed.
            done, _ = await asyncio.wait({receiving}, timeout=DRAINED_WITHIN_SECS)
            return (receiving if done else sending).result()
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _receive(self, session: ModelSession) -> str:
        try:
            while True:
                async for message in session.receive():
                    if isinstance(message, LeftOut):
                        self.leave_out(message)
                        continue
                    self._resumption.take(message)
                    if message.go_away is not None:
                        detail = {"time_left": message.go_away.time_left}
                        self._record.event("model.go_away", detail)
                    await self._try(self._on_message(message))
                    if self._resumption.is_time_to_go:
                        return "go_away"
        except ConnectionClosed as error:
            self._said = sentence(error, self._client.secrets)
            return close_reason(error)
        except Exception as error:
            logger.opt(exception=error).error("model session failed")
            return type(error).__name__

    async def _leave(self, connection: Connection) -> None:
        """Close a connection; a peer that is slow to agree is not waited for."""
        closing = asyncio.create_task(_close(connection), name="leaving model")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.wait({closing}, timeout=CLOSED_WITHIN_SECS)

    async def _take_speech(self, pcm: bytes) -> None:
        self._resumption.spoke()
        await self._try(self._on_speech(pcm))

    async def _take_words(self, words: Words) -> None:
        await self._try(self._on_words(words))

    async def _try(self, taking: Awaitable[None]) -> None:
        """Take a message; one that fails here ends no session."""
        try:
            await taking
        except Exception as error:
            name = type(error).__name__
            if f"failed: {name}" not in self._kinds_left_out:
                logger.opt(exception=error).error("a message of the model could not be taken")
            self.leave_out(LeftOut("failed", name))


def _told(reason: str, said: str) -> dict[str, str]:
    return {"reason": reason, "said": said} if said else {"reason": reason}


def _no_model(reason: str, said: str) -> NoModel:
    return NoModel(f"{reason}: {said}" if said else reason)


async def _close(connection: Connection) -> None:
    try:
        await connection.__aexit__(None, None, None)
    except Exception as error:
        logger.debug("model session closed badly", error=type(error).__name__)
