"""Checks the database: whether it can be used, and has the schema of this version."""

import os
import sqlite3

from sqlalchemy.exc import DBAPIError

from agent.record.database_url import shown_database, sqlite_file
from server.doctor.findings import Finding, fail, ok, reason, warn
from server.migrations import revisions
from server.settings.settings import Settings

NAME = "database"


async def check_database(settings: Settings) -> list[Finding]:
    """Look without changing anything: `voice-ai serve` makes and migrates it."""
    url = settings.database_url
    shown, path = shown_database(url), sqlite_file(url)
    if path is not None and not path.exists():
        if not path.parent.is_dir():
            return [
                fail(NAME, f"there is no folder {path.parent}", f"Make it: mkdir {path.parent}")
            ]
        if not os.access(path.parent, os.W_OK):
            return [
                fail(NAME, f"{path.parent} cannot be written", "Allow it, or set DATABASE_URL.")
            ]
        return [warn(NAME, f"{shown} is not there yet", "`voice-ai serve` makes it.")]
    try:
        current, head, known = await revisions(url)
    except Exception as error:  # each database, driver and Alembic has its own kinds
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        broken = isinstance(cause, sqlite3.DatabaseError) and "not a database" in str(cause)
        do = (
            "Move the file away: it is no database."
            if broken
            else "Start the database, or correct DATABASE_URL."
        )
        return [fail(NAME, f"{shown} cannot be used: {reason(cause)}", do)]
    if current == head:
        return [ok(NAME, f"{shown}, migrated to {head}")]
    if current is not None and current not in known:
        return [
            fail(
                NAME,
                f"{shown} is at revision {current}, which this version does not know",
                "Update voice-ai: a newer version has migrated it.",
            )
        ]
    return [
        warn(NAME, f"{shown} is at revision {current}, not {head}", "`voice-ai serve` migrates it.")
    ]
