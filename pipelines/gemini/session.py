"""GeminiSession: one call's session with Gemini Live, reconnected whenever it drops.

Caller audio waits here while there is no connection, so that a slow or refused connect loses
nothing. A dropped session is resumed by its handle; when Gemini refuses that, a new session is
told the conversation so far.

    connect ──▶ pump: send what waits · receive ──▶ dropped ──▶ connect (handle) ──▶ …
       └─ refused, or dropped at once: again, until the retry budget is used up ──▶ NoModel
"""

import asyncio
from collections.abc import Awaitable, Callable

from google.genai import errors, types
from loguru import logger
from websockets.exceptions import ConnectionClosed

from agent.measures import MeasureSink, ModelConnect, ModelDrop, UplinkShare
from agent.ports import Record
from pipelines.gemini.audio_socket import AUDIO_TYPE, OnSpeech, OnWords
from pipelines.gemini.client import Connection, ConnectModel, ModelSession
from pipelines.gemini.refusals import HOPELESS, close_reason, refusal
from pipelines.gemini.resumption import Resumption
from pipelines.gemini.retry_budget import RetryBudget, SessionPatience
from pipelines.gemini.send_queue import Send, SendQueue
from pipelines.phone.packet_stamp import take_stamp

# So many messages that cannot be read are no conversation.
MOST_UNREADABLE = 10
# How long a closing handshake may hold up what comes after it.
CLOSED_WITHIN_SECS = 1.0
# What was received before a connection broke is still read; it is there already.
DRAINED_WITHIN_SECS = 1.0


class NoModel(Exception):
    """Gemini could not be reached within the retry budget; the message is the last refusal."""


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

    def restart_patience(self) -> None:
        """Somebody waits now: what was refused before has cost them nothing."""
        self._budget.reset()

    async def run(self) -> None:
        """Keep a session open until cancelled.

        Raises: NoModel when none can be opened within the patience.
        """
        while True:
            connection, session = await self._connect()
            opened, resumed = asyncio.get_running_loop().time(), self._resumption.handle
            try:
                self._resumption.opened()
                session.listen(self._take_speech, self._on_words)
                await self._on_connected(resumed is not None)
                self._open = session
                reason = await self._pump(session)
            finally:
                self._open = None
                await self._leave(connection)
            self._measure(ModelDrop(reason))
            self._record.event("model.dropped", {"reason": reason})
            logger.info("model session ended; connecting again", reason=reason)
            if asyncio.get_running_loop().time() - opened >= self._patience.short_session_secs:
                self._budget.reset()
            elif resumed is not None and resumed == self._resumption.handle:
                self._resumption.refused()  # accepted, and of no use: as good as refused
            else:
                await self._pause(reason)

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
                async with asyncio.timeout(self._patience.attempt_secs):
                    session = await connection.__aenter__()
            except Exception as error:
                reason = refusal(error)
                self._measure(ModelConnect(reason, loop.time() - attempted))
                self._record.event("model.refused", {"reason": reason})
                logger.warning("model refused a session", reason=reason)
                if self._resumption.handle is not None:
                    self._resumption.refused()
                    continue
                await self._pause(reason, since=attempted)
            else:
                self._measure(ModelConnect("ok", loop.time() - attempted))
                resumed = self._resumption.handle is not None
                self._record.event("model.connected", {"resumed": resumed})
                return connection, session

    async def _pause(self, trouble: str, *, since: float | None = None) -> None:
        """Wait before the next attempt. Raises: NoModel when the retry budget is used up."""
        now = asyncio.get_running_loop().time()
        pause = self._budget.next_pause(now, hopeless=trouble in HOPELESS, since=since)
        if pause is None:
            raise NoModel(trouble)
        await asyncio.sleep(pause)

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
        unreadable = 0
        while True:
            try:
                async for message in session.receive():
                    self._resumption.take(message)
                    if message.go_away is not None:
                        detail = {"time_left": message.go_away.time_left}
                        self._record.event("model.go_away", detail)
                    await self._on_message(message)
                    if self._resumption.is_time_to_go:
                        return "go_away"
            except ConnectionClosed as error:
                return close_reason(error)
            except errors.APIError as error:
                return f"closed_{error.code}"
            except ValueError as error:  # not JSON, or of no shape that the SDK knows
                unreadable += 1
                logger.warning("model sent what cannot be read", error=type(error).__name__)
                if unreadable >= MOST_UNREADABLE:
                    return "unreadable"
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
        await self._on_speech(pcm)


async def _close(connection: Connection) -> None:
    try:
        await connection.__aexit__(None, None, None)
    except Exception as error:
        logger.debug("model session closed badly", error=type(error).__name__)
