"""Widens the columns of a call's two addresses: a SIP address is longer than a number."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = ("phone_number", "our_number")


def upgrade() -> None:
    """To this revision."""
    _change(from_length=32, to_length=512)


def downgrade() -> None:
    """Back from this revision; longer addresses are cut."""
    for column in COLUMNS:
        field: sa.ColumnClause[str] = sa.column(column, sa.String)
        op.execute(sa.table("calls", field).update().values({column: sa.func.substr(field, 1, 32)}))
    _change(from_length=512, to_length=32)


def _change(*, from_length: int, to_length: int) -> None:
    with op.batch_alter_table("calls") as batch:
        for column in COLUMNS:
            batch.alter_column(
                column,
                existing_type=sa.String(length=from_length),
                type_=sa.String(length=to_length),
                existing_nullable=False,
            )
