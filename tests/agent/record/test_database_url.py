"""URLs of databases as hosts give them, and what a pooler needs."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from agent.record.database import open_engine
from agent.record.database_url import parse_database_url

HOSTED = "me:secret@db.example.com/calls"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
@pytest.mark.parametrize(
    ("query", "arguments"),
    [
        ("", {}),
        ("?sslmode=require", {"ssl": "require"}),
        ("?ssl=verify-full", {"ssl": "verify-full"}),
        ("?sslmode=require&channel_binding=require", {"ssl": "require"}),
        ("?application_name=calls", {"server_settings": {"application_name": "calls"}}),
        ("?connect_timeout=15", {"timeout": 15.0}),
    ],
)
def test_what_libpq_reads_is_said_as_asyncpg_takes_it(
    scheme: str, query: str, arguments: dict[str, Any]
) -> None:
    url, found = parse_database_url(f"{scheme}://{HOSTED}{query}")
    assert url.render_as_string(hide_password=False) == f"postgresql+asyncpg://{HOSTED}"
    assert found == arguments


@pytest.mark.parametrize(
    "address",
    [
        "db-pooler.example.com/calls",
        "db.example.com:6543/calls",
        "db.example.com/calls?pgbouncer=true",
    ],
)
def test_a_pooler_gets_no_statement_twice(address: str) -> None:
    _, found = parse_database_url(f"postgresql://me:secret@{address}")
    assert (found["statement_cache_size"], found["prepared_statement_cache_size"]) == (0, 0)
    name = found["prepared_statement_name_func"]
    assert name() != name()


@pytest.mark.parametrize(
    "query", ["sslmode=yes", "sslrootcert=/nowhere.pem", "connect_timeout=soon", "colour=red"]
)
def test_what_cannot_be_meant_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"must be|is not known") as refusal:
        parse_database_url(f"postgresql://{HOSTED}?{query}")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("database_server", ["postgresql"], indirect=True)
@pytest.mark.parametrize("form", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_a_hosted_url_opens_a_database(empty_database: str, form: str) -> None:
    url = empty_database.replace("postgresql+asyncpg", form)
    mark = "&" if "?" in url else "?"
    hosted = f"{url}{mark}sslmode=prefer&channel_binding=prefer&pgbouncer=true"
    engine = open_engine(hosted, pool_size=2)

    async def ask(number: int) -> int:
        async with engine.connect() as connection:
            found = await connection.execute(text("SELECT CAST(:n AS integer)"), {"n": number})
            return int(found.scalar_one())

    try:
        assert await asyncio.gather(*(ask(n) for n in range(6))) == [*range(6)]
    finally:
        await engine.dispose()
