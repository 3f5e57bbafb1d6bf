"""Resources of the server: opened in this order in its lifespan, closed in reverse.

migrate ─▶ engine ─▶ record writer ─▶ recordings ─▶ cassettes ─▶ live calls ─▶ model ─▶ telephone
─▶ registry ─▶ lifecycle (resumes calls)
"""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol, TypedDict
from urllib.parse import urlsplit

from fastapi import Depends
from google.genai import types
from loguru import logger
from starlette.requests import HTTPConnection

from agent.call_memory import CallMemory
from agent.clock import Clock, loop_clock
from agent.live_calls import LiveCalls, LiveCallsInMemory
from agent.loop_load import LoopLoad
from agent.measures import Measure, MeasureSink
from agent.ports import CallLifecycle, Record, Telephone
from agent.profile import AgentProfile
from agent.record.call_log import CallLog, open_engine
from agent.record.models import Call, CallStatus, Direction
from agent.record.recorder import RecordWriter
from agent.runner.local_runner import LocalRunner
from pipelines.call import catalogue
from pipelines.call.held_record import HeldRecord
from pipelines.call.inbound_pool import InboundPool, PooledCall
from pipelines.call.prewarming import Prewarming, StartCall
from pipelines.call.run_call import CallSetup, RunningCall, start_call
from pipelines.gemini.client import Connection, ConnectModel, GeminiClient
from pipelines.gemini.greeting_cache import GreetingCache
from pipelines.gemini.prepared_sentences import PreparedSentences
from pipelines.gemini.refusals import NoApiKey
from server.calls.call_handover import CallHandover
from server.calls.call_leases import LEASE_SECS, CallLeases
from server.calls.call_registry import CallRegistry
from server.calls.fenced_record import FencedRecord
from server.calls.task_protection import TaskProtection
from server.cassettes.facts import facts
from server.cassettes.policy import CassettePolicy
from server.cassettes.store import Cassettes
from server.http.attempt_limit import AttemptLimit
from server.http.shared_work import SharedWork
from server.migrations import upgrade
from server.observability.cloudwatch import CloudWatchMetrics
from server.observability.last_session import LastModelSession
from server.observability.loop_lag import measured_loop_lag
from server.observability.metrics import Metrics
from server.recordings.store import RecordingPolicy, Recordings
from server.relay.call_moves import CallMoves
from server.relay.frozen_watch import FrozenWatch
from server.relay.relay import Relay
from server.relay.signatures import RelaySignatures
from server.settings.settings import Settings, names_set
from server.settings.written_values import parsed_listen_address, read_key
from server.twilio.signature_warnings import SignatureWarnings
from server.twilio.signatures import TwilioSignatures
from server.twilio.stream_tokens import StreamTokens
from server.twilio.telephone import open_telephone

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from server.temporal.lifecycle import TemporalLifecycle

# The client's own defaults wait for 5 s and try ten times.
REDIS_TIMEOUT_SECS = 1.0
REDIS_RETRIES = 1


@dataclass(frozen=True)
class Resources:
    """Everything that routes may use."""

    settings: Settings
    clock: Clock
    call_log: CallLog
    records: RecordWriter
    # Calls that were started before anybody called; None: there is no pool.
    pool: InboundPool | None
    recordings: Recordings
    cassettes: Cassettes
    live_calls: LiveCalls
    life: CallLifecycle
    temporal: "TemporalLifecycle | None"
    registry: CallRegistry
    # What a call that is carried here records.
    recorder: Callable[[str], Record]
    # None, as `relay` and `moves`: there are no other instances.
    leases: CallLeases | None
    relay: Relay | None
    moves: CallMoves | None
    metrics: Metrics
    last_session: LastModelSession
    signatures: TwilioSignatures
    signature_warnings: SignatureWarnings
    tokens: StreamTokens
    wrong_keys: AttemptLimit
    readiness: SharedWork[Any]

    @property
    def is_broken(self) -> bool:
        """Whether something ended that only a new process can start: this one has to end."""
        return self.records.is_broken


class State(TypedDict):
    """Lifespan state, which each request and WebSocket has as `state`."""

    resources: Resources


async def _opened(connection: HTTPConnection) -> Resources:
    resources: Resources = connection.state.resources
    return resources


Opened = Annotated[Resources, Depends(_opened)]


