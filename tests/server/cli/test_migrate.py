"""`voice-ai migrate`: a job that brings a database to the newest schema, or says why it cannot."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Command = Callable[..., Result]


def test_a_new_database_gets_every_table_and_a_second_run_changes_nothing(
    voice_ai: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path / 'calls.db'}")
    for _ in range(2):
        result = voice_ai("migrate")
        assert result.exit_code == 0, result.output
        assert "newest schema" in result.output
    with sqlite3.connect(tmp_path / "calls.db") as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    assert {"calls", "turns", "call_events", "alembic_version"} <= tables


def test_a_database_that_is_away_ends_the_job_with_a_sentence(
    voice_ai: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://nobody@127.0.0.1:9/calls")
    result = voice_ai("migrate")
    assert result.exit_code == 1
    assert "DATABASE_URL: the database cannot be used" in result.output
