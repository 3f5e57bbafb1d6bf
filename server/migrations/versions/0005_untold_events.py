"""Adds a table for events that wait for a call's workflow, and revisions of recorded events."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "untold_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("call_id", sa.String(length=32), nullable=False),
        sa.Column("told_id", sa.String(length=32), nullable=False),
        sa.Column("event", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["call_id"],
            ["calls.id"],
            name=op.f("fk_untold_events_call_id_calls"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_untold_events")),
    )
    op.add_column("call_events", sa.Column("revision", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_untold_events_call_id"), "untold_events", ["call_id"])


def downgrade() -> None:
    """Back from this revision."""
    op.drop_table("untold_events")
    with op.batch_alter_table("call_events") as batch:
        batch.drop_column("revision")
