"""The same server on SQLite and on PostgreSQL, from an empty database on."""

import asyncio

import pytest
from sqlalchemy import make_url

from agent.record import transactions
from server.emulators.twilio import Busy, NoAnswer, TwilioEmulator
from tests.postgres import OTHERS_LEAVE, Postgres
from tests.server.conftest import THEIRS, ServerFactory

READY = "/health/ready"


async def test_a_call_is_placed_read_back_and_erased(
    start_server: ServerFactory, twilio: TwilioEmulator, empty_database: str
) -> None:
    twilio.people[THEIRS] = Busy()
    async with start_server(database_url=empty_database) as server:
        assert (await server.http.get("/health/ready")).json()["checks"]["database"] == "ok"
        call = await server.place(metadata={"order": 7, "who": "Zoë"})
        path = f"/calls/{call['id']}"
        result = (await server.http.get(f"{path}/result", params={"wait": 20})).json()
        assert (result["status"], result["metadata"]) == ("busy", {"order": 7, "who": "Zoë"})
        assert result["created_at"].endswith("Z")
        listed = (await server.http.get("/calls", params={"status": "busy"})).json()["calls"]
        assert [found["id"] for found in listed] == [call["id"]]
        kinds = [e["kind"] for e in (await server.http.get(f"{path}/events")).json()["events"]]
        assert kinds[0] == "life.placed"
        assert (await server.http.delete(path)).status_code == 204
        assert (await server.http.get(path)).status_code == 404
        assert (await server.http.get("/calls")).json()["calls"] == []


async def test_servers_that_share_a_database_share_its_keys_and_its_limit(
    start_server: ServerFactory, twilio: TwilioEmulator, empty_database: str
) -> None:
    twilio.anyone = NoAnswer()
    shared = {"database_url": empty_database, "daily_call_limit": 3}
    async with start_server(**shared) as one, start_server(**shared) as other:
        body, headers = {"phone_number": THEIRS}, {"Idempotency-Key": "once"}
        same = await asyncio.gather(
            *(s.http.post("/calls", json=body, headers=headers) for s in (one, other, one, other))
        )
        assert {answer.status_code for answer in same} == {201}
        assert len({answer.json()["id"] for answer in same}) == 1
        more = await asyncio.gather(
            *(s.http.post("/calls", json=body) for s in (one, other, one, other, one))
        )
        assert sorted(answer.status_code for answer in more) == [201, 201, 429, 429, 429]
        assert len(twilio.calls) == 3
        # Whoever was refused holds no place.
        held = [await s.metric("voice_ai_active_calls") for s in (one, other)]
        assert sum(held) == 3


@pytest.mark.parametrize("database_server", ["postgresql"], indirect=True)
async def test_a_database_that_cannot_be_written_is_not_ready_until_it_can(
    start_server: ServerFactory,
    twilio: TwilioEmulator,
    database_server: Postgres,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transactions, "_PROBE_AFTER_SECS", 0.0)
    twilio.anyone = NoAnswer()
    name = make_url(database_url).database
    assert name is not None

    async def change(setting: str) -> None:
        """As a standby that was promoted away, or a disk that the provider locked, does."""
        async with database_server.administrator() as administrator:
            await administrator.execute(f"ALTER DATABASE {name} {setting}")
        async with database_server.administrator(name) as administrator:
            await administrator.execute(OTHERS_LEAVE)

    async with start_server(database_url=database_url) as server:
        assert (await server.http.get(READY)).json()["checks"]["database"] == "ok"
        await change("SET default_transaction_read_only = on")
        async with asyncio.timeout(20):
            # The pool may hold connections from before for a moment.
            while "cannot be written" not in (ready := await server.http.get(READY)).text:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert ready.status_code == 503
        assert (await server.http.get("/calls")).json()["calls"] == []
        refused = await server.http.post("/calls", json={"phone_number": THEIRS})
        assert refused.status_code == 503
        assert twilio.calls == []
        await change("RESET default_transaction_read_only")
        async with asyncio.timeout(20):
            while (await server.http.get(READY)).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await server.place())["status"] in ("initiated", "ringing")