class NoModel:
    """`ConnectModel` without an API key: refuses every attempt."""

    model = "none"
    secrets = ()

    def connect(self, config: types.LiveConnectConfig) -> Connection:
        """Refuse."""
        return self._refuse()

    @contextlib.asynccontextmanager
    async def _refuse(self) -> AsyncIterator[NoReturn]:
        raise NoApiKey("GEMINI_API_KEY is not set")
        yield


@contextlib.asynccontextmanager
async def open_resources(
    settings: Settings, *, with_worker: bool = False
) -> AsyncIterator[Resources]:
    """Open everything that the settings ask for; on exit, running pipelines are ended.

    `with_worker`: run workflows of calls, too, when there is a Temporal server.
    """
    _warn_about_missing_settings(settings)
    clock, metrics = loop_clock(), Metrics()
    last_session = LastModelSession(clock)

    def observe(measure: Measure) -> None:
        metrics.observe(measure)
        last_session.observe(measure)

    async with AsyncExitStack() as stack:
        call_log, records = await _open_record(settings, clock, stack)
        metrics.rows_waiting.set_function(lambda: records.waiting)
        metrics.rows_lost.set_function(lambda: records.dropped + records.refused)
        recordings = _open_recordings(settings, metrics, clock, stack)
        cassettes = _open_cassettes(settings, metrics, clock, stack)
        live_calls = _open_live_calls(settings, stack)
        load = LoopLoad(settings.overload_lag_ms / 1000 or None)
        model = _open_model(settings, load, stack)
        telephone = open_telephone(settings, call_log)
        stack.callback(telephone.close)

        sentences = _open_sentences(settings, model, stack)
        begin = _pipeline_starter(settings, recordings, cassettes, model, sentences, observe)

        call_leases: CallLeases | None = None

        def holds(call_id: str) -> bool:
            return call_leases is None or call_leases.holds(call_id)

        def recorder(call_id: str) -> Record:
            return FencedRecord(records.recorder(call_id), partial(holds, call_id))

        def start(call: Call) -> RunningCall:
            return begin(call, recorder(call.id))

        prewarming = _make_prewarming(settings, start, call_log, metrics)
        leases: dict[str, int] = {}
        handover = _open_handover(settings, begin, recorder, leases, stack)
        registry = _make_registry(
            settings, start, live_calls, prewarming, clock, metrics, handover, leases, load, holds
        )
        on_end = _told_of_ends(settings, call_log, metrics, cassettes, stack)
        local = LocalRunner(call_log, telephone, registry, clock=clock, on_end=on_end)
        temporal = _make_temporal(settings, local, call_log, registry, on_end)
        life: CallLifecycle = local if temporal is None else temporal.runner
        stack.push_async_callback(life.close)
        # Pipelines end before the lifecycle closes, so that it still takes their reports.
        registry.report_to(life)
        stack.push_async_callback(registry.close)
        call_leases = _open_leases(settings, registry, stack)
        pool = _open_pool(settings, begin, prewarming, metrics, stack)
        relay = _open_relay(settings, registry, live_calls, clock, metrics, stack)
        moves = _open_moves(registry, live_calls, relay, stack)
        _open_frozen_watch(settings, registry, live_calls, life, telephone, stack)
        _open_aws(settings, registry, metrics, stack)

        stack.enter_context(measured_loop_lag(metrics.lag.observe, load.observe))
        if settings.metrics_address is not None:
            host, port = parsed_listen_address(settings.metrics_address)
            stack.enter_context(metrics.served_at(host, port))

        await life.resume()
        if temporal is not None:
            await stack.enter_async_context(
                temporal.working(registry, telephone, with_calls=with_worker)
            )
        yield Resources(
            settings=settings,
            clock=clock,
            call_log=call_log,
            records=records,
            pool=pool,
            recordings=recordings,
            cassettes=cassettes,
            live_calls=live_calls,
            life=life,
            temporal=temporal,
            registry=registry,
            recorder=recorder,
            leases=call_leases,
            relay=relay,
            moves=moves,
            metrics=metrics,
            last_session=last_session,
            signatures=_make_signatures(settings),
            signature_warnings=SignatureWarnings(
                clock=clock, has_token=settings.twilio_auth_token is not None
            ),
            tokens=_make_tokens(settings),
            wrong_keys=AttemptLimit(),
            readiness=SharedWork(),
        )


