"""Adds a table of how many rows each process has written, so that none is written twice."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "written_rows",
        sa.Column("writer", sa.String(length=32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("writer", name=op.f("pk_written_rows")),
    )


def downgrade() -> None:
    """Back from this revision."""
    op.drop_table("written_rows")
