"""The migrations lead to the models, there and back, once or often, by one process or several."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import SQLModel

import server
import server.migrations
from agent.record.call_log import CallLog, DailyLimitReached
from agent.record.database import open_engine
from agent.record.models import Call, CallStatus, Direction
from server.migrations import downgrade, upgrade
from tests.server.process_template import ProcessTemplate

T = TypeVar("T")
ROOT = Path(server.__file__).parents[1]


def differences(connection: Connection) -> list[object]:
    settings = {"compare_type": True, "compare_server_default": True}
    context = MigrationContext.configure(connection, opts=settings)
    return compare_metadata(context, SQLModel.metadata)


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


async def look(empty_database: str, question: Callable[[Connection], T]) -> T:
    engine = open_engine(empty_database, pool_size=1)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(question)
    finally:
        await engine.dispose()


async def test_the_migrated_schema_is_the_models(empty_database: str):
    await upgrade(empty_database)
    assert await look(empty_database, tables) == set(SQLModel.metadata.tables)
    assert await look(empty_database, differences) == []


async def test_a_missing_table_would_be_noticed(empty_database: str):
    await upgrade(empty_database)
    await downgrade(empty_database, "base")
    assert len(await look(empty_database, differences)) >= len(SQLModel.metadata.tables)


async def test_there_and_back_and_there_again(empty_database: str):
    await upgrade(empty_database)
    await downgrade(empty_database, "base")
    assert await look(empty_database, tables) == set()
    await upgrade(empty_database)
    assert await look(empty_database, differences) == []


async def test_a_second_run_keeps_what_is_there(empty_database: str):
    await upgrade(empty_database)
    engine = open_engine(empty_database)
    call = Call(
        direction=Direction.OUTBOUND,
        status=CallStatus.INITIATED,
        phone_number="+15550100",
        our_number="+15550199",
        pipeline="phone_call",
    )
    try:
        await CallLog(engine).create(call)
        await upgrade(empty_database)
        assert (await CallLog(engine).get(call.id)).id == call.id
    finally:
        await engine.dispose()


async def test_calls_of_the_first_schema_count_as_placed(empty_database: str):
    await upgrade(empty_database, "0001")
    engine = open_engine(empty_database)
    at = datetime.now(UTC)
    row = {"id": "a1", "our_number": "", "pipeline": "", "phone_number": "+15550100"}
    row |= {"profile": {}, "metadata": {}, "life": {}, "created_at": at, "status": "completed"}
    try:
        async with engine.begin() as connection:
            calls = Call.metadata.tables["calls"]
            await connection.execute(calls.insert().values(row | {"direction": "outbound"}))
            inbound = row | {"id": "a2", "direction": "inbound"}
            await connection.execute(calls.insert().values(inbound))
        await upgrade(empty_database)
        new = Call.model_validate(row | {"id": "a3", "direction": "outbound"})
        with pytest.raises(DailyLimitReached):
            await CallLog(engine, daily_limit=1).create(new)
        assert await CallLog(engine, daily_limit=2).create(new) is new
    finally:
        await engine.dispose()


# As revisions before 0005 have it.
EVENT = (
    "INSERT INTO call_events (call_id, at, kind, detail)"
    " VALUES (:call_id, CURRENT_TIMESTAMP, :kind, '{}')"
)


async def execute(engine: AsyncEngine, statement: str, values: dict[str, str]) -> object:
    """Run one statement of SQL; the first value that it gives."""
    async with engine.begin() as connection:
        found = await connection.execute(text(statement), values)
        return found.scalar() if found.returns_rows else None


async def test_wider_addresses_keep_the_calls_and_what_belongs_to_them(empty_database: str):
    await upgrade(empty_database, "0003")
    engine = open_engine(empty_database)
    call = Call(
        direction=Direction.INBOUND,
        status=CallStatus.RINGING,
        phone_number="+15550100",
        our_number="+15550199",
        pipeline="phone_call",
    )
    event = {"call_id": call.id, "kind": "twilio.status"}
    whole = "sip:" + "a" * 508
    try:
        await CallLog(engine).create(call)
        await execute(engine, EVENT, event)
        await engine.dispose()
        await upgrade(empty_database)
        log = CallLog(engine)
        assert (await log.get(call.id)).phone_number == "+15550100"
        assert [event.kind for event in await log.events(call.id)] == ["twilio.status"]
        longer = Call(**call.model_dump() | {"id": "a2", "phone_number": whole})
        await log.create(longer)
        (found,) = (await log.list(phone_number=whole)).calls
        assert found.phone_number == whole
        await engine.dispose()
        await downgrade(empty_database, "0003")
        assert (await log.get("a2")).phone_number == whole[:32]
        assert await execute(engine, "SELECT count(*) FROM call_events", {}) == 1
    finally:
        await engine.dispose()


async def test_processes_that_start_at_once_do_not_disturb_each_other(
    empty_database: str, process_template: ProcessTemplate, tmp_path: Path
):
    code = (
        "import asyncio, sys; from server.migrations import upgrade;"
        "asyncio.run(upgrade(sys.argv[1]))"
    )
    ended = await asyncio.gather(
        *(
            process_template.run(
                empty_database, folder=tmp_path, environment=os.environ, program=code
            )
            for _ in range(3)
        )
    )
    assert [process.returncode for process in ended] == [0, 0, 0]
    assert await look(empty_database, differences) == []


async def test_a_new_revision_is_written_from_what_the_models_have_more(tmp_path: Path):
    for part in ("agent", "server/__init__.py", "server/migrations"):
        source, copy = ROOT / part, tmp_path / part
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    models = tmp_path / "agent/record/models.py"
    more = "    note: str | None = Field(default=None, max_length=12)\n    our_number:"
    models.write_text(models.read_text().replace("    our_number:", more, 1))
    command = [
        sys.executable,
        "-m",
        "server.migrations",
        "sqlite+aiosqlite:///new.db",
        "add a note",
    ]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path)
    assert await process.wait() == 0
    (written,) = (tmp_path / "server/migrations/versions").glob("*_add_a_note.py")
    text = written.read_text()
    assert "sa.Column('note', sa.String(length=12), nullable=True)" in text
    assert "drop_column('note')" in text
    # It takes the database to where there is nothing more to write.
    process = await asyncio.create_subprocess_exec(*command[:-1], "nothing more", cwd=tmp_path)
    assert await process.wait() == 0
    (written,) = (tmp_path / "server/migrations/versions").glob("*_nothing_more.py")
    assert "op.add_column" not in written.read_text()
    assert "batch_op" not in written.read_text()


def test_the_newest_revision_is_the_last_of_the_files():
    scripts = ScriptDirectory(str(Path(server.migrations.__file__).parent))
    assert scripts.get_heads() == [server.migrations.NEWEST]