def _warn_about_missing_settings(settings: Settings) -> None:
    if not settings.twilio_is_configured:
        logger.warning("Twilio is not configured: no call can be placed")
    elif settings.twilio_api_base_url and (unused := names_set("TWILIO_REGION", "TWILIO_EDGE")):
        logger.warning("TWILIO_API_BASE_URL is set, and wins", not_used=", ".join(unused))
    if not settings.gemini_api_key:
        logger.warning("GEMINI_API_KEY is not set: callers will hear an apology")


async def _open_record(
    settings: Settings, clock: Clock, stack: AsyncExitStack
) -> tuple[CallLog, RecordWriter]:
    await upgrade(settings.database_url)
    engine = open_engine(settings.database_url, settings.db_pool_size)
    stack.push_async_callback(engine.dispose)
    call_log = CallLog(engine, daily_limit=settings.daily_call_limit)
    records = RecordWriter(call_log, clock=clock)
    records.start()
    stack.push_async_callback(records.close)
    return call_log, records


def _open_recordings(
    settings: Settings, metrics: Metrics, clock: Clock, stack: AsyncExitStack
) -> Recordings:
    policy = RecordingPolicy(
        on=settings.recordings,
        folder=settings.recordings_folder,
        longest_secs=settings.recording_max_secs,
        keep_days=settings.recordings_keep_days,
    )
    recordings = Recordings(policy, measure=metrics.observe, clock=clock)
    recordings.open()
    stack.push_async_callback(recordings.close)
    return recordings


def _open_cassettes(
    settings: Settings, metrics: Metrics, clock: Clock, stack: AsyncExitStack
) -> Cassettes:
    key = settings.cassette_key
    policy = CassettePolicy(
        which=settings.cassettes,
        folder=settings.cassettes_folder,
        most_bytes=settings.cassette_max_mb * 1_000_000,
        keep_days=settings.cassettes_keep_days,
        key=None if key is None else read_key(key.get_secret_value()),
    )
    cassettes = Cassettes(
        policy, facts=lambda: facts(settings), measure=metrics.observe, clock=clock
    )
    cassettes.open()
    stack.push_async_callback(cassettes.close)
    return cassettes


def _open_live_calls(settings: Settings, stack: AsyncExitStack) -> LiveCalls:
    if settings.redis_url is None:
        return LiveCallsInMemory()
    from agent.live_calls_in_redis import LiveCallsInRedis

    client = redis_client(settings.redis_url)
    stack.push_async_callback(client.aclose)
    return LiveCallsInRedis(client, settings.redis_session_ttl, lease_secs=_lease_secs(settings))


def redis_client(url: str) -> "Redis":
    """A client whose waiting is bounded: two attempts of a second each."""
    # A fifth of what a start imports, and only this needs it.
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        socket_timeout=REDIS_TIMEOUT_SECS,
        socket_connect_timeout=REDIS_TIMEOUT_SECS,
        retry=Retry(NoBackoff(), REDIS_RETRIES),
    )


def _lease_secs(settings: Settings) -> float:
    return min(LEASE_SECS, settings.redis_session_ttl)


def _open_handover(
    settings: Settings,
    begin: "BeginCall",
    recorder: Callable[[str], Record],
    leases: dict[str, int],
    stack: AsyncExitStack,
) -> CallHandover | None:
    if settings.redis_url is None:
        return None
    from agent.call_memories_in_redis import CallMemoriesInRedis

    assert settings.stream_token_secret is not None, "settings generate one in development"
    client = redis_client(settings.redis_url)
    stack.push_async_callback(client.aclose)
    memories = CallMemoriesInRedis(
        client, settings.stream_token_secret.get_secret_value(), settings.redis_session_ttl
    )
    handover = CallHandover(
        memories,
        lambda call, memory: begin(call, recorder(call.id), memory),
        lambda: leases,
    )
    handover.open()
    stack.push_async_callback(handover.close)
    return handover


def _open_model(settings: Settings, load: LoopLoad, stack: AsyncExitStack) -> ConnectModel:
    if settings.gemini_api_key is None:
        return NoModel()
    client = GeminiClient(settings.gemini_api_key.get_secret_value(), settings.gemini_model, load)
    stack.push_async_callback(client.aclose)
    return client


