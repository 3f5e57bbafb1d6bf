"""Resources of the server: opened in this order in its lifespan, closed in reverse.

migrate ─▶ engine ─▶ record writer ─▶ recordings ─▶ cassettes ─▶ live calls ─▶ model ─▶ telephone
─▶ registry ─▶ lifecycle (resumes calls)
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from fastapi import Depends
from loguru import logger
from starlette.requests import HTTPConnection

from agent.clock import Clock, loop_clock
from agent.live_calls import LiveCalls
from agent.loop_load import LoopLoad
from agent.measures import Measure
from agent.ports import CallLifecycle, Record
from agent.record.call_log import CallLog, open_engine
from agent.record.models import Call
from agent.record.recorder import RecordWriter
from agent.record.spool import RecordSpool
from agent.runner.local_runner import LocalRunner
from agent.waiting_line import WaitingLine
from pipelines.call.inbound_pool import InboundPool
from pipelines.call.prewarming import Prewarming, StartCall
from pipelines.call.run_call import RunningCall
from server.calls.admission import Places
from server.calls.call_handover import CallHandover
from server.calls.call_leases import CallLeases
from server.calls.call_registry import CallRegistry
from server.calls.fenced_record import FencedRecord
from server.calls.leases import Leases
from server.calls.task_protection import TaskProtection
from server.cassettes.facts import facts
from server.cassettes.policy import CassettePolicy
from server.cassettes.store import Cassettes
from server.http.attempt_limit import AttemptLimit
from server.http.shared_work import SharedWork
from server.migrations import upgrade
from server.observability.cloudwatch import CloudWatchMetrics
from server.observability.gc_policy import collected_when_idle
from server.observability.last_session import LastModelSession
from server.observability.loop_lag import measured_loop_lag
from server.observability.metrics import Metrics
from server.recordings.store import RecordingPolicy, Recordings
from server.relay.call_moves import CallMoves
from server.relay.relay import Relay
from server.settings.settings import Settings, names_set
from server.settings.written_values import parsed_listen_address, read_key
from server.start_up.instances import (
    elsewhere,
    instance_name,
    open_frozen_watch,
    open_handover,
    open_leases,
    open_live_calls,
    open_moves,
    open_relay,
    open_waiting_line,
)
from server.start_up.pipelines import (
    make_prewarming,
    open_model,
    open_pool,
    open_sentences,
    pipeline_starter,
)
from server.twilio.open_telephone import open_telephone
from server.twilio.signature_warnings import SignatureWarnings
from server.twilio.signatures import TwilioSignatures
from server.twilio.stream_tokens import StreamTokens

if TYPE_CHECKING:
    from server.temporal.lifecycle import TemporalLifecycle


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
    waiting_line: WaitingLine
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
        live_calls = open_live_calls(settings, stack)
        load = LoopLoad(settings.overload_lag_ms / 1000 or None)
        model = open_model(settings, load, stack)
        telephone = open_telephone(settings, call_log)
        stack.callback(telephone.close)

        sentences = open_sentences(settings, model, stack)
        begin = pipeline_starter(settings, recordings, cassettes, model, sentences, observe)

        call_leases: CallLeases | None = None

        def holds(call_id: str) -> bool:
            return call_leases is None or call_leases.holds(call_id)

        def recorder(call_id: str) -> Record:
            return FencedRecord(records.recorder(call_id), partial(holds, call_id))

        def start(call: Call) -> RunningCall:
            return begin(call, recorder(call.id))

        prewarming = make_prewarming(settings, start, call_log, metrics)
        leases = Leases()
        handover = open_handover(settings, begin, recorder, leases, metrics, stack)
        registry = _make_registry(
            settings, start, live_calls, prewarming, clock, metrics, handover, leases, load, holds
        )
        on_end = _told_of_ends(settings, call_log, metrics, cassettes, stack)
        theirs = partial(elsewhere, live_calls, registry.instance)
        local = LocalRunner(
            call_log, telephone, registry, clock=clock, on_end=on_end, elsewhere=theirs
        )
        temporal = _make_temporal(settings, local, call_log, registry, on_end)
        life: CallLifecycle = local if temporal is None else temporal.runner
        stack.push_async_callback(life.close)
        # Pipelines end before the lifecycle closes, so that it still takes their reports.
        registry.report_to(life)
        stack.push_async_callback(registry.close)
        call_leases = open_leases(settings, registry, stack)
        pool = open_pool(settings, begin, prewarming, metrics, stack)
        relay = open_relay(settings, registry, live_calls, clock, metrics, stack)
        moves = open_moves(registry, live_calls, relay, metrics, stack)
        open_frozen_watch(settings, registry, live_calls, life, telephone, metrics, stack)
        _open_aws(settings, registry, metrics, stack)

        develops = settings.environment == "development"
        stack.enter_context(
            measured_loop_lag(metrics.lag.observe, load.observe, development=develops)
        )
        await stack.enter_async_context(collected_when_idle(lambda: registry.places.held))
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
            waiting_line=open_waiting_line(settings, stack),
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
    spool = RecordSpool(settings.record_spool_folder)
    records = RecordWriter(call_log, clock=clock, spool=spool)
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


def _make_registry(
    settings: Settings,
    start: StartCall,
    live_calls: LiveCalls,
    prewarming: Prewarming | None,
    clock: Clock,
    metrics: Metrics,
    handover: CallHandover | None,
    leases: Leases,
    load: LoopLoad,
    holds: Callable[[str], bool],
) -> CallRegistry:
    places = Places(
        live_calls,
        instance=instance_name(settings.instance_url),
        capacity=settings.max_concurrent_calls,
        fleet_capacity=settings.max_fleet_calls or None,
        url=settings.instance_url,
        load=load,
    )
    registry = CallRegistry(
        start,
        live_calls,
        places,
        clock=clock,
        prewarming=prewarming,
        handover=handover,
        leases=leases,
        holds=holds,
    )
    metrics.active.set_function(lambda: places.held)
    metrics.capacity.set(settings.max_concurrent_calls)
    metrics.talking.set_function(lambda: registry.talking)
    return registry


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


def _open_aws(
    settings: Settings, registry: CallRegistry, metrics: Metrics, stack: AsyncExitStack
) -> None:
    if settings.ecs_agent_uri:
        protection = TaskProtection(settings.ecs_agent_uri, lambda: registry.places.busy)
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
