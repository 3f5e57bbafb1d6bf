"""Health routes: liveness, and readiness to carry calls."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from pydantic import BaseModel

from server.about import own_version
from server.resources import Opened, Resources

router = APIRouter(tags=["health"])

CHECK_TIMEOUT_SECS = 3.0


class Health(BaseModel):
    """Liveness, with the version."""

    status: str = "ok"
    version: str


class Readiness(BaseModel):
    """Each thing that a call needs: "ok", or what is wrong with it."""

    status: str
    checks: dict[str, str]


@router.get("/health")
async def health() -> Health:
    """That the server answers."""
    return Health(version=own_version())


@router.get(
    "/health/live",
    responses={503: {"model": Health, "description": "The process is broken, and ends."}},
)
async def live(opened: Opened, response: Response) -> Health:
    """For an orchestrator: restart the process when this is not 200, or does not answer."""
    if opened.is_broken:
        response.status_code = 503
        return Health(status="broken", version=own_version())
    return Health(version=own_version())


@router.get(
    "/health/ready",
    responses={503: {"model": Readiness, "description": "Something that a call needs is missing."}},
)
async def ready(opened: Opened, response: Response) -> Readiness:
    """For a load balancer: send no calls here while this is not 200."""
    readiness = await check_readiness(opened)
    response.status_code = 200 if readiness.status == "ok" else 503
    return readiness


async def check_readiness(opened: Resources) -> Readiness:
    """Check everything that a call needs, once for all who ask at the same time."""
    readiness: Readiness = await opened.readiness.run(lambda: _check(opened))
    for name, answer in readiness.checks.items():
        opened.metrics.ready.labels(name).set(answer == "ok")
    return readiness


async def _check(opened: Resources) -> Readiness:
    settings = opened.settings
    checks = {
        "database": await _check_database(opened),
        "record": "is not written any more" if opened.records.is_broken else "ok",
        "live_calls": await _reach(opened.live_calls.ping),
        "twilio": f"{settings.twilio_missing}: not set" if settings.twilio_missing else "ok",
        "gemini": "ok" if settings.gemini_api_key else "GEMINI_API_KEY is not set",
    }
    if opened.temporal is not None:
        checks["temporal"] = await _reach(opened.temporal.workflows.check)
    good = all(answer == "ok" for answer in checks.values())
    return Readiness(status="ok" if good else "unavailable", checks=checks)


async def _check_database(opened: Resources) -> str:
    answer = await _reach(opened.call_log.ping)
    if answer != "ok":
        return answer
    return await _reach(opened.call_log.check_writing, "cannot be written")


async def _reach(ping: Callable[[], Awaitable[object]], fails: str = "cannot be reached") -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECS):
            await ping()
    except TimeoutError:
        return f"{fails}: no answer in {CHECK_TIMEOUT_SECS:g} s"
    except Exception as error:  # any failure of a client's own kind means the same here
        return f"{fails} ({type(error).__name__})"
    return "ok"