def _open_sentences(
    settings: Settings, model: ConnectModel, stack: AsyncExitStack
) -> PreparedSentences | None:
    if not settings.answer_filler or settings.gemini_api_key is None:
        return None
    sentences = PreparedSentences(model)
    stack.push_async_callback(sentences.aclose)
    return sentences


class BeginCall(Protocol):
    """Starts the pipeline of a call; `recalled`: another instance has begun it."""

    def __call__(
        self, call: Call, record: Record, recalled: CallMemory | None = None
    ) -> RunningCall:
        """The call that runs."""
        ...


def _pipeline_starter(
    settings: Settings,
    recordings: Recordings,
    cassettes: Cassettes,
    model: ConnectModel,
    sentences: PreparedSentences | None,
    observe: MeasureSink,
) -> BeginCall:
    greetings = GreetingCache() if settings.greeting_cache else None

    def begin(call: Call, record: Record, recalled: CallMemory | None = None) -> RunningCall:
        definition = catalogue.find(call.pipeline)
        setup = CallSetup(
            call_id=call.id,
            phone_number=call.phone_number,
            profile=AgentProfile.model_validate(call.profile),
            definition=definition,
            metadata=call.extra,
            recalled=recalled,
            # The number may be one that somebody talked the model into.
            may_transfer=settings.allows_transfer,
            greetings=greetings,
            sentences=sentences,
            recording=recordings.begin(call, record),
            tape=cassettes.begin(call, definition, record),
        )
        return start_call(setup, connect=model, record=record, measure=observe)

    return begin


