"""GeminiSession: one call's session with Gemini Live, reconnected whenever it drops.

Caller audio waits here while there is no connection, so that a slow or refused connect loses
nothing. A dropped session is resumed by its handle; when Gemini refuses that, a new session is
told the conversation so far.

    connect ──▶ pump: send what waits · receive ──▶ dropped ──▶ connect (handle) ──▶ …
       └─ refused, or dropped at once: again, until the retry budget is used up ──▶ NoModel
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from google.genai import errors, types
from loguru import logger
from websockets.exceptions import ConnectionClosed

from agent.measures import MeasureSink, ModelConnect, ModelDrop, UplinkShare
from agent.ports import Record
from pipelines.gemini.audio_socket import AUDIO_TYPE, OnSpeech, OnWords
from pipelines.gemini.client import Connection, ConnectModel, ModelSession
from pipelines.gemini.retry_budget import RetryBudget, SessionPatience
from pipelines.phone.packet_stamp import take_stamp

# Ten seconds of 20 ms packets; older sound is of no use to a conversation.
MOST_WAITING = 500

# So many messages that cannot be read, or sent, are no conversation.
MOST_UNREADABLE = 10

# Close codes and HTTP statuses that another attempt will hardly change: a wrong key, an unknown
# model, a setup that is not understood.
_HOPELESS = frozenset({400, 401, 403, 404, 1007, 1008})
_HOPELESS_CLOSES = frozenset(f"closed_{code}" for code in _HOPELESS)

# How long a closing handshake may hold up what comes after it.
CLOSED_WITHIN_SECS = 1.0
# What was received before a connection broke is still read; it is there already.
DRAINED_WITHIN_SECS = 1.0


class NoModel(Exception):
    """Gemini could not be reached within the retry budget; the message is the last refusal."""


Send = Callable[[ModelSession], Awaitable[None]]


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
        self._handle: str | None = None
        # The session that is open now, and is sent what comes.
        self._open: ModelSession | None = None
        self._waiting: deque[tuple[bool, Send]] = deque()
        self._waits = asyncio.Event()
        self._going_away = False
        self._busy = False
        self._budget = RetryBudget(patience)
        # Connections that are being closed, beside what goes on.
        self._closing: set[asyncio.Task[None]] = set()

    def hear(self, pcm: bytes) -> None:
        """Send a packet of the caller's sound, PCM16 at 16 kHz: now, or behind what waits.

        Of sound that has to wait, only the newest is kept.
        """
        session = self._open
        if session is not None and not self._waiting and session.hear(pcm):
            if (came := take_stamp()) is not None:
                self._measure(UplinkShare(self._stopwatch() - came))
            return
        if len(self._waiting) >= MOST_WAITING:
            oldest = next((item for item in self._waiting if item[0]), None)
            if oldest is not None:
                self._waiting.remove(oldest)

        async def send(session: ModelSession) -> None:
            await session.send_realtime_input(audio=types.Blob(data=pcm, mime_type=AUDIO_TYPE))

        what: Send = send
        if session is not None and (came := take_stamp()) is not None:
            what = self._timed(what, came, session)
        self._waiting.append((True, what))
        self._waits.set()

    def send(self, what: Send) -> None:
        """Send behind what waits."""
        self._waiting.append((False, what))
        self._waits.set()

    def send_first(self, what: Send) -> None:
        """Send before everything that waits."""
        self._waiting.appendleft((False, what))
        self._waits.set()

    def begin_patience_anew(self) -> None:
        """Somebody waits now: what was refused before has cost them nothing."""
        self._budget.reset()

    async def run(self) -> None:
        """Keep a session open until cancelled.

        Raises: NoModel when none can be opened within the patience.
        """
        while True:
            connection, session = await self._connect()
            opened, resumed = asyncio.get_running_loop().time(), self._handle
            try:
                self._going_away = self._busy = False
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
            elif resumed is not None and resumed == self._handle:
                self._handle = None  # accepted, and of no use: as good as refused
            else:
                await self._pause(reason, hopeless=reason in _HOPELESS_CLOSES)

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
            connection = self._client.connect(self._config(self._handle))
            try:
                async with asyncio.timeout(self._patience.attempt_secs):
                    session = await connection.__aenter__()
            except Exception as error:
                refusal = _refusal(error)
                self._measure(ModelConnect(refusal, loop.time() - attempted))
                self._record.event("model.refused", {"reason": refusal})
                logger.warning("model refused a session", reason=refusal)
                if self._handle is not None:
                    self._handle = None  # whatever it was worth, the next one starts from scratch
                    continue
                await self._pause(refusal, hopeless=_code(error) in _HOPELESS, since=attempted)
            else:
                self._measure(ModelConnect("ok", loop.time() - attempted))
                resumed = self._handle is not None
                self._record.event("model.connected", {"resumed": resumed})
                return connection, session

    async def _pause(self, trouble: str, *, hopeless: bool, since: float | None = None) -> None:
        """Wait before the next attempt. Raises: NoModel when the retry budget is used up."""
        now = asyncio.get_running_loop().time()
        pause = self._budget.next_pause(now, hopeless=hopeless, since=since)
        if pause is None:
            raise NoModel(trouble)
        await asyncio.sleep(pause)

    async def _pump(self, session: ModelSession) -> str:
        """Send and receive until the connection is no more; returns why."""
        sending = asyncio.create_task(self._send_waiting(session), name="to model")
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

    async def _send_waiting(self, session: ModelSession) -> str:
        unsendable = 0
        while True:
            await self._waits.wait()
            while self._waiting:
                item = self._waiting[0]
                try:
                    await item[1](session)
                except ConnectionClosed as error:
                    return _close_reason(error)
                except OSError as error:
                    return type(error).__name__
                except Exception as error:
                    unsendable += 1
                    logger.error("a message to the model was left out", error=type(error).__name__)
                    if unsendable >= MOST_UNREADABLE:
                        return type(error).__name__
                # While it was sent, something may have come before it, or it grew too old.
                with contextlib.suppress(ValueError):
                    self._waiting.remove(item)
            self._waits.clear()

    async def _receive(self, session: ModelSession) -> str:
        unreadable = 0
        while True:
            try:
                async for message in session.receive():
                    self._keep_handle(message)
                    await self._on_message(message)
                    if self._going_away and not self._busy:
                        return "go_away"
            except ConnectionClosed as error:
                return _close_reason(error)
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
        self._busy = True  # until a handle that knows of it has come
        await self._on_speech(pcm)

    def _keep_handle(self, message: types.LiveServerMessage) -> None:
        content = message.server_content
        speaks = content is not None and content.model_turn is not None
        if speaks or message.tool_call is not None:
            self._busy = True  # until a handle that knows of it has come
        update = message.session_resumption_update
        if update is not None and update.resumable is not None:
            self._busy = not update.resumable
            if update.resumable and update.new_handle:
                self._handle = update.new_handle
        if message.go_away is not None:
            self._record.event("model.go_away", {"time_left": message.go_away.time_left})
            self._going_away = True


async def _close(connection: Connection) -> None:
    try:
        await connection.__aexit__(None, None, None)
    except Exception as error:
        logger.debug("model session closed badly", error=type(error).__name__)


def _code(error: BaseException) -> int | None:
    if isinstance(error, ConnectionClosed):
        return error.rcvd.code if error.rcvd else None
    code = getattr(error, "code", None)
    if code is None:
        code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _refusal(error: BaseException) -> str:
    """A short constant for a refusal: it becomes a metric's label."""
    if isinstance(error, TimeoutError):
        return "timeout"
    code = _code(error)
    return f"refused_{code}" if code is not None else type(error).__name__


def _close_reason(error: ConnectionClosed) -> str:
    return f"closed_{error.rcvd.code}" if error.rcvd else "connection_lost"
