"""Checks Temporal, where it is set: whether it answers, and whether a worker takes calls."""

import asyncio

from server.doctor.findings import Finding, fail, ok, reason, skip
from server.settings.settings import Settings

NAME = "temporal"
WITHIN_SECS = 5.0


async def check_temporal(settings: Settings) -> list[Finding]:
    """Ask for the namespace, and for who polls the queue of calls."""
    address = settings.temporal_address
    if address is None:
        return [skip(NAME, "TEMPORAL_ADDRESS is not set: calls live in the server's process")]
    try:
        from temporalio.service import RPCError

        from server.temporal.pollers import count_pollers
    except ModuleNotFoundError as error:
        do = "Install it: pip install 'voice-ai-system[temporal]'"
        return [fail(NAME, f"the package {error.name!r} is not installed", do)]
    shown = f"Temporal at {address}, namespace {settings.temporal_namespace}"
    try:
        async with asyncio.timeout(WITHIN_SECS):
            pollers = await count_pollers(settings)
    except (RuntimeError, RPCError, TimeoutError) as error:
        do = "Start Temporal, or correct TEMPORAL_ADDRESS and the settings beside it."
        return [fail(NAME, f"{shown} cannot be used: {reason(error)}", do)]
    if not pollers:
        do = "Start `voice-ai worker`, or `voice-ai serve --with-worker`, with these settings."
        return [fail(NAME, f"{shown}: no worker takes calls", do)]
    return [ok(NAME, f"{shown}, {pollers} worker{'s' if pollers > 1 else ''}")]
