"""Pydantic schemas of the calls API's requests and responses, as `/docs` shows them."""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from agent.latency import Latency
from agent.lifecycle.statuses import Driver
from agent.record.models import (
    Call,
    CallEvent,
    CallStatus,
    Direction,
    EndReason,
    Speaker,
    TokenUsage,
    Turn,
)
from server.calls.latency_view import LATENCY_EXAMPLE, LatencyView
from server.settings.profile_fields import PhoneNumber, ProfileFields

METADATA_LIMIT_BYTES = 16_384
# Far below what JSON, Pydantic and the databases can nest.
METADATA_LIMIT_LEVELS = 32


def _check_levels(value: Any, left: int = METADATA_LIMIT_LEVELS) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise ValueError(f"must not be nested deeper than {METADATA_LIMIT_LEVELS} levels")
    for inner in value.values() if isinstance(value, dict) else value:
        _check_levels(inner, left - 1)


def _storable_json(value: dict[str, Any]) -> dict[str, Any]:
    _check_levels(value)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except ValueError:
        raise ValueError("must be plain JSON: no NaN, no broken Unicode") from None
    if "\\u0000" in text:
        raise ValueError("must not contain NUL characters")
    if size > METADATA_LIMIT_BYTES:
        raise ValueError(f"must not be larger than {METADATA_LIMIT_BYTES} bytes as JSON")
    return value


def _written_as_iso_8601(value: Any) -> Any:
    # Pydantic would take a bare number for seconds since the epoch.
    if isinstance(value, str) and not re.match(r"\d{4}-", value):
        raise ValueError("must be written as in 2026-01-05T10:00:00Z")
    return value


def _in_utc(time: datetime) -> datetime:
    # Without a zone, it is UTC's.
    try:
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a moment from year 1 to 9999") from None


UtcDateTime = Annotated[datetime, BeforeValidator(_written_as_iso_8601), AfterValidator(_in_utc)]
Metadata = Annotated[dict[str, Any], AfterValidator(_storable_json)]


class CallRequest(ProfileFields):
    """A call to place."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "phone_number": "+15550100123",
                    "greeting": "Hello, this is Ada. Do you have a minute?",
                    "max_duration_seconds": 600,
                    "vad_config": {"end_sensitivity": "HIGH", "silence_duration_ms": 500},
                    "metadata": {"customer": "4711"},
                }
            ]
        },
    )

    phone_number: PhoneNumber = Field(description="Whom to call, in E.164.")
    pipeline: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="One of `voice-ai pipelines`; DEFAULT_PIPELINE without it.",
    )
    metadata: Metadata = Field(
        default_factory=dict, description="Kept with the call; tools can read it."
    )


CALL_EXAMPLE = {
    "id": "0d9c5a4e8f3b4c6f9a1e2d3c4b5a6978",
    "status": "completed",
    "end_reason": "agent",
    "direction": "outbound",
    "phone_number": "+15550100123",
    "our_number": "+15550100999",
    "pipeline": "phone_call",
    "language": "en-US",
    "metadata": {"customer": "4711"},
    "twilio_sid": "CA00000000000000000000000000000000",
    "created_at": "2026-01-05T10:00:00Z",
    "answered_at": "2026-01-05T10:00:06Z",
    "ended_at": "2026-01-05T10:01:12Z",
    "duration_seconds": 66.0,
    "error": None,
    "driver": "temporal",
}
PLACED_EXAMPLE = CALL_EXAMPLE | {
    "status": "initiated",
    "end_reason": None,
    "answered_at": None,
    "ended_at": None,
    "duration_seconds": None,
}
TALKING_EXAMPLE = PLACED_EXAMPLE | {
    "status": "in_progress",
    "answered_at": CALL_EXAMPLE["answered_at"],
}
TURNS_EXAMPLE = [
    {
        "who": "agent",
        "text": "Hello! How can",
        "start_ms": 60,
        "end_ms": 940,
        "interrupted": True,
    },
    {
        "who": "caller",
        "text": "Are you open today?",
        "start_ms": 900,
        "end_ms": 2140,
        "interrupted": False,
    },
]


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class CallView(BaseModel):
    """A call as it is now."""

    model_config = _example(**CALL_EXAMPLE)

    id: str
    status: CallStatus
    end_reason: EndReason | None = Field(description="Who or what ended the call.")
    direction: Direction
    phone_number: str = Field(
        description="The person's number in E.164, or an address such as `sip:…` and `client:…`."
    )
    our_number: str = Field(description="Ours, the same way.")
    pipeline: str
    language: str | None
    metadata: dict[str, Any]
    twilio_sid: str | None
    created_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None = Field(description="From answer to end.")
    error: str | None = Field(description="What went wrong, in a sentence.")
    driver: Driver = Field(description="What runs the call's life: this server, or a workflow.")

    @classmethod
    def of(cls, call: Call) -> Self:
        """The public side of a record."""
        lasted = (
            (call.ended_at - call.answered_at).total_seconds()
            if call.answered_at and call.ended_at
            else None
        )
        return cls(
            id=call.id,
            status=CallStatus(call.status),
            end_reason=EndReason(call.end_reason) if call.end_reason else None,
            direction=Direction(call.direction),
            phone_number=call.phone_number,
            our_number=call.our_number,
            pipeline=call.pipeline,
            language=call.profile.get("language"),
            metadata=call.extra,
            twilio_sid=call.twilio_sid,
            created_at=call.created_at,
            answered_at=call.answered_at,
            ended_at=call.ended_at,
            duration_seconds=max(0.0, lasted) if lasted is not None else None,
            error=call.error,
            driver=Driver(call.life.get("driver", Driver.LOCAL)),
        )


USAGE_EXAMPLE = [{"direction": "input", "modality": "audio", "tokens": 1650}]


class Tokens(BaseModel):
    """Tokens of the whole call, by direction and modality."""

    direction: str = Field(description="input or output.")
    modality: str = Field(description="Gemini's, in lower case: audio, text, ...")
    tokens: int


class CallDetail(CallView):
    """A call as it is now, how fast it was and what it used so far, and whether it is recorded."""

    model_config = _example(
        **CALL_EXAMPLE,
        latency=LATENCY_EXAMPLE,
        usage=USAGE_EXAMPLE,
        recording=True,
        workflow_url="http://127.0.0.1:8080/namespaces/default/workflows/"
        "0d9c5a4e8f3b4c6f9a1e2d3c4b5a6978",
    )

    latency: LatencyView
    usage: list[Tokens]
    recording: bool = Field(description="Whether there is sound of it: `/calls/{id}/recording`.")
    workflow_url: str | None = Field(description="The call's workflow in Temporal's web page.")

    @classmethod
    def with_measures(
        cls,
        call: Call,
        latency: Latency,
        usage: list[TokenUsage],
        *,
        recording: bool,
        workflow_url: str | None,
    ) -> Self:
        """The public side of a record."""
        view = CallView.of(call)
        return cls(
            **view.model_dump(),
            latency=LatencyView.of(latency),
            usage=_sums(usage),
            recording=recording,
            workflow_url=workflow_url if view.driver is Driver.TEMPORAL else None,
        )


def _sums(usage: list[TokenUsage]) -> list[Tokens]:
    sums: dict[tuple[str, str], int] = {}
    for row in usage:
        key = (row.direction, row.modality)
        sums[key] = sums.get(key, 0) + row.tokens
    return [Tokens(direction=d, modality=m, tokens=n) for (d, m), n in sums.items()]


class CallPage(BaseModel):
    """Calls, newest first."""

    model_config = _example(calls=[CALL_EXAMPLE], next_cursor=None)

    calls: list[CallView]
    next_cursor: str | None = Field(description="Give it as `cursor` to read on; null: the end.")


class TurnView(BaseModel):
    """A turn: what one side said, as it was heard."""

    who: Speaker
    text: str
    start_ms: int = Field(description="From answer.")
    end_ms: int
    interrupted: bool = Field(description="The caller spoke over it; `text` is what was heard.")

    @classmethod
    def of(cls, turn: Turn) -> Self:
        """The public side of a record."""
        return cls(
            who=Speaker(turn.who),
            text=turn.text,
            start_ms=turn.start_ms,
            end_ms=turn.end_ms,
            interrupted=turn.interrupted,
        )


class Transcript(BaseModel):
    """The call's turns, in the order spoken."""

    model_config = _example(call_id=CALL_EXAMPLE["id"], turns=TURNS_EXAMPLE)

    call_id: str
    turns: list[TurnView]