def _open_pool(
    settings: Settings,
    begin: BeginCall,
    prewarming: Prewarming | None,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> InboundPool | None:
    if not settings.inbound_pool or prewarming is None:
        return None

    def start(number: str) -> PooledCall:
        call, record = new_inbound_call(settings, number), HeldRecord()
        assert call is not None, "the pool is for numbers that have a route"
        return PooledCall(call, begin(call, record), record)

    numbers = [number for number in settings.inbound_numbers if number != "*"]
    pool = InboundPool(start, numbers, size=settings.inbound_pool, measure=metrics.observe)
    pool.fill()
    stack.push_async_callback(pool.close)
    return pool


def new_inbound_call(settings: Settings, ours: str) -> Call | None:
    """A call to one of our numbers, before it is known who calls; None: nobody answers there."""
    route = settings.inbound_route(ours)
    if route is None:
        return None
    definition = catalogue.find(route.pipeline)
    profile = route.over(definition.profile, default_voice=settings.gemini_voice)
    return Call(
        direction=Direction.INBOUND,
        status=CallStatus.RINGING,
        phone_number="unknown",
        our_number=ours,
        pipeline=definition.name,
        profile=profile.model_dump(mode="json"),
    )


def _make_prewarming(
    settings: Settings, start: StartCall, call_log: CallLog, metrics: Metrics
) -> Prewarming | None:
    if not settings.prewarm_limit or not settings.gemini_api_key:
        return None
    prewarming = Prewarming(
        start, call_log.get, limit=settings.prewarm_limit, measure=metrics.observe
    )
    metrics.warm_sessions.set_function(lambda: prewarming.open)
    return prewarming


def _make_registry(
    settings: Settings,
    start: StartCall,
    live_calls: LiveCalls,
    prewarming: Prewarming | None,
    clock: Clock,
    metrics: Metrics,
    handover: CallHandover | None,
    leases: dict[str, int],
    load: LoopLoad,
    holds: Callable[[str], bool],
) -> CallRegistry:
    registry = CallRegistry(
        start,
        live_calls,
        instance=_instance_name(settings.instance_url),
        capacity=settings.max_concurrent_calls,
        clock=clock,
        prewarming=prewarming,
        handover=handover,
        leases=leases,
        fleet_capacity=settings.max_fleet_calls or None,
        url=settings.instance_url,
        load=load,
        holds=holds,
    )
    metrics.active.set_function(lambda: registry.held)
    metrics.capacity.set(settings.max_concurrent_calls)
    metrics.talking.set_function(lambda: registry.talking)
    return registry


def _instance_name(url: str | None) -> str:
    """INSTANCE_URL, except for an address that other machines have, too."""
    if url is None:
        return f"{socket.gethostname()}:{os.getpid()}"
    parts = urlsplit(url)
    is_shared = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return f"{socket.gethostname()}:{parts.port}" if is_shared else url


def _told_of_ends(
    settings: Settings,
    call_log: CallLog,
    metrics: Metrics,
    cassettes: Cassettes,
    stack: AsyncExitStack,
) -> Callable[[Call], None]:
    """Who is told of each call that ended: metrics, cassettes and, when they are on, traces."""
    told: list[Callable[[Call], None]] = [metrics.call_ended, cassettes.call_ended]
    if settings.otel_exporter_otlp_endpoint is not None:
        # An extra, that only this needs.
        from server.observability.traces import CallTraces

        traces = CallTraces(call_log)
        stack.push_async_callback(traces.close)
        told.append(traces.call_ended)

    def ended(call: Call) -> None:
        for tell in told:
            tell(call)

    return ended


def _make_temporal(
    settings: Settings,
    local: LocalRunner,
    call_log: CallLog,
    registry: CallRegistry,
    on_end: Callable[[Call], None],
) -> "TemporalLifecycle | None":
    if settings.temporal_address is None:
        return None
    # An extra, and a tenth of what a start imports.
    from server.temporal.lifecycle import TemporalLifecycle

    return TemporalLifecycle.make(settings, local, call_log, registry.instance, on_end)


def _open_leases(
    settings: Settings, registry: CallRegistry, stack: AsyncExitStack
) -> CallLeases | None:
    url = settings.redis_url
    if url is None:
        return None

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[LiveCalls]:
        from agent.live_calls_in_redis import LiveCallsInRedis

        async with redis_client(url) as client:
            yield LiveCallsInRedis(
                client, settings.redis_session_ttl, lease_secs=_lease_secs(settings)
            )

    leases = CallLeases(
        connect,
        registry.leases,
        instance=registry.instance,
        ttl_secs=_lease_secs(settings),
        on_lost=registry.lose_soon,
        report=registry.report,
    )
    leases.open()
    stack.push_async_callback(leases.close)
    return leases


def _open_relay(
    settings: Settings,
    registry: CallRegistry,
    live_calls: LiveCalls,
    clock: Clock,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Relay | None:
    if settings.redis_url is None:
        return None
    assert settings.stream_token_secret is not None, "settings generate one in development"
    secret = settings.stream_token_secret.get_secret_value()
    signatures = RelaySignatures(secret, registry.instance, clock)
    relay = Relay(
        live_calls,
        signatures,
        registry.instance,
        lambda outcome: metrics.relays.labels(outcome).inc(),
    )
    metrics.relayed.set_function(lambda: registry.relays)
    stack.push_async_callback(relay.close)
    return relay


def _open_moves(
    registry: CallRegistry, live_calls: LiveCalls, relay: Relay | None, stack: AsyncExitStack
) -> CallMoves | None:
    if relay is None:
        return None
    moves = CallMoves(registry, live_calls, relay)
    stack.push_async_callback(moves.close)
    return moves


def _open_frozen_watch(
    settings: Settings,
    registry: CallRegistry,
    live_calls: LiveCalls,
    life: CallLifecycle,
    telephone: Telephone,
    stack: AsyncExitStack,
) -> None:
    if settings.redis_url is None:
        return
    watch = FrozenWatch(live_calls, life, telephone, registry.instance, registry.packets_passed_on)
    watch.open()
    stack.push_async_callback(watch.close)


def _open_aws(
    settings: Settings, registry: CallRegistry, metrics: Metrics, stack: AsyncExitStack
) -> None:
    if settings.ecs_agent_uri:
        protection = TaskProtection(settings.ecs_agent_uri, lambda: registry.busy)
        protection.open()
        stack.push_async_callback(protection.close)
    if settings.cloudwatch_namespace:
        cloudwatch = CloudWatchMetrics(
            metrics.registry,
            namespace=settings.cloudwatch_namespace,
            capacity=settings.max_concurrent_calls,
        )
        cloudwatch.open()
        stack.push_async_callback(cloudwatch.close)


def _make_signatures(settings: Settings) -> TwilioSignatures:
    token = settings.twilio_auth_token
    return TwilioSignatures(
        token.get_secret_value() if token else None,
        base_url=settings.base_url,
        stream_base_url=settings.stream_base_url,
    )


def _make_tokens(settings: Settings) -> StreamTokens:
    assert settings.stream_token_secret is not None, "settings generate one in development"
    return StreamTokens(settings.stream_token_secret.get_secret_value())
