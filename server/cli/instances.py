"""`voice-ai instances`: which instances live, and which calls each of them carries."""

import asyncio
from typing import TYPE_CHECKING

import typer

from server.cli.environment import echo, settings_or_exit

if TYPE_CHECKING:
    from agent.live_calls import InstanceReport

Fleet = tuple[dict[str, "InstanceReport"], dict[str, str]]


def instances() -> None:
    """List the instances that share REDIS_URL, and their calls."""
    settings = settings_or_exit()
    if settings.redis_url is None:
        echo("REDIS_URL is not set: each instance works alone.", err=True)
        raise typer.Exit(2)
    from redis.exceptions import RedisError

    try:
        reports, owners = asyncio.run(_read(settings.redis_url))
    except (RedisError, OSError) as error:
        echo(f"Redis cannot be reached ({type(error).__name__}).", err=True)
        raise typer.Exit(1) from None
    for line in _lines(reports, owners):
        echo(line)


async def _read(url: str) -> Fleet:
    from agent.live_calls_in_redis import LiveCallsInRedis
    from server.start_up.instances import redis_client

    async with redis_client(url) as client:
        live_calls = LiveCallsInRedis(client)
        return await live_calls.instances(), await live_calls.all()


def _lines(reports: "dict[str, InstanceReport]", owners: dict[str, str]) -> list[str]:
    lines = []
    for name in sorted({*reports, *owners.values()}):
        report = reports.get(name)
        if report is None:
            state = "gone: its leases expire"
        else:
            state = "draining" if report.draining else "ready"
            state += f", {report.held} of {report.capacity} places taken"
        lines.append(f"{name}  {state}")
        lines += [f"  {call_id}" for call_id, owner in sorted(owners.items()) if owner == name]
    return lines or ["No instance lives."]
