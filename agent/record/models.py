"""Tables of the record: calls, placements, turns, events, tokens. SQL is in `call_log.py`."""

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

from agent.clock import utc_datetime
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


# PostgreSQL cannot index more than 2,700 bytes; a character has up to 4.
ADDRESS_LENGTH = 512


def now_utc() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def new_call_id() -> str:
    """A random id, safe in URLs."""
    return uuid4().hex


class UtcDateTime(TypeDecorator[datetime]):
    """A datetime in UTC, aware on every database; SQLite alone would drop the time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC, so that stored values compare as text."""
        return value.astimezone(UTC) if value else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Add the time zone that SQLite drops."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


def _utc_column(*, nullable: bool, index: bool = False) -> Any:
    return Column(UtcDateTime(), nullable=nullable, index=index)


def _enum_column(values: type[StrEnum], length: int) -> Enum:
    # Stored as text without a CHECK, so that a new value needs no migration.
    return Enum(
        values,
        native_enum=False,
        length=length,
        create_constraint=False,
        values_callable=lambda members: [member.value for member in members],
    )


def _call_id_column(*, index: bool = True) -> Any:
    return Column(
        String(32), ForeignKey("calls.id", ondelete="CASCADE"), nullable=False, index=index
    )


class Call(SQLModel, table=True):
    """One phone call: its parties, pipeline, profile, status and lifecycle state."""

    __tablename__ = "calls"
    __table_args__ = (Index("ix_calls_created_at_id", "created_at", "id"),)

    id: str = Field(default_factory=new_call_id, primary_key=True, max_length=32)
    direction: Direction = Field(sa_column=Column(_enum_column(Direction, 16), nullable=False))
    status: CallStatus = Field(
        sa_column=Column(_enum_column(CallStatus, 16), nullable=False, index=True)
    )
    end_reason: EndReason | None = Field(
        default=None, sa_column=Column(_enum_column(EndReason, 16), nullable=True)
    )
    # The person's address and ours: numbers in E.164, or addresses such as sip:… and client:….
    phone_number: str = Field(sa_type=StorableText(ADDRESS_LENGTH), index=True)
    our_number: str = Field(sa_type=StorableText(ADDRESS_LENGTH))
    pipeline: str = Field(sa_type=StorableText(64))
    # AgentProfile as JSON, as it was when the call began.
    profile: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    # `metadata` is a reserved name on SQLAlchemy's declarative classes.
    extra: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column("metadata", JSON, nullable=False)
    )
    twilio_sid: str | None = Field(default=None, sa_type=StorableText(64), index=True)
    idempotency_key: str | None = Field(default=None, sa_type=StorableText(255), unique=True)
    # Fingerprint of the request with that key: the same key with another body is refused.
    request_fingerprint: str | None = Field(default=None, sa_type=StorableText(64))
    created_at: datetime = Field(default_factory=now_utc, sa_column=_utc_column(nullable=False))
    answered_at: datetime | None = Field(default=None, sa_column=_utc_column(nullable=True))
    ended_at: datetime | None = Field(default=None, sa_column=_utc_column(nullable=True))
    # What went wrong, in a sentence for the person who placed the call; no secrets.
    error: str | None = Field(default=None, sa_type=StorableText(1000))
    # CallState as JSON; columns such as status and end_reason are copies to query by.
    life: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    # Counts changes of `life`, to detect concurrent ones.
    revision: int = Field(
        default=0, sa_column=Column(Integer, nullable=False, server_default=text("0"))
    )

    def set_life(self, state: CallState) -> None:
        """Map the lifecycle state to the columns of `calls`."""
        self.life = state.to_json()
        self.status = state.status
        self.end_reason = state.end_reason
        self.twilio_sid = state.twilio_sid
        self.answered_at = None if state.answered_at is None else utc_datetime(state.answered_at)
        self.ended_at = None if state.ended_at is None else utc_datetime(state.ended_at)
        self.error = state.error or None


class Placement(SQLModel, table=True):
    """An outbound call counted for the daily limit. It names nobody, and outlives the record."""

    __tablename__ = "placements"

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=_utc_column(nullable=False, index=True))


class Turn(SQLModel, table=True):
    """A turn: what one side said, as it was heard at the phone."""

    __tablename__ = "turns"
    __table_args__ = (Index("ix_turns_call_id_start_ms", "call_id", "start_ms", "id"),)

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_call_id_column(index=False))
    who: Speaker = Field(sa_column=Column(_enum_column(Speaker, 8), nullable=False))
    text: str = Field(sa_type=StorableText)
    # Milliseconds from answer to the turn's first and last sound.
    start_ms: int
    end_ms: int
    # The caller interrupted the agent: `text` holds only what was heard.
    interrupted: bool = False


class CallEvent(SQLModel, table=True):
    """An event of a call, in the order in which it became known."""

    __tablename__ = "call_events"

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_call_id_column())
    at: datetime = Field(default_factory=now_utc, sa_column=_utc_column(nullable=False))
    # A dotted constant: "twilio.status", "stream.started", "tool.called", "model.connected", ...
    kind: str = Field(sa_type=StorableText(64))
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))
    # The revision of the call that a workflow made with it.
    revision: int | None = Field(default=None, sa_column=Column(Integer, nullable=True))


class UntoldEvent(SQLModel, table=True):
    """A lifecycle event that waits until the call's workflow can be told of it."""

    __tablename__ = "untold_events"

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_call_id_column())
    # `agent.lifecycle.told.Told`.
    told_id: str = Field(sa_type=StorableText(32))
    event: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class TokenUsage(SQLModel, table=True):
    """Tokens that the model counted for one turn, by direction and modality."""

    __tablename__ = "token_usage"

    id: int | None = Field(default=None, primary_key=True)
    call_id: str = Field(sa_column=_call_id_column())
    at: datetime = Field(default_factory=now_utc, sa_column=_utc_column(nullable=False))
    # "input" or "output", and Gemini's modality in lower case: "audio", "text", ...
    direction: str = Field(sa_type=StorableText(8))
    modality: str = Field(sa_type=StorableText(16))
    tokens: int


class WrittenRows(SQLModel, table=True):
    """How many rows a process has written: what it has left on disk is not written again."""

    __tablename__ = "written_rows"

    writer: str = Field(primary_key=True, max_length=32)
    count: int
    at: datetime = Field(default_factory=now_utc, sa_column=_utc_column(nullable=False))
