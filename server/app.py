"""The app: its lifespan, its routes, and the one shape of its errors."""

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from server import calls_api, health, media_stream, twilio_webhooks
from server.metrics import CONTENT_TYPE
from server.resources import Opened, State, open_resources
from server.security import BodyLimit
from server.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The server for these settings; nothing is opened before its lifespan begins."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_resources(settings) as resources:
            yield {"resources": resources}

    app = FastAPI(
        title="Voice AI System",
        summary="A phone agent: Twilio on one side, Gemini Live on the other.",
        version=version("voice-ai-system"),
        lifespan=lifespan,
    )
    app.add_middleware(BodyLimit)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)
    app.include_router(calls_api.router)
    app.include_router(twilio_webhooks.router)
    app.include_router(media_stream.router)
    app.include_router(health.router)
    app.add_api_route("/metrics", _metrics, tags=["health"], response_class=Response)
    return app


async def _metrics(opened: Opened) -> Response:
    """What is counted and measured, for Prometheus."""
    return Response(opened.metrics.as_text(), media_type=CONTENT_TYPE)


async def _invalid(_: Request, error: Exception) -> Response:
    # What came is not sent back: it may be long, personal, or no valid text at all.
    assert isinstance(error, RequestValidationError)
    detail = [{key: problem[key] for key in ("loc", "msg", "type")} for problem in error.errors()]
    return _answer(422, detail)


async def _failed(_: Request, error: Exception) -> Response:
    return _answer(500, "Something went wrong on our side.")


def _answer(status: int, detail: str | Sequence[dict[str, Any]]) -> Response:
    body = json.dumps({"detail": detail}, default=str)
    return Response(body, status, media_type="application/json")
