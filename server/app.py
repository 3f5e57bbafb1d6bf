"""Creates the FastAPI app: lifespan, routes, middleware and error responses."""

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from loguru import logger
from starlette.datastructures import Headers
from starlette.types import Scope

from agent.record.call_log import DatabaseUnavailable, NoSuchCall
from pipelines.call import catalogue
from server.about import own_version
from server.http.body_limit import BodyLimit, Refusal
from server.http.fair_share import FairShare
from server.observability.metrics import CONTENT_TYPE
from server.resources import Opened, Resources, State, open_resources
from server.routes import (
    calls,
    change_call,
    health,
    move_call,
    relayed,
    twilio_media,
    twilio_webhooks,
)
from server.routes.api_docs import add_api_docs
from server.routes.auth import NO_KEY, TOO_MANY, authenticate_reader, refuse_stranger
from server.routes.errors import problem
from server.routes.local_requests import FROM_OTHER_SITE
from server.routes.place_call import RETRY_AFTER_SECS
from server.routes.signed_form import refuse_webhook, warn_unsigned
from server.settings.settings import Settings, SettingsError

TAGS = [
    {"name": "calls", "description": "Place, read, change, end and erase calls."},
    {"name": "twilio", "description": "Webhooks for Twilio alone: each request is signed by it."},
    {"name": "health", "description": "Liveness, readiness and metrics, for orchestrators."},
]


def create_app(settings: Settings, *, with_worker: bool = False) -> FastAPI:
    """The server for these settings; nothing is opened before its lifespan begins.

    `with_worker`: run workflows of calls, too, when there is a Temporal server.

    Raises: SettingsError when INBOUND_NUMBERS names an unknown pipeline, or traces need an extra;
    BrokenPipeline when what PIPELINES names cannot be used.
    """
    catalogue.use(settings.pipelines)
    _check_routes(settings)
    _check_traces(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with (
            open_resources(settings, with_worker=with_worker) as resources,
            health.readiness_in_metrics(resources),
        ):
            yield {"resources": resources}

    app = FastAPI(
        title="Voice AI System",
        summary="A phone agent: Twilio on one side, Gemini Live on the other.",
        version=own_version(),
        openapi_tags=TAGS,
        lifespan=lifespan,
        routes=_routes().routes,
        # A redirect would send a client's key to the scheme and host of its Host header.
        redirect_slashes=False,
        # FastAPI's own pages load their assets from another host.
        openapi_url=None,
    )
    app.add_middleware(BodyLimit, refused=_count_refused, check_head=_refuse_head)
    # Outside of all others.
    app.add_middleware(FairShare)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(NoSuchCall, _call_not_found)
    app.add_exception_handler(DatabaseUnavailable, _database_unavailable)
    app.add_exception_handler(Exception, _internal_error)
    add_api_docs(app)
    return app


@cache
def _routes() -> APIRouter:
    """All routes, which know nothing of settings: FastAPI prepares them once for all servers."""
    router = APIRouter()
    router.include_router(calls.router)
    router.include_router(change_call.router)
    router.include_router(move_call.router)
    router.include_router(twilio_webhooks.router)
    router.include_router(twilio_media.router)
    router.include_router(relayed.router)
    router.include_router(health.router)
    router.add_api_route(
        "/metrics",
        _metrics,
        summary="Metrics for Prometheus",
        tags=["health"],
        dependencies=[Depends(authenticate_reader)],
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {}}},
            401: problem("No valid API key.", NO_KEY),
            403: problem("Without API keys: sent by a page of another site.", FROM_OTHER_SITE),
            429: problem("Too many requests without a valid API key.", TOO_MANY),
        },
    )
    return router


def _check_routes(settings: Settings) -> None:
    try:
        catalogue.find(settings.default_pipeline)
    except catalogue.UnknownPipeline as error:
        raise SettingsError(f"DEFAULT_PIPELINE: {error}") from None
    for number, route in settings.inbound_numbers.items():
        try:
            catalogue.find(route.pipeline)
        except catalogue.UnknownPipeline as error:
            raise SettingsError(f"INBOUND_NUMBERS: {number}: {error}") from None


def _check_traces(settings: Settings) -> None:
    if settings.otel_exporter_otlp_endpoint and find_spec("opentelemetry.exporter") is None:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT: traces need the extra: "
            "pip install 'voice-ai-system[otel]'"
        )


async def _metrics(opened: Opened) -> Response:
    """All metrics, in Prometheus' text format; `voice_ai_ready` is checked for each scrape."""
    await health.check_readiness(opened)
    return Response(opened.metrics.shared_text(), media_type=CONTENT_TYPE)


def _refuse_head(scope: Scope, headers: Headers) -> Refusal | None:
    return refuse_webhook(scope, headers) or refuse_stranger(scope, headers)


def _count_refused(scope: Scope, reason: str) -> None:
    resources: Resources = scope["state"]["resources"]
    resources.metrics.rejected.labels(reason).inc()
    if reason == "webhook_signature":
        warn_unsigned(scope, resources)


async def _invalid_request(request: Request, error: Exception) -> Response:
    # The input is not echoed: it may be long, personal, or no valid text.
    assert isinstance(error, RequestValidationError)
    request.state.resources.metrics.rejected.labels("invalid_request").inc()
    detail = [
        {
            "loc": problem["loc"],
            # Pydantic's prefix of our sentences.
            "msg": problem["msg"].removeprefix("Value error, "),
            "type": problem["type"],
        }
        for problem in error.errors()
    ]
    return _answer(422, detail)


async def _call_not_found(_: Request, error: Exception) -> Response:
    return _answer(404, "There is no call with this id any more.")


async def _database_unavailable(request: Request, error: Exception) -> Response:
    request.state.resources.metrics.rejected.labels("database").inc()
    logger.error("The database cannot be used", path=request.url.path, why=str(error))
    answer = _answer(503, "The database cannot be used now; try again.")
    answer.headers["Retry-After"] = str(RETRY_AFTER_SECS)
    return answer


async def _internal_error(_: Request, error: Exception) -> Response:
    return _answer(500, "Something went wrong on our side.")


def _answer(status: int, detail: str | Sequence[dict[str, Any]]) -> Response:
    body = json.dumps({"detail": detail}, default=str)
    return Response(body, status, media_type="application/json")
