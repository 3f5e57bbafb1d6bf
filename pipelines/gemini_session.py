"""One call's session with Gemini Live, over as many connections as it takes.

What the caller says while there is no connection waits here, so a slow or refused connect loses
nothing; a dropped connection is resumed by its handle, or, when that is refused, told the
conversation so far.

    connect ──▶ pump: send what waits · receive ──▶ dropped ──▶ connect (handle) ──▶ …
       └─ refused: again, until the patience of `Patience` is used up ──▶ NoModel
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from google.genai import errors, types
from google.genai.live import AsyncSession
from loguru import logger
from websockets.exceptions import ConnectionClosed, WebSocketException

from agent.measures import MeasureSink, ModelConnect, ModelDrop
from agent.ports import Record
from pipelines.gemini_client import ConnectModel

# Ten seconds of 20 ms packets; older sound is of no use to a conversation.
MOST_WAITING = 500

# So many messages that cannot be read are no conversation.
MOST_UNREADABLE = 10

# Close codes and HTTP statuses that another attempt will hardly change: a wrong key, an unknown
# model, a setup that is not understood.
_HOPELESS = frozenset({400, 401, 403, 404, 1007, 1008})

_REFUSALS = (errors.APIError, WebSocketException, OSError, TimeoutError, ValueError)


class NoModel(Exception):
    """Gemini could not be reached within the patience; the text is the last refusal."""


@dataclass(frozen=True)
class Patience:
    """How long a caller is left waiting for a session."""

    attempt_secs: float = 5.0
    total_secs: float = 8.0
    first_pause_secs: float = 0.2
    hopeless_attempts: int = 2


Connection = AbstractAsyncContextManager[AsyncSession]
Send = Callable[[AsyncSession], Awaitable[None]]


class GeminiSession:
    """Connects, sends, receives, and connects again, until it is closed."""

    def __init__(
        self,
        client: ConnectModel,
        config: Callable[[str | None], types.LiveConnectConfig],
        *,
        on_message: Callable[[types.LiveServerMessage], Awaitable[None]],
        on_connected: Callable[[bool], Awaitable[None]],
        record: Record,
        measure: MeasureSink,
        patience: Patience,
    ) -> None:
        """`config` makes the setup for a resume handle, or for a session from scratch.

        `on_connected` hears of each session that is open, with whether it remembers the call.
        """
        self._client = client
        self._config = config
        self._on_message = on_message
        self._on_connected = on_connected
        self._record = record
        self._measure = measure
        self._patience = patience
        self._handle: str | None = None
        self._waiting: deque[tuple[bool, Send]] = deque()
        self._waits = asyncio.Event()
        self._going_away = False
        self._busy = False

    def send(self, what: Send, *, perishable: bool = False) -> None:
        """Send in order; of perishable things (sound) only the newest ones are kept waiting."""
        if perishable and len(self._waiting) >= MOST_WAITING:
            oldest = next((item for item in self._waiting if item[0]), None)
            if oldest is not None:
                self._waiting.remove(oldest)
        self._waiting.append((perishable, what))
        self._waits.set()

    def send_first(self, what: Send) -> None:
        """Send before everything that waits."""
        self._waiting.appendleft((False, what))
        self._waits.set()

    async def run(self) -> None:
        """Keep a session open until cancelled.

        Raises: NoModel when none can be opened within the patience.
        """
        while True:
            connection, session = await self._connect()
            try:
                await self._on_connected(self._handle is not None)
                self._going_away = self._busy = False
                reason = await self._pump(session)
            finally:
                await _leave(connection)
            self._measure(ModelDrop(reason))
            self._record.event("model.dropped", {"reason": reason})
            logger.info("model session ended; connecting again", reason=reason)

    async def _connect(self) -> tuple[Connection, AsyncSession]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        pause = self._patience.first_pause_secs
        hopeless = 0
        while True:
            attempted = loop.time()
            connection = self._client.connect(self._config(self._handle))
            try:
                async with asyncio.timeout(self._patience.attempt_secs):
                    session = await connection.__aenter__()
            except (
                errors.APIError,
                WebSocketException,
                OSError,
                TimeoutError,
                ValueError,
            ) as error:
                refusal = _refusal(error)
                self._measure(ModelConnect(refusal, loop.time() - attempted))
                self._record.event("model.refused", {"reason": refusal})
                logger.warning("model refused a session", reason=refusal)
                if self._handle is not None:
                    self._handle = None  # whatever it was worth, the next one starts from scratch
                    continue
                hopeless += _code(error) in _HOPELESS
                spent = loop.time() - began
                if spent + pause > self._patience.total_secs or (
                    hopeless >= self._patience.hopeless_attempts
                ):
                    raise NoModel(refusal) from error
                await asyncio.sleep(pause)
                pause *= 2
            else:
                self._measure(ModelConnect("ok", loop.time() - attempted))
                resumed = self._handle is not None
                self._record.event("model.connected", {"resumed": resumed})
                return connection, session

    async def _pump(self, session: AsyncSession) -> str:
        """Send and receive until the connection is no more; returns why."""
        sending = asyncio.create_task(self._send_waiting(session), name="to model")
        receiving = asyncio.create_task(self._receive(session), name="from model")
        try:
            done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            # The receiver knows the close code where the sender only knows that it failed.
            return (receiving if receiving in done else done.pop()).result()
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send_waiting(self, session: AsyncSession) -> str:
        while True:
            await self._waits.wait()
            while self._waiting:
                item = self._waiting[0]
                try:
                    await item[1](session)
                except ConnectionClosed as error:
                    return _close_reason(error)
                # `send_first` may have put something before it in the meantime.
                if self._waiting and self._waiting[0] is item:
                    self._waiting.popleft()
                else:
                    self._waiting.remove(item)
            self._waits.clear()

    async def _receive(self, session: AsyncSession) -> str:
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

    def _keep_handle(self, message: types.LiveServerMessage) -> None:
        update = message.session_resumption_update
        if update is not None and update.resumable is not None:
            self._busy = not update.resumable
            if update.resumable and update.new_handle:
                self._handle = update.new_handle
        if message.go_away is not None:
            self._record.event("model.go_away", {"time_left": message.go_away.time_left})
            self._going_away = True


async def _leave(connection: Connection) -> None:
    try:
        await connection.__aexit__(None, None, None)
    except (WebSocketException, OSError) as error:
        logger.debug("model session closed badly", error=type(error).__name__)


def _code(error: BaseException) -> int | None:
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
