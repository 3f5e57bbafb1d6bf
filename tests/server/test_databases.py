"""The same server on SQLite and on PostgreSQL, from an empty database on."""

import asyncio

from server.emulators.twilio import Busy, NoAnswer, TwilioEmulator
from tests.server.conftest import THEIRS, ServerFactory


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
