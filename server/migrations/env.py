"""Alembic's environment script; the connection is opened by `server.migrations`."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Enum
from sqlmodel import AutoString, SQLModel

from agent.record.models import UtcDateTime
from agent.record.text_column import StorableText


def plain_type(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    """Render our column types as SQLAlchemy's, so that revisions import nothing of ours."""
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(item, Enum):
        return f"sa.String(length={item.length})"
    if isinstance(item, AutoString | StorableText):
        return f"sa.String(length={item.length})" if item.length else "sa.String()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    # SQLite changes a column by copying its table, and does so within a transaction.
    render_as_batch=True,
    transactional_ddl=True,
    render_item=plain_type,
)
with context.begin_transaction():
    context.run_migrations()
