"""What the server holds open while it runs: opened in one order, closed in the reverse one.

migrate ─▶ engine ─▶ record writer ─▶ recordings ─▶ live calls ─▶ model ─▶ telephone ─▶ desk
─▶ life (resumes)
"""

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Annotated, NoReturn, TypedDict

from fastapi import Depends
from loguru import logger
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from agent.call_log import CallLog, open_engine
from agent.calls import Call
from agent.clock import Clock, loop_clock
from agent.live_calls import LiveCalls, LiveCallsInMemory, LiveCallsInRedis
from agent.local_life import LocalLife
from agent.profile import AgentProfile
from agent.recorder import RecordWriter
from pipelines import catalogue
from pipelines.gemini_client import Connection, ConnectModel, GeminiClient
from pipelines.gemini_setup import Setup
from pipelines.greetings import Greetings
from pipelines.run_call import CallSetup, RunningCall, start_call
from pipelines.warm_sessions import WarmSessions
from server.claims import Claims
from server.desk import Desk
from server.loop_lag import measured_loop_lag
from server.metrics import Metrics
from server.migrations import upgrade
from server.recordings import RecordingPolicy, Recordings
from server.security import ApiKeys, TwilioSignatures
from server.settings import Settings
from server.stream_tokens import StreamTokens
from server.twilio_api import NoTelephone, TwilioTelephone

REDIS_PATIENCE_SECS = 3.0


@dataclass(frozen=True)
class Resources:
    """Everything that a request may need."""

    settings: Settings
    clock: Clock
    call_log: CallLog
    records: RecordWriter
    recordings: Recordings
    live_calls: LiveCalls
    life: LocalLife
    desk: Desk
    metrics: Metrics
    signatures: TwilioSignatures
    api_keys: ApiKeys
    tokens: StreamTokens


class State(TypedDict):
    """What the lifespan gives to each request and WebSocket, as `state`."""

    resources: Resources


async def _opened(connection: HTTPConnection) -> Resources:
    resources: Resources = connection.state.resources
    return resources


Opened = Annotated[Resources, Depends(_opened)]


class NoModel:
    """`ConnectModel` without an API key: every attempt is refused."""

    model = "none"

    def connect(self, setup: Setup) -> Connection:
        """Refuse."""
        return self._refuse()

    @contextlib.asynccontextmanager
    async def _refuse(self) -> AsyncIterator[NoReturn]:
        raise ConnectionRefusedError("GEMINI_API_KEY is not set")
        yield


