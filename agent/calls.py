"""The words we use for a call, as tables. Only `call_log.py` reads and writes them with SQL."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import JSON, Column, DateTime, ForeignKey, Index, String
from sqlmodel import Field, SQLModel


def now_utc() -> datetime:
    """The current moment, aware, in UTC."""
    return datetime.now(UTC)


def new_call_id() -> str:
    """An id that is safe in URLs, and that nobody can guess."""
    return uuid4().hex


class CallStatus(StrEnum):
    """Where a call is, in Twilio's terms; the last five never change again."""

    INITIATED = "initiated"
    RINGING = "ringing"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether the call is over."""
        return self not in (CallStatus.INITIATED, CallStatus.RINGING, CallStatus.IN_PROGRESS)


class EndReason(StrEnum):
    """Who or what ended the call, in our terms."""

    CALLER = "caller"
    AGENT = "agent"
    API = "api"
    LIMIT = "limit"
    SILENCE = "silence"
    NO_MODEL = "no_model"
    SYSTEM = "system"


class Direction(StrEnum):
    """Who dialled."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Speaker(StrEnum):
    """Who spoke a turn. `caller` is the person on the phone, whoever dialled."""

    CALLER = "caller"
    AGENT = "agent"


def _moment(*, nullable: bool) -> Any:
    return Column(DateTime(timezone=True), nullable=nullable)


def _of_call(*, index: bool = True) -> Any:
    return Column(
        String(32), ForeignKey("calls.id", ondelete="CASCADE"), nullable=False, index=index
    )


class Call(SQLModel, table=True):
    """One phone call, from the request to dial (or the ring) to its one outcome."""

    __tablename__ = "calls"
    __table_args__ = (Index("ix_calls_created_at_id", "created_at", "id"),)

    id: str = Field(default_factory=new_call_id, primary_key=True, max_length=32)
    direction: Direction = Field(sa_column=Column(String(16), nullable=False))
    status: CallStatus = Field(sa_column=Column(String(16), nullable=False, index=True))
    end_reason: EndReason | None = Field(default=None, sa_column=Column(String(16), nullable=True))
    # The person's number in E.164, and the number of ours that dialled or was dialled.
    phone_number: str = Field(max_length=32, index=True)
    our_number: str = Field(max_length=32)
    pipeline: str = Field(max_length=64)
    # AgentProfile as JSON, as it was when the call began.
    profile: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    # `metadata` is a reserved name on SQLAlchemy's declarative classes.
    extra: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column("metadata", JSON, nullable=False)
    )
    twilio_sid: str | None = Field(default=None, max_length=64, index=True)
    idempotency_key: str | None = Field(default=None, max_length=255, unique=True)
    # A fingerprint of the request that brought the key: the same key with another body is refused.
    request_fingerprint: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(default_factory=now_utc, sa_column=_moment(nullable=False))
    answered_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    ended_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    # What went wrong, in a sentence for the person who placed the call; no secrets.
    error: str | None = Field(default=None, max_length=1000)
    # lifecycle.CallState as JSON; status and end_reason above are copies of it to query by.
    life: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class Turn(SQLModel, table=True):
    """What one side said at one go, as it was heard at the phone."""

    __tablename__ = "turns"
    __table_args__ = (Index("ix_turns_call_id_start_ms", "call_id", "start_ms", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_of_call(index=False))
    who: Speaker = Field(sa_column=Column(String(8), nullable=False))
    text: str
    # Milliseconds from answer to the turn's first and last sound.
    start_ms: int
    end_ms: int
    # The agent was stopped by the caller: `text` holds only what was heard.
    interrupted: bool = False


class CallEvent(SQLModel, table=True):
    """Something that happened in or to a call, in the order it became known."""

    __tablename__ = "call_events"

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_of_call())
    at: datetime = Field(default_factory=now_utc, sa_column=_moment(nullable=False))
    # A dotted constant: "twilio.status", "stream.started", "tool.called", "model.connected", ...
    kind: str = Field(max_length=64)
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class TokenUsage(SQLModel, table=True):
    """Tokens that the model counted for one turn, by direction and modality."""

    __tablename__ = "token_usage"

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_of_call())
    at: datetime = Field(default_factory=now_utc, sa_column=_moment(nullable=False))
    # "input" or "output", and Gemini's modality in lower case: "audio", "text", ...
    direction: str = Field(max_length=8)
    modality: str = Field(max_length=16)
    tokens: int
