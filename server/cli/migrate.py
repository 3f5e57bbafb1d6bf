"""`voice-ai migrate`: brings the database to the newest schema, and ends."""

import asyncio

import typer
from loguru import logger

from server.cli.environment import echo, settings_or_exit


def migrate() -> None:
    """Bring the database to the newest schema. A job to run before a deploy.

    `voice-ai serve` does the same at its start. Several at once are safe: one does the work.
    """
    settings = settings_or_exit()
    migrate_or_exit(settings.database_url)
    typer.echo("The database has the newest schema.")


def migrate_or_exit(database_url: str) -> None:
    """Migrate; a database that cannot be used ends the command with one sentence."""
    from agent.record.database_url import sqlite_file
    from server.migrations import upgrade

    try:
        asyncio.run(upgrade(database_url))
    # Each database, driver and Alembic has its own kinds of errors.
    except Exception as error:
        logger.opt(exception=error).debug("The database cannot be used")
        cause = getattr(error, "orig", None) or error
        says = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        if path := sqlite_file(database_url):
            says += f": {path}"
            if not path.parent.is_dir():
                says += " (there is no such folder)"
        echo(f"DATABASE_URL: the database cannot be used: {says}", err=True)
        raise typer.Exit(1) from None
