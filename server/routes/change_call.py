"""Routes that change a call while it goes on: another prompt, voice or tools, and hints."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from agent.record.models import Call
from pipelines.call.run_call import RunningCall
from pipelines.gemini.model_controls import Change, UnknownTool
from server.resources import Opened, Resources
from server.routes.auth import authenticate
from server.routes.calls import ANSWERS, NOT_FOUND, known_call
from server.routes.errors import problem
from server.settings.profile_fields import Text

NOT_TALKING = "The call is not in progress."
ELSEWHERE = "The call is carried by another instance."
CONFLICT: dict[int | str, dict[str, Any]] = {
    400: problem("The body is not text.", "There was an error parsing the body"),
    408: problem("The body did not arrive in time.", "The body did not arrive in time."),
    409: problem("The call is not in progress, or not on this instance.", NOT_TALKING),
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


@router.patch("/{call_id}", status_code=204, responses={**NOT_FOUND, **CONFLICT})
async def change(call: KnownCall, body: CallChange, opened: Opened) -> None:
    """Go on with another prompt, voice or tools, from the next turn on.

    The connection to the model that has them takes over between two turns; the conversation is
    remembered.
    """
    running = await _running(call, opened)
    try:
        running.controls.change(Change(body.system_prompt, body.voice, body.tools))
    except UnknownTool as unknown:
        raise HTTPException(422, str(unknown)) from None


@router.post("/{call_id}/hint", status_code=204, responses={**NOT_FOUND, **CONFLICT})
async def hint(call: KnownCall, body: Hint, opened: Opened) -> None:
    """Tell the model something that the caller does not hear, without interrupting it."""
    running = await _running(call, opened)
    running.controls.hint(body.text)


async def _running(call: Call, opened: Resources) -> RunningCall:
    """The call's pipeline on this instance. Raises: HTTPException."""
    running = opened.registry.running(call.id)
    if running is not None:
        return running
    opened.metrics.rejected.labels("not_in_progress").inc()
    owner = await opened.live_calls.owner(call.id)
    elsewhere = owner is not None and owner != opened.registry.instance
    raise HTTPException(409, ELSEWHERE if elsewhere else NOT_TALKING)
