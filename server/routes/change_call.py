"""Routes that change a call while it goes on: another prompt, voice or tools, and hints."""

from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends, HTTPException
from loguru import logger
from pydantic import BaseModel, ConfigDict, Field

from agent.record.models import Call
from pipelines.call.run_call import RunningCall
from pipelines.gemini.model_controls import Change, UnknownTool
from server.relay.relay import CHANGE, HINT
from server.resources import Opened, Resources
from server.routes.auth import authenticate
from server.routes.calls import ANSWERS, NOT_FOUND, known_call
from server.routes.errors import problem
from server.settings.profile_fields import Text

NOT_TALKING = "The call is not in progress."
ELSEWHERE = "The call is carried by another instance, which cannot be reached."
CONFLICT: dict[int | str, dict[str, Any]] = {
    400: problem("The body is not text.", "There was an error parsing the body"),
    408: problem("The body did not arrive in time.", "The body did not arrive in time."),
    409: problem("The call is not in progress, or its instance cannot be reached.", NOT_TALKING),
    413: problem("The body is larger than 64 kB.", "The body is larger than 64 kB."),
}

router = APIRouter(
    prefix="/calls", tags=["calls"], dependencies=[Depends(authenticate)], responses=ANSWERS
)
KnownCall = Annotated[Call, Depends(known_call)]


class CallChange(BaseModel):
    """What is to be different from now on; what is left out stays."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"system_prompt": "Be brief.", "tools": ["hang_up"]}]},
    )

    system_prompt: Text | None = Field(default=None, max_length=32_000)
    voice: Text | None = Field(default=None, min_length=1, max_length=64)
    tools: list[Annotated[Text, Field(min_length=1, max_length=64)]] | None = Field(
        default=None, max_length=64, description="Names of tools that the pipeline has."
    )


class Hint(BaseModel):
    """A sentence for the model alone."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"text": "Offer a discount of ten percent."}]},
    )

    text: Text = Field(min_length=1, max_length=2_000)


@router.patch(
    "/{call_id}",
    summary="Change the agent of a call",
    status_code=204,
    responses={**NOT_FOUND, **CONFLICT},
)
async def change(call: KnownCall, body: CallChange, opened: Opened) -> None:
    """Go on with another prompt, voice or tools, from the next turn on.

    The connection to the model that has them takes over between two turns; the conversation is
    remembered.
    """
    here = opened.registry.running(call.id) is not None
    if not here and await passed_on(call, CHANGE, body, opened) is not None:
        return
    change_here(call.id, body, opened)


@router.post(
    "/{call_id}/hint",
    summary="Give the model a hint",
    status_code=204,
    responses={**NOT_FOUND, **CONFLICT},
)
async def hint(call: KnownCall, body: Hint, opened: Opened) -> None:
    """Tell the model something that the caller does not hear, without interrupting it."""
    here = opened.registry.running(call.id) is not None
    if not here and await passed_on(call, HINT, body, opened) is not None:
        return
    hint_here(call.id, body, opened)


def change_here(call_id: str, body: CallChange, opened: Resources) -> None:
    """Change a call that this instance carries. Raises: HTTPException."""
    running = _running(call_id, opened)
    try:
        running.controls.change(Change(body.system_prompt, body.voice, body.tools))
    except UnknownTool as unknown:
        raise HTTPException(422, str(unknown)) from None


def hint_here(call_id: str, body: Hint, opened: Resources) -> None:
    """Give a hint to a call that this instance carries. Raises: HTTPException."""
    _running(call_id, opened).controls.hint(body.text)


def _running(call_id: str, opened: Resources) -> RunningCall:
    """The call's pipeline on this instance. Raises: HTTPException."""
    running = opened.registry.running(call_id)
    if running is None:
        opened.metrics.rejected.labels("not_in_progress").inc()
        raise HTTPException(409, NOT_TALKING)
    return running


async def passed_on(
    call: Call, what: str, body: BaseModel, opened: Resources
) -> httpx.Response | None:
    """The answer of the instance that carries the call, which did it; None: no other one does.

    Raises: HTTPException as that one, and 409 when it does not answer.
    """
    try:
        owner = await opened.live_calls.owner(call.id)
    except Exception as error:  # redis-py's, which is not imported without REDIS_URL
        logger.warning("It cannot be told who carries a call", error=type(error).__name__)
        opened.metrics.rejected.labels("not_in_progress").inc()
        raise HTTPException(409, ELSEWHERE) from None
    if owner is None or owner == opened.registry.instance:
        return None
    answer = None
    if opened.relay is not None:
        content = body.model_dump_json(exclude_unset=True).encode()
        answer = await opened.relay.request(call.id, what, content)
    if answer is not None and answer.is_success:
        return answer
    if answer is not None and answer.status_code in (409, 422):
        raise HTTPException(answer.status_code, answer.json()["detail"])
    opened.metrics.rejected.labels("not_in_progress").inc()
    raise HTTPException(409, ELSEWHERE)