class EventView(BaseModel):
    """Something that happened in or to a call."""

    id: int
    at: datetime
    kind: str = Field(examples=["twilio.status", "stream.started", "tool.called"])
    detail: dict[str, Any]

    @classmethod
    def of(cls, event: CallEvent) -> Self:
        """The public side of a record."""
        assert event.id is not None, "a stored event has an id"
        return cls(id=event.id, at=event.at, kind=event.kind, detail=event.detail)


class EventPage(BaseModel):
    """Events in the order in which they became known."""

    model_config = _example(
        call_id=CALL_EXAMPLE["id"],
        events=[
            {
                "id": 7,
                "at": "2026-01-05T10:00:06Z",
                "kind": "twilio.status",
                "detail": {"status": "in-progress"},
            }
        ],
        next_cursor=None,
    )

    call_id: str
    events: list[EventView]
    next_cursor: int | None = Field(description="Give it as `after` to read on; null: the end.")


class CallResult(CallDetail):
    """How a call ended, how fast it was, and all that was said."""

    model_config = _example(
        **CALL_EXAMPLE,
        latency=LATENCY_EXAMPLE,
        recording=True,
        workflow_url=None,
        turns=TURNS_EXAMPLE,
        usage=USAGE_EXAMPLE,
    )

    turns: list[TurnView]

    @classmethod
    def with_talk(
        cls,
        call: Call,
        latency: Latency,
        turns: list[Turn],
        usage: list[TokenUsage],
        *,
        recording: bool,
        workflow_url: str | None,
    ) -> Self:
        """The public side of the records of an ended call."""
        detail = CallDetail.with_measures(
            call, latency, usage, recording=recording, workflow_url=workflow_url
        )
        return cls(
            **detail.model_dump(),
            turns=[TurnView.of(turn) for turn in turns],
        )


class Moving(BaseModel):
    """Where a call goes."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"instance": "http://10.0.3.7:8000"}]}
    )

    instance: str | None = Field(
        description="The one that was named; null: the one that the call's next stream reaches."
    )
