"""Health routes: liveness, and readiness to carry calls.

Strangers learn whether the server is up, and nothing else. Version, checks and the last session
with the model are for API clients.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from pipelines.call import catalogue
from server.about import own_version
from server.calls.bounded_waits import within
from server.resources import Opened, Resources
from server.routes.auth import MaySeeDetails

router = APIRouter(tags=["health"])

CHECK_TIMEOUT_SECS = 3.0
# Who reads metrics at a port of their own does not have readiness checked.
CHECK_EVERY_SECS = 5.0


class Health(BaseModel):
    """Liveness; API clients see the version, too."""

    status: str = "ok"
    version: str | None = None
    default_pipeline: str | None = Field(
        default=None, description="The pipeline of a call that names none; of `/health` alone."
    )


class ModelSession(BaseModel):
    """The last attempt of this process to open a session with the model."""

    outcome: str = Field(description="ok, or why it failed.", examples=["ok", "refused_401"])
    said: str = Field(description="What Gemini, or the network, said of a failure.")
    at: datetime


class Readiness(BaseModel):
    """Whether calls can be carried; API clients see each thing that a call needs, too."""

    status: str
    checks: dict[str, str] | None = Field(
        default=None, description='Each thing that a call needs: "ok", or what is wrong with it.'
    )
    last_session: ModelSession | None = None


@router.get("/health", summary="Whether the server answers", response_model_exclude_none=True)
async def health(opened: Opened, detailed: MaySeeDetails) -> Health:
    """That the server answers."""
    answer = _health("ok", detailed=detailed)
    if detailed:
        answer.default_pipeline = catalogue.find(opened.settings.default_pipeline).name
    return answer


@router.get(
    "/health/live",
    summary="Liveness",
    response_model_exclude_none=True,
    responses={503: {"model": Health, "description": "The process is broken, and ends."}},
)
async def live(opened: Opened, response: Response, detailed: MaySeeDetails) -> Health:
    """For an orchestrator: restart the process when this is not 200, or does not answer."""
    if opened.is_broken:
        response.status_code = 503
        return _health("broken", detailed=detailed)
    return _health("ok", detailed=detailed)


@router.get(
    "/health/ready",
    summary="Readiness",
    response_model_exclude_none=True,
    responses={503: {"model": Readiness, "description": "Something that a call needs is missing."}},
)
async def ready(opened: Opened, response: Response, detailed: MaySeeDetails) -> Readiness:
    """For a load balancer: send no calls here while this is not 200.

    A session that Gemini refused is told, and leaves the status alone: only the next call can show
    that Gemini is back, and its caller hears an apology rather than an error of the telephone's.
    """
    readiness = await check_readiness(opened)
    response.status_code = 200 if readiness.status == "ok" else 503
    return readiness if detailed else Readiness(status=readiness.status)


def _health(status: str, *, detailed: bool) -> Health:
    return Health(status=status, version=own_version() if detailed else None)


async def check_readiness(opened: Resources) -> Readiness:
    """Check everything that a call needs, once for all who ask at the same time."""
    readiness: Readiness = await opened.readiness.run(lambda: _check(opened))
    for name, answer in (readiness.checks or {}).items():
        opened.metrics.ready.labels(name).set(answer == "ok")
    return readiness


@contextlib.asynccontextmanager
async def readiness_in_metrics(opened: Resources) -> AsyncIterator[None]:
    """While open, check readiness again and again, for `voice_ai_ready` at `METRICS_ADDRESS`."""

    async def keep_checking() -> None:
        while True:
            await check_readiness(opened)
            await asyncio.sleep(CHECK_EVERY_SECS)

    if opened.settings.metrics_address is None:
        yield
        return
    checking = asyncio.create_task(keep_checking(), name="readiness")
    try:
        yield
    finally:
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)


async def _check(opened: Resources) -> Readiness:
    settings, attempt = opened.settings, opened.last_session.attempt
    checks = {
        "process": _check_process(opened),
        "database": await _check_database(opened),
        "record": "is not written any more" if opened.records.is_broken else "ok",
        "live_calls": await _reach(opened.live_calls.ping),
        "twilio": f"{settings.twilio_missing}: not set" if settings.twilio_missing else "ok",
        "gemini": "ok" if settings.gemini_api_key else "GEMINI_API_KEY is not set",
    }
    if opened.temporal is not None:
        checks["temporal"] = await _reach(opened.temporal.workflows.check)
    good = all(answer == "ok" for answer in checks.values())
    if attempt is not None and attempt.failure and checks["gemini"] == "ok":
        checks["gemini"] = attempt.failure
    return Readiness(
        status="ok" if good else "unavailable",
        checks=checks,
        last_session=None
        if attempt is None
        else ModelSession(outcome=attempt.outcome, said=attempt.said, at=attempt.at),
    )


def _check_process(opened: Resources) -> str:
    if opened.registry.places.draining:
        return "stops: it takes no new calls"
    return (
        "its event loop is late: it takes no new calls"
        if opened.registry.places.is_overloaded
        else "ok"
    )


async def _check_database(opened: Resources) -> str:
    answer = await _reach(opened.call_log.ping)
    if answer != "ok":
        return answer
    return await _reach(opened.call_log.check_writing, "cannot be written")


async def _reach(ping: Callable[[], Awaitable[object]], fails: str = "cannot be reached") -> str:
    try:
        async with within(CHECK_TIMEOUT_SECS):
            await ping()
    except TimeoutError:
        return f"{fails}: no answer in {CHECK_TIMEOUT_SECS:g} s"
    except Exception as error:  # any failure of a client's own kind means the same here
        return f"{fails} ({type(error).__name__})"
    return "ok"
