"""Adds `placements`, which counts outbound calls even after their records were erased."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision."""
    op.create_table(
        "placements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_placements"),
    )
    op.create_index("ix_placements_at", "placements", ["at"], unique=False)
    op.execute(
        "INSERT INTO placements (at) SELECT created_at FROM calls WHERE direction = 'outbound'"
    )


def downgrade() -> None:
    """Back from this revision."""
    op.drop_table("placements")
