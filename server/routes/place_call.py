"""Places calls for the calls API: once per idempotency key, within capacity and limits."""

import hashlib
import json

from fastapi import HTTPException
from loguru import logger

from agent.lifecycle.events import Placed
from agent.ports import LifecycleUnavailable
from agent.profile import CannotBeFilled
from agent.record.call_log import DailyLimitReached, IdempotencyConflict
from agent.record.models import Call, CallStatus, Direction
from pipelines.call import catalogue
from pipelines.call.catalogue import UnknownPipeline
from server.calls.schemas import CallRequest
from server.resources import Resources

NOT_ALLOWED = "ALLOWED_DESTINATIONS does not allow calls to this number."
OTHER_BODY = "This Idempotency-Key was used with another body."
NO_LINE = "All lines of this server are in use; try again soon."
RETRY_AFTER_SECS = 5


async def place_call(body: CallRequest, key: str | None, opened: Resources) -> Call:
    """Call a number, once per idempotency key; return the call as it is after dialling.

    Raises: HTTPException when it cannot be placed.
    """
    call, placed = _new_call(body, key, opened)
    key = call.idempotency_key
    if key is None or await opened.call_log.find_by_idempotency_key(key) is None:
        await _admit(call, opened)
    try:
        kept = await opened.life.place(call, placed)
    except IdempotencyConflict:
        opened.registry.places.give_back(call.id)
        opened.metrics.rejected.labels("idempotency_key").inc()
        raise HTTPException(409, OTHER_BODY) from None
    except DailyLimitReached as reached:
        opened.registry.places.give_back(call.id)
        opened.metrics.rejected.labels("daily_limit").inc()
        raise HTTPException(429, f"DAILY_CALL_LIMIT: {reached}.") from None
    except LifecycleUnavailable as unavailable:
        opened.registry.places.give_back(call.id)
        opened.metrics.rejected.labels("temporal").inc()
        retry = {"Retry-After": str(RETRY_AFTER_SECS)}
        raise HTTPException(503, f"{unavailable}; try again soon.", headers=retry) from None
    except BaseException:
        opened.registry.places.give_back(call.id)
        raise
    if kept.id != call.id or kept.status.is_terminal:
        opened.registry.places.give_back(call.id)
    logger.info("A call was placed", call_id=kept.id, personal_to=kept.phone_number)
    return kept


def _new_call(body: CallRequest, key: str | None, opened: Resources) -> tuple[Call, Placed]:
    settings = opened.settings
    try:
        definition = catalogue.find(body.pipeline or settings.default_pipeline)
    except UnknownPipeline as error:
        opened.metrics.rejected.labels("invalid_request").inc()
        raise HTTPException(422, str(error)) from None
    if not settings.twilio_is_configured or settings.twilio_phone_number is None:
        raise HTTPException(503, f"Twilio is not configured: set {settings.twilio_missing}.")
    if settings.gemini_api_key is None:
        raise HTTPException(503, "Gemini is not configured: set GEMINI_API_KEY.")
    if not settings.allows_destination(body.phone_number):
        opened.metrics.rejected.labels("destination").inc()
        raise HTTPException(403, NOT_ALLOWED)
    profile = body.over(definition.profile, default_voice=settings.gemini_voice)
    try:
        profile.filled_with(body.metadata)
    except CannotBeFilled as error:
        opened.metrics.rejected.labels("invalid_request").inc()
        raise HTTPException(422, f"metadata: {error}.") from None
    call = Call(
        direction=Direction.OUTBOUND,
        status=CallStatus.INITIATED,
        phone_number=body.phone_number,
        our_number=settings.twilio_phone_number,
        pipeline=definition.name,
        profile=profile.model_dump(mode="json"),
        extra=body.metadata,
        idempotency_key=f"api:{key}" if key else None,
        request_fingerprint=_fingerprint(body) if key else None,
    )
    placed = Placed(
        opened.clock(),
        ring_timeout_secs=settings.ring_timeout_seconds,
        max_duration_secs=profile.max_duration_seconds,
    )
    return call, placed


def _fingerprint(body: CallRequest) -> str:
    text = json.dumps(body.model_dump(mode="json", exclude_unset=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


async def _admit(call: Call, opened: Resources) -> None:
    if not await opened.registry.places.admit(call):
        opened.metrics.rejected.labels("capacity").inc()
        raise HTTPException(
            503,
            NO_LINE,
            headers={"Retry-After": str(RETRY_AFTER_SECS)},
        )
