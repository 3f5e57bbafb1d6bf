"""Connector: opens connections to the model, until one is there or the retry budget is used up."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from google.genai import types
from loguru import logger

from agent.measures import MeasureSink, ModelConnect
from agent.ports import Record
from pipelines.gemini.client import Connection, ConnectModel, ModelSession
from pipelines.gemini.connect_attempts import open_first
from pipelines.gemini.refusals import HOPELESS, HOPELESS_AT_FIRST, refusal, sentence
from pipelines.gemini.retry_budget import RetryBudget, SessionPatience


class NoModel(Exception):
    """Gemini could not be reached within the retry budget.

    The message is the last refusal, and what Gemini said of it.
    """


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection that is open, and the handle that it continues."""

    connection: Connection
    session: ModelSession
    handle: str | None
    at: float


class Connector:
    """The attempts of one call."""

    def __init__(
        self,
        client: ConnectModel,
        config: Callable[[str | None], types.LiveConnectConfig],
        record: Record,
        measure: MeasureSink,
        patience: SessionPatience,
        *,
        leave: Callable[[Connection], object],
    ) -> None:
        """`config` makes the setup for a handle; `leave` closes what came too late."""
        self._client = client
        self._config = config
        self._record = record
        self._measure = measure
        self._patience = patience
        self._leave = leave
        self._budget = RetryBudget(patience)
        self._budget.somebody_waits = False
        # The phone was answered.
        self._answered = asyncio.Event()
        # The attempt that is under way.
        self._attempt: asyncio.Timeout | None = None
        # This call had a session before.
        self.was_open = False

    def answered(self, *, has_session: bool) -> None:
        """Somebody waits from now on, for what is left of the patience."""
        self._budget.somebody_waits = True
        self._answered.set()
        if has_session:
            self._budget.reset()
            return
        now = asyncio.get_running_loop().time()
        attempt = self._attempt
        if attempt is not None and not attempt.expired() and self._budget.is_spent(now):
            attempt.reschedule(now)

    def lasted(self) -> None:
        """A session lasted: the next one has the whole budget."""
        self._budget.reset()

    async def connect(self, handle: str | None) -> Opened:
        """Open a connection, without the handle if that is refused. Raises: NoModel."""
        loop = asyncio.get_running_loop()
        while True:
            attempted = loop.time()
            try:
                async with asyncio.timeout(self._patience.attempt_secs) as self._attempt:
                    connection, session = await open_first(
                        partial(self._make, handle),
                        second_after_secs=self._patience.second_attempt_secs,
                        somebody_waits=self._answered,
                        leave=self._leave,
                    )
            except Exception as error:
                reason, said = self._refused(error, attempted)
                self._attempt = None
                if handle is not None:
                    handle = None
                    continue
                if reason in HOPELESS_AT_FIRST and not self.was_open:
                    raise no_model(reason, said) from None
                await self.pause(reason, said, hopeless=reason in HOPELESS, since=attempted)
            else:
                self._attempt = None
                return self._opened(connection, session, handle, attempted)

    async def connect_once(self, handle: str | None) -> Opened | None:
        """Open a connection beside another one; None when it is refused, or hangs."""
        attempted = asyncio.get_running_loop().time()
        connection = self._make(handle)
        try:
            async with asyncio.timeout(self._patience.attempt_secs):
                session = await connection.__aenter__()
        except Exception as error:
            self._refused(error, attempted)
            return None
        return self._opened(connection, session, handle, attempted)

    async def pause(
        self, trouble: str, said: str, *, hopeless: bool, since: float | None = None
    ) -> None:
        """Wait before the next attempt. Raises: NoModel when the retry budget is used up."""
        loop = asyncio.get_running_loop()
        pause = self._budget.next_pause(loop.time(), hopeless=hopeless, since=since)
        if pause is None:
            raise no_model(trouble, said)
        if self._answered.is_set():
            await asyncio.sleep(pause)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._answered.wait()
        if self._budget.is_spent(loop.time()):
            raise no_model(trouble, said)

    def _make(self, handle: str | None) -> Connection:
        return self._client.connect(self._config(handle))

    def _opened(
        self, connection: Connection, session: ModelSession, handle: str | None, attempted: float
    ) -> Opened:
        now = asyncio.get_running_loop().time()
        self._measure(ModelConnect("ok", now - attempted))
        detail = {"resumed": handle is not None, "ms": round((now - attempted) * 1000)}
        self._record.event("model.connected", detail)
        return Opened(connection, session, handle, now)

    def _refused(self, error: Exception, attempted: float) -> tuple[str, str]:
        reason, said = refusal(error), sentence(error, self._client.secrets)
        self._measure(ModelConnect(reason, asyncio.get_running_loop().time() - attempted, said))
        self._record.event("model.refused", told(reason, said))
        logger.bind(**told(reason, said)).warning("model refused a session")
        return reason, said


def told(reason: str, said: str) -> dict[str, str]:
    """The detail of an event: why, and what Gemini said if it said something."""
    return {"reason": reason, "said": said} if said else {"reason": reason}


def no_model(reason: str, said: str) -> NoModel:
    """The error of a call that has no session."""
    return NoModel(f"{reason}: {said}" if said else reason)
