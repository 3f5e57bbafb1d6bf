"""Route that moves a call to another instance while it goes on."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from agent.record.models import Call
from server.calls.schemas import Moving
from server.relay.call_moves import NONE_READY, NoOtherInstance
from server.relay.relay import MOVE
from server.resources import Opened, Resources
from server.routes.auth import authenticate
from server.routes.calls import ANSWERS, NOT_FOUND, known_call
from server.routes.change_call import CONFLICT, NOT_TALKING, passed_on
from server.routes.errors import problem
from server.settings.profile_fields import Text

ALONE = "There are no other instances: REDIS_URL is not set."

router = APIRouter(
    prefix="/calls", tags=["calls"], dependencies=[Depends(authenticate)], responses=ANSWERS
)


class Move(BaseModel):
    """Where a call is to go."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"examples": [{"instance": "http://10.0.3.7:8000"}]},
    )

    instance: Text | None = Field(
        default=None,
        min_length=1,
        max_length=300,
        description="As `voice-ai instances` names it; by default, any other one.",
    )


@router.post(
    "/{call_id}/move",
    summary="Move a call to another instance",
    status_code=202,
    responses={
        **NOT_FOUND,
        **CONFLICT,
        409: problem(
            "The call is not in progress, its instance is not reached, or no other one is ready.",
            NONE_READY,
        ),
    },
)
async def move(
    call: Annotated[Call, Depends(known_call)], opened: Opened, body: Move | None = None
) -> Moving:
    """Have another instance go on with a call, from a moment in which neither side speaks.

    It moves after 10 s anyhow. The conversation is remembered; a call that ends before does not
    move.
    """
    asked = body or Move()
    if opened.registry.running(call.id) is None:
        answer = await passed_on(call, MOVE, asked, opened)
        if answer is not None:
            return Moving.model_validate(answer.json())
    return await move_here(call.id, asked, opened)


async def move_here(call_id: str, body: Move, opened: Resources) -> Moving:
    """Move a call that this instance carries. Raises: HTTPException."""
    if opened.registry.running(call_id) is None:
        opened.metrics.rejected.labels("not_in_progress").inc()
        raise HTTPException(409, NOT_TALKING)
    if opened.moves is None:
        raise HTTPException(409, ALONE)
    try:
        await opened.moves.move(call_id, body.instance)
    except NoOtherInstance as error:
        opened.metrics.rejected.labels("no_other_instance").inc()
        raise HTTPException(409, str(error)) from None
    return Moving(instance=body.instance)
