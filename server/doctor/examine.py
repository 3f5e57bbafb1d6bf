"""Runs all checks, at the same time where they do not need each other."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path

from server.doctor.base_url_check import check_base_url
from server.doctor.database_check import check_database
from server.doctor.dev_check import check_dev
from server.doctor.findings import Finding
from server.doctor.gemini_check import check_gemini
from server.doctor.machine_check import check_clock, check_disk, check_ports, server_runs
from server.doctor.redis_check import check_redis
from server.doctor.settings_check import read_or_explain
from server.doctor.temporal_check import check_temporal
from server.doctor.twilio_check import check_twilio
from server.settings.settings import Settings


async def examine(settings: Settings) -> list[Finding]:
    """Everything but the settings themselves, in the order of the report."""
    runs = await server_runs(settings)
    checks: Sequence[Awaitable[list[Finding]]] = (
        check_database(settings),
        check_redis(settings),
        check_temporal(settings),
        check_twilio(settings),
        check_base_url(settings, runs=runs),
        check_gemini(settings),
        check_ports(settings, runs=runs),
        check_clock(settings),
        check_disk(settings),
    )
    return [finding for found in await asyncio.gather(*checks) for finding in found]


def diagnose(env_file: Path, *, dev_url: str | None = None) -> list[Finding]:
    """Read the settings and check everything; what is found holds no secret.

    `dev_url` is where `voice-ai dev` says that it serves.
    """
    settings, found = read_or_explain(env_file)
    found = [*asyncio.run(check_dev(dev_url)), *found]
    if settings is None:
        return found
    found += asyncio.run(examine(settings))
    secrets = _secrets(settings)
    return [replace(it, says=_without(secrets, it.says)) for it in found]


def _without(secrets: list[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "[secret]")
    return text


def _secrets(settings: Settings) -> list[str]:
    held = [settings.twilio_auth_token, settings.gemini_api_key, settings.stream_token_secret]
    return [it.get_secret_value() for it in (*held, *settings.api_keys) if it is not None]
