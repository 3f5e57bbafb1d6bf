"""The record of a call, as tables; its words are in `words.py`. SQL is in `call_log.py` alone."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    String,
    TypeDecorator,
    text,
)
from sqlmodel import Field, SQLModel

from agent.clock import moment
from agent.lifecycle.state import CallState
from agent.lifecycle.statuses import CallStatus as CallStatus
from agent.lifecycle.statuses import Direction as Direction
from agent.lifecycle.statuses import EndReason as EndReason
from agent.lifecycle.statuses import Speaker as Speaker
from agent.record.text_column import StorableText

# Every constraint has the same name on every database, so that a migration can name it.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def now_utc() -> datetime:
    """The current moment, aware, in UTC."""
    return datetime.now(UTC)


def new_call_id() -> str:
    """An id that is safe in URLs, and that nobody can guess."""
    return uuid4().hex


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, aware on every database; SQLite by itself forgets the time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Into the database: always UTC, so that moments compare as they are stored."""
        return value.astimezone(UTC) if value else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Out of the database: aware."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


def _moment(*, nullable: bool, index: bool = False) -> Any:
    return Column(UtcDateTime(), nullable=nullable, index=index)


def _word(words: type[StrEnum], length: int) -> Enum:
    # The word itself as text, without a CHECK: a new word needs no migration.
    return Enum(
        words,
        native_enum=False,
        length=length,
        create_constraint=False,
        values_callable=lambda chosen: [word.value for word in chosen],
    )


def _of_call(*, index: bool = True) -> Any:
    return Column(
        String(32), ForeignKey("calls.id", ondelete="CASCADE"), nullable=False, index=index
    )


class Call(SQLModel, table=True):
    """One phone call, from the request to dial (or the ring) to its one outcome."""

    __tablename__ = "calls"
    __table_args__ = (Index("ix_calls_created_at_id", "created_at", "id"),)

    id: str = Field(default_factory=new_call_id, primary_key=True, max_length=32)
    direction: Direction = Field(sa_column=Column(_word(Direction, 16), nullable=False))
    status: CallStatus = Field(sa_column=Column(_word(CallStatus, 16), nullable=False, index=True))
    end_reason: EndReason | None = Field(
        default=None, sa_column=Column(_word(EndReason, 16), nullable=True)
    )
    # The person's number in E.164, and the number of ours that dialled or was dialled.
    phone_number: str = Field(sa_type=StorableText(32), index=True)
    our_number: str = Field(sa_type=StorableText(32))
    pipeline: str = Field(sa_type=StorableText(64))
    # AgentProfile as JSON, as it was when the call began.
    profile: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    # `metadata` is a reserved name on SQLAlchemy's declarative classes.
    extra: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column("metadata", JSON, nullable=False)
    )
    twilio_sid: str | None = Field(default=None, sa_type=StorableText(64), index=True)
    idempotency_key: str | None = Field(default=None, sa_type=StorableText(255), unique=True)
    # A fingerprint of the request that brought the key: the same key with another body is refused.
    request_fingerprint: str | None = Field(default=None, sa_type=StorableText(64))
    created_at: datetime = Field(default_factory=now_utc, sa_column=_moment(nullable=False))
    answered_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    ended_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    # What went wrong, in a sentence for the person who placed the call; no secrets.
    error: str | None = Field(default=None, sa_type=StorableText(1000))
    # life_state.CallState as JSON; status and end_reason above are copies of it to query by.
    life: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    # How often the life was kept: who knew it as it was before has to read it anew.
    revision: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )

    def set_life(self, state: CallState) -> None:
        """Take over the state of the call's life, and what of it has a column to query by."""
        self.life = state.to_json()
        self.status = state.status
        self.end_reason = state.end_reason
        self.twilio_sid = state.twilio_sid
        self.answered_at = None if state.answered_at is None else moment(state.answered_at)
        self.ended_at = None if state.ended_at is None else moment(state.ended_at)
        self.error = state.error or None


class Placement(SQLModel, table=True):
    """That an outbound call was placed. It names nobody, and outlives the call's record."""

    __tablename__ = "placements"

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=_moment(nullable=False, index=True))


class Turn(SQLModel, table=True):
    """What one side said at one go, as it was heard at the phone."""

    __tablename__ = "turns"
    __table_args__ = (Index("ix_turns_call_id_start_ms", "call_id", "start_ms", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_of_call(index=False))
    who: Speaker = Field(sa_column=Column(_word(Speaker, 8), nullable=False))
    text: str = Field(sa_type=StorableText)
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
    kind: str = Field(sa_type=StorableText(64))
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class TokenUsage(SQLModel, table=True):
    """Tokens that the model counted for one turn, by direction and modality."""

    __tablename__ = "token_usage"

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_of_call())
    at: datetime = Field(default_factory=now_utc, sa_column=_moment(nullable=False))
    # "input" or "output", and Gemini's modality in lower case: "audio", "text", ...
    direction: str = Field(sa_type=StorableText(8))
    modality: str = Field(sa_type=StorableText(16))
    tokens: int
