"""Opens what an instance shares with the others: live calls, leases, memories, the relay.

Without REDIS_URL there are no others, and of these only the live calls, in memory.
"""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loguru import logger

from agent.clock import Clock
from agent.live_calls import LiveCalls, LiveCallsInMemory
from agent.ports import CallLifecycle, Record, Telephone
from agent.waiting_line import WaitingLine, WaitingLineInMemory
from server.calls.call_handover import CallHandover
from server.calls.call_leases import LEASE_SECS, CallLeases
from server.calls.call_registry import CallRegistry
from server.calls.leases import Leases
from server.observability.metrics import Metrics
from server.relay.call_moves import CallMoves
from server.relay.frozen_watch import FrozenWatch
from server.relay.relay import Relay
from server.relay.relay_signatures import RelaySignatures
from server.settings.settings import Settings
from server.start_up.pipelines import BeginCall

if TYPE_CHECKING:
    from redis.asyncio import Redis


# The client's own defaults wait for 5 s and try ten times.
REDIS_TIMEOUT_SECS = 1.0
REDIS_RETRIES = 1


def open_live_calls(settings: Settings, stack: AsyncExitStack) -> LiveCalls:
    """The registry of live calls: in Redis, or in memory when there is one instance."""
    if settings.redis_url is None:
        return LiveCallsInMemory()
    from agent.live_calls_in_redis import LiveCallsInRedis

    client = redis_client(settings.redis_url)
    stack.push_async_callback(client.aclose)
    return LiveCallsInRedis(client, settings.redis_session_ttl, lease_secs=lease_secs(settings))


def open_waiting_line(settings: Settings, stack: AsyncExitStack) -> WaitingLine:
    """The line of callers who wait: in Redis, or in memory when there is one instance."""
    if settings.redis_url is None:
        return WaitingLineInMemory()
    from agent.waiting_line_in_redis import WaitingLineInRedis

    client = redis_client(settings.redis_url)
    stack.push_async_callback(client.aclose)
    return WaitingLineInRedis(client)


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


def lease_secs(settings: Settings) -> float:
    """How long a lease lasts, in seconds."""
    return min(LEASE_SECS, settings.redis_session_ttl)


def open_handover(
    settings: Settings,
    begin: BeginCall,
    recorder: Callable[[str], Record],
    leases: Leases,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> CallHandover | None:
    """Keeps the memories of calls for other instances; None: there are none."""
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
        leases.all,
        lambda how: metrics.taken_over.labels(how).inc(),
    )
    handover.open()
    stack.push_async_callback(handover.close)
    return handover


def instance_name(url: str | None) -> str:
    """INSTANCE_URL, except for an address that other machines have, too."""
    if url is None:
        return f"{socket.gethostname()}:{os.getpid()}"
    parts = urlsplit(url)
    is_shared = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return f"{socket.gethostname()}:{parts.port}" if is_shared else url


async def elsewhere(live_calls: LiveCalls, instance: str, call_ids: Sequence[str]) -> set[str]:
    """Those of the calls that other instances carry, or have a place for; none without Redis."""
    try:
        found = await live_calls.find_all(call_ids)
    except Exception as error:
        logger.bind(error=type(error).__name__).warning("It cannot be told who has the calls")
        return set()
    return {call_id for call_id, known in found.items() if known != instance}


def open_leases(
    settings: Settings, registry: CallRegistry, stack: AsyncExitStack
) -> CallLeases | None:
    """Renews the leases of this instance; None: there are no other instances."""
    url = settings.redis_url
    if url is None:
        return None

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[LiveCalls]:
        from agent.live_calls_in_redis import LiveCallsInRedis

        async with redis_client(url) as client:
            yield LiveCallsInRedis(
                client, settings.redis_session_ttl, lease_secs=lease_secs(settings)
            )

    leases = CallLeases(
        connect,
        registry.leases,
        instance=registry.instance,
        ttl_secs=lease_secs(settings),
        on_lost=registry.lose_soon,
        report=registry.places.report,
    )
    leases.open()
    stack.push_async_callback(leases.close)
    return leases


def open_relay(
    settings: Settings,
    registry: CallRegistry,
    live_calls: LiveCalls,
    clock: Clock,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> Relay | None:
    """Passes streams and requests on to the instance of their call; None: there is no other."""
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
    metrics.relayed.set_function(lambda: registry.places.relays)
    stack.push_async_callback(relay.close)
    return relay


def open_moves(
    registry: CallRegistry,
    live_calls: LiveCalls,
    relay: Relay | None,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> CallMoves | None:
    """Moves calls to other instances; None: there are none."""
    if relay is None:
        return None
    moves = CallMoves(
        registry,
        live_calls,
        relay,
        lambda outcome: metrics.moves.labels("asked", outcome).inc(),
    )
    stack.push_async_callback(moves.close)
    return moves


def open_frozen_watch(
    settings: Settings,
    registry: CallRegistry,
    live_calls: LiveCalls,
    life: CallLifecycle,
    telephone: Telephone,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> None:
    """Take the calls of instances that are frozen, when there are others."""
    if settings.redis_url is None:
        return
    watch = FrozenWatch(
        live_calls,
        life,
        telephone,
        registry.instance,
        registry.packets_passed_on,
        lambda reason, outcome: metrics.moves.labels(reason, outcome).inc(),
    )
    watch.open()
    stack.push_async_callback(watch.close)
