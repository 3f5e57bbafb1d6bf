"""Whether the server says truly that it lives and can work."""

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest

from agent.record import transactions
from server.about import own_version
from server.emulators.twilio import NoAnswer, TwilioEmulator
from server.routes import health
from tests.server.conftest import Running, ServerFactory


async def test_a_server_that_has_everything_is_ready(server: Running) -> None:
    says = {"status": "ok", "version": own_version()}
    for path, more in (("/health", {"default_pipeline": "phone_call"}), ("/health/live", {})):
        answer = await server.http.get(path)
        assert (answer.status_code, answer.json()) == (200, says | more)
    ready = await server.http.get("/health/ready")
    assert ready.status_code == 200
    assert set(ready.json()["checks"].values()) == {"ok"}


async def test_a_database_that_broke_is_named_and_the_server_still_lives(
    server: Running, tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "calls.db") as database:
        database.execute("ALTER TABLE calls RENAME TO gone")
    ready = await server.http.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"]["database"].startswith("cannot be reached")
    assert ready.json()["checks"]["live_calls"] == "ok"
    assert (await server.http.get("/health/live")).status_code == 200
    failed = await server.http.get("/calls")
    assert failed.status_code == 503
    assert failed.json() == {"detail": "The database cannot be used now; try again."}


async def test_a_database_that_another_process_has_locked_is_not_ready(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECS", 0.5)
    monkeypatch.setattr(transactions, "_PROBE_AFTER_SECS", 0.0)
    locker = sqlite3.connect(tmp_path / "calls.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    asked = [server.http.get("/health/ready") for _ in range(20)]
    for answer in await asyncio.gather(*asked):
        assert answer.status_code == 503
        assert answer.json()["checks"]["database"].startswith("cannot be written")
    # What reads only goes on.
    assert (await server.http.get("/calls")).status_code == 200
    locker.execute("ROLLBACK")
    locker.close()
    async with asyncio.timeout(20):
        while (await server.http.get("/health/ready")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_redis_that_cannot_be_reached_is_named(start_server: ServerFactory) -> None:
    async with start_server(redis_url="redis://127.0.0.1:9/0") as server:
        ready = await server.http.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json()["checks"]["live_calls"] != "ok"
    assert ready.json()["checks"]["database"] == "ok"


async def test_metrics_are_there_for_prometheus(server: Running) -> None:
    answer = await server.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "voice_ai_active_calls 0.0" in answer.text


async def test_a_scrape_tells_what_a_call_needs_and_how_many_calls_there_may_be(
    start_server: ServerFactory,
) -> None:
    async with start_server(redis_url="redis://127.0.0.1:9/0", max_concurrent_calls=7) as server:
        text = (await server.http.get("/metrics")).text
    assert 'voice_ai_ready{check="database"} 1.0' in text
    assert 'voice_ai_ready{check="live_calls"} 0.0' in text
    assert "voice_ai_call_capacity 7.0" in text
    assert "voice_ai_record_rows_waiting 0.0" in text
    assert re.search(r"^process_resident_memory_bytes [1-9]", text, re.MULTILINE)


async def test_a_refused_session_is_told_with_what_was_said_and_when(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    """The address of Gemini in tests is a port that nobody listens on."""
    twilio.anyone = NoAnswer()
    async with start_server() as server:
        assert "last_session" not in (await server.http.get("/health/ready")).json()
        await server.place()
        while "last_session" not in (ready := await server.http.get("/health/ready")).json():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    session = ready.json()["last_session"]
    said = ready.json()["checks"]["gemini"]
    assert session["outcome"] != "ok"
    assert said.startswith("the last session was refused at 20")
    assert session["said"] in said
    # Only the next call can show that Gemini is back.
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")