@contextlib.asynccontextmanager
async def open_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open everything that these settings ask for; on the way out, running pipelines are ended."""
    _mention_what_is_missing(settings)
    async with AsyncExitStack() as stack:
        await upgrade(settings.database_url)
        engine = open_engine(settings.database_url, settings.db_pool_size)
        stack.push_async_callback(engine.dispose)
        call_log = CallLog(engine, daily_limit=settings.daily_call_limit)
        clock, metrics = loop_clock(), Metrics()

        records = RecordWriter(call_log, clock=clock)
        records.start()
        stack.push_async_callback(records.close)

        recordings = _open_recordings(settings, metrics, clock)
        stack.push_async_callback(recordings.close)

        live_calls = await _open_live_calls(settings, stack)
        model = await _open_model(settings, stack)
        telephone = _open_telephone(settings, call_log)
        stack.callback(telephone.close)

        greetings = Greetings() if settings.greeting_cache else None

        def start(call: Call) -> RunningCall:
            record = records.recorder(call.id)
            setup = CallSetup(
                call_id=call.id,
                phone_number=call.phone_number,
                profile=AgentProfile.model_validate(call.profile),
                definition=catalogue.find(call.pipeline),
                metadata=call.extra,
                # The number may be one that somebody talked the model into.
                may_transfer=settings.allows_transfer,
                greetings=greetings,
                recording=recordings.begin(call, record),
            )
            return start_call(setup, connect=model, record=record, measure=metrics.observe)

        warming = None
        if settings.prewarm_limit and settings.gemini_api_key:
            warming = WarmSessions(
                start,
                lambda call_id: life.record(call_id),
                limit=settings.prewarm_limit,
                measure=metrics.observe,
            )
            metrics.warm_sessions.set_function(lambda: warming.open)
        desk = Desk(
            start,
            live_calls,
            instance=settings.instance_url or f"{socket.gethostname()}:{os.getpid()}",
            capacity=settings.max_concurrent_calls,
            clock=clock,
            warming=warming,
        )
        metrics.active.set_function(lambda: desk.held)
        metrics.talking.set_function(lambda: desk.talking)

        life = LocalLife(call_log, telephone, desk, clock=clock, on_end=metrics.call_ended)
        stack.push_async_callback(life.close)
        # Ended before the life closes: what a pipeline has to report still finds somebody.
        desk.report_to(life)
        stack.push_async_callback(desk.close)

        claims = Claims(
            live_calls,
            lambda: desk.carried,
            instance=desk.instance,
            ttl_secs=settings.redis_session_ttl,
        )
        claims.open()
        stack.push_async_callback(claims.close)

        stack.enter_context(measured_loop_lag(metrics.lag.observe))

        await life.resume()
        yield Resources(
            settings=settings,
            clock=clock,
            call_log=call_log,
            records=records,
            recordings=recordings,
            live_calls=live_calls,
            life=life,
            desk=desk,
            metrics=metrics,
            signatures=TwilioSignatures(
                settings.twilio_auth_token.get_secret_value()
                if settings.twilio_auth_token
                else None,
                base_url=settings.base_url,
                stream_base_url=settings.stream_base_url,
            ),
            api_keys=ApiKeys(settings),
            tokens=_open_tokens(settings),
        )


def _mention_what_is_missing(settings: Settings) -> None:
    if not settings.twilio_is_configured:
        logger.warning("Twilio is not configured: no call can be placed")
    if not settings.gemini_api_key:
        logger.warning("GEMINI_API_KEY is not set: callers will hear an apology")
    if settings.temporal_address:
        logger.warning("TEMPORAL_ADDRESS is not used: the life of a call is kept in this process")


def _open_recordings(settings: Settings, metrics: Metrics, clock: Clock) -> Recordings:
    policy = RecordingPolicy(
        on=settings.recordings,
        folder=settings.recordings_folder,
        longest_secs=settings.recording_max_secs,
        keep_days=settings.recordings_keep_days,
    )
    recordings = Recordings(policy, measure=metrics.observe, clock=clock)
    recordings.open()
    return recordings


async def _open_live_calls(settings: Settings, stack: AsyncExitStack) -> LiveCalls:
    if settings.redis_url is None:
        return LiveCallsInMemory()
    client = Redis.from_url(
        settings.redis_url,
        socket_timeout=REDIS_PATIENCE_SECS,
        socket_connect_timeout=REDIS_PATIENCE_SECS,
    )
    stack.push_async_callback(client.aclose)
    return LiveCallsInRedis(client, settings.redis_session_ttl)


async def _open_model(settings: Settings, stack: AsyncExitStack) -> ConnectModel:
    if settings.gemini_api_key is None:
        return NoModel()
    client = GeminiClient(settings.gemini_api_key.get_secret_value(), settings.gemini_model)
    stack.push_async_callback(client.aclose)
    return client


def _open_telephone(settings: Settings, call_log: CallLog) -> TwilioTelephone | NoTelephone:
    if not settings.twilio_account_sid or settings.twilio_auth_token is None:
        return NoTelephone()

    async def known(twilio_sid: str) -> bool:
        return await call_log.find_by_sid(twilio_sid) is not None

    return TwilioTelephone(
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token.get_secret_value(),
        base_url=settings.base_url,
        known=known,
        rest_root=settings.twilio_api_base_url,
    )


def _open_tokens(settings: Settings) -> StreamTokens:
    assert settings.stream_token_secret is not None, "settings generate one in development"
    return StreamTokens(settings.stream_token_secret.get_secret_value())
