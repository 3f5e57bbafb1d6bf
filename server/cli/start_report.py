"""Start block of the log: what this server uses, who may call, how it is reached.

One line for each, at INFO; at WARNING what is wrong or probably not meant.

    Start: settings file  is=none (/home/ada has no .env)
    Start: database  is=sqlite+aiosqlite:////home/ada/voice-ai.db, made by this start
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loguru import logger

from agent.record.database_url import shown_database
from server.about import own_version
from server.settings.settings import Settings
from server.settings.written_values import without_password

if TYPE_CHECKING:
    from redis.asyncio import Redis

REACHED_WITHIN_SECS = 3.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class StartFact:
    """One line of the block: what it is about, what is so, and whether that is a problem."""

    about: str
    says: str
    is_wrong: bool = False


def log_start(facts: list[StartFact]) -> None:
    """Write the block."""
    for fact in facts:
        level = "WARNING" if fact.is_wrong else "INFO"
        logger.bind(**{"is": fact.says}).log(level, f"Start: {fact.about}")


def start_facts(settings: Settings, *, is_new: bool, host: str) -> list[StartFact]:
    """The lines, in order. `is_new`: the database was made by this start."""
    env_file = Path(".env").absolute()
    has_file = env_file.is_file()
    # In development, the first start in a folder has neither.
    lost = is_new and not has_file and settings.environment == "production"
    facts = [
        StartFact("version", f"{own_version()}, {settings.environment}"),
        StartFact(
            "settings file",
            str(env_file) if has_file else f"none ({env_file.parent} has no .env)",
            is_wrong=lost,
        ),
        StartFact(
            "database",
            shown_database(settings.database_url) + (", made by this start" if is_new else ""),
            is_wrong=lost,
        ),
        *asyncio.run(_reach_all(settings)),
    ]
    return [*facts, *_who_may_call(settings), _reached(settings, host)]


async def _reach_all(settings: Settings) -> list[StartFact]:
    temporal = [await _temporal(settings)] if settings.temporal_address else []
    return [await _redis(settings), *temporal]


async def _redis(settings: Settings) -> StartFact:
    if settings.redis_url is None:
        return StartFact("redis", "not set: what is live is kept in this process alone")
    shown = without_password(settings.redis_url)
    try:
        async with asyncio.timeout(REACHED_WITHIN_SECS), redis_client(settings) as client:
            await client.ping()
    except Exception as error:  # any failure of a client's own kind means the same here
        why = str(error) or type(error).__name__
        return StartFact("redis", f"{shown} cannot be reached: {why}", is_wrong=True)
    return StartFact("redis", shown)


@asynccontextmanager
async def redis_client(settings: Settings) -> AsyncIterator["Redis"]:
    """A client of REDIS_URL, for one question."""
    from redis.asyncio import Redis

    assert settings.redis_url is not None
    client = Redis.from_url(
        settings.redis_url,
        socket_timeout=REACHED_WITHIN_SECS,
        socket_connect_timeout=REACHED_WITHIN_SECS,
    )
    try:
        yield client
    finally:
        await client.aclose()


async def _temporal(settings: Settings) -> StartFact:
    address = settings.temporal_address or ""
    shown = f"{address}, namespace {settings.temporal_namespace}"
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(REACHED_WITHIN_SECS):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, ValueError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        return StartFact("temporal", f"{shown} cannot be reached: {why}", is_wrong=True)
    writer.close()
    return StartFact("temporal", shown)


def _who_may_call(settings: Settings) -> list[StartFact]:
    keys = len(settings.api_keys)
    clients = f"clients with one of {keys} API keys" if keys else "local requests, without a key"
    allowed = settings.allowed_destinations
    if allowed:
        numbers = "every number" if "*" in allowed else "numbers that begin " + ", ".join(allowed)
    else:
        numbers = "every number" if settings.environment == "development" else "no number"
    routes = ", ".join(f"{number}={it.pipeline}" for number, it in settings.inbound_numbers.items())
    if settings.twilio_missing:
        outbound = StartFact(
            "calls out", f"none can be placed: {settings.twilio_missing} not set", is_wrong=True
        )
    elif not settings.gemini_api_key:
        outbound = StartFact(
            "calls out", "none can be placed: GEMINI_API_KEY not set", is_wrong=True
        )
    else:
        outbound = StartFact("calls out", f"{numbers}, for {clients}")
    return [outbound, StartFact("calls in", routes)]


def _reached(settings: Settings, host: str) -> StartFact:
    """How Twilio reaches the server; its own cloud reaches no loopback address."""
    at_twilio = settings.twilio_is_configured and settings.twilio_api_base_url is None
    if at_twilio and urlsplit(settings.base_url).hostname in LOOPBACK:
        says = f"{settings.base_url}: Twilio cannot reach this; set BASE_URL to a public address"
        return StartFact("reached as", says, is_wrong=True)
    return StartFact("reached as", f"{settings.base_url}, listening on {host}:{settings.port}")
