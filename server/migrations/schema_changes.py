"""Runs Alembic on one open connection; only a schema that is not the newest needs it imported."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def config(connection: Connection) -> Config:
    """Alembic's settings for an open connection."""
    settings = Config()
    # Alembic reads a percent sign as the start of a variable.
    settings.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


def upgrade(connection: Connection, revision: str) -> None:
    """Bring the schema to `revision`."""
    command.upgrade(config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the schema back to `revision`."""
    command.downgrade(config(connection), revision)
