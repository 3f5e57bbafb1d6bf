"""The calls API through the real app, a real database and the emulated Twilio."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.record.call_log import CallLog, open_engine
from agent.record.models import Call, CallEvent
from server.emulators.twilio import Busy, Hang, Invalid, NoAnswer, TwilioEmulator
from tests.server.conftest import OUR_NUMBER, THEIRS, Running, ServerFactory


@pytest.fixture(autouse=True)
def let_it_ring(twilio: TwilioEmulator) -> None:
    twilio.anyone = NoAnswer()


async def test_a_call_is_placed_and_read_back(server: Running, twilio: TwilioEmulator) -> None:
    answer = await server.http.post(
        "/calls", json={"phone_number": THEIRS, "language": "de-DE", "metadata": {"customer": 1}}
    )
    assert answer.status_code == 201
    call = answer.json()
    assert answer.headers["Location"] == f"/calls/{call['id']}"
    assert (call["phone_number"], call["our_number"]) == (THEIRS, OUR_NUMBER)
    assert (call["direction"], call["pipeline"]) == ("outbound", "phone_call")
    assert (call["language"], call["metadata"]) == ("de-DE", {"customer": 1})
    assert call["twilio_sid"] == twilio.calls[0].sid
    assert call["status"] in ("initiated", "ringing")
    read = (await server.http.get(f"/calls/{call['id']}")).json()
    assert read["id"] == call["id"]


async def test_what_the_phone_does_becomes_the_status(
    server: Running, twilio: TwilioEmulator
) -> None:
    twilio.people[THEIRS] = Busy()
    call = await server.place()
    result = await server.http.get(f"/calls/{call['id']}/result", params={"wait": 20})
    assert result.status_code == 200
    assert result.json()["status"] == "busy"
    assert result.json()["turns"] == []
    ended = 'voice_ai_calls_total{direction="outbound",end_reason="caller",status="busy"}'
    assert await server.metric(ended) == 1
    assert await server.metric("voice_ai_active_calls") == 0


async def test_a_number_that_twilio_refuses_leaves_a_failed_call(
    server: Running, twilio: TwilioEmulator
) -> None:
    twilio.anyone = Invalid()
    call = await server.place()
    assert call["status"] == "failed"
    assert "not valid" in call["error"]
    assert (await server.http.get(f"/calls/{call['id']}")).json()["status"] == "failed"
    assert await server.metric("voice_ai_active_calls") == 0


async def test_the_same_key_and_body_place_one_call(
    server: Running, twilio: TwilioEmulator
) -> None:
    body, headers = {"phone_number": THEIRS}, {"Idempotency-Key": "once"}
    answers = await asyncio.gather(
        *(server.http.post("/calls", json=body, headers=headers) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(twilio.calls) == 1
    assert await server.metric("voice_ai_active_calls") == 1
    other = await server.http.post("/calls", json=body | {"greeting": "Hi"}, headers=headers)
    assert other.status_code == 409
    assert await server.metric("voice_ai_active_calls") == 1


async def test_a_repeated_request_is_answered_even_when_there_is_no_room(
    start_server: ServerFactory,
) -> None:
    async with start_server(max_concurrent_calls=1, daily_call_limit=1) as server:
        body, headers = {"phone_number": THEIRS}, {"Idempotency-Key": "once"}
        first = await server.http.post("/calls", json=body, headers=headers)
        again = await server.http.post("/calls", json=body, headers=headers)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["id"] == again.json()["id"]


async def test_beyond_its_capacity_it_says_no_and_frees_the_place_later(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    async with start_server(max_concurrent_calls=1) as server:
        call = await server.place()
        refused = await server.http.post("/calls", json={"phone_number": THEIRS})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert len(twilio.calls) == 1
        await server.http.post(f"/calls/{call['id']}/terminate")
        await server.http.get(f"/calls/{call['id']}/result", params={"wait": 20})
        await server.until_metric("voice_ai_active_calls", 0)
        await server.place()
        assert await server.metric('voice_ai_rejected_requests_total{reason="capacity"}') == 1


async def test_the_daily_limit_holds_over_a_restart(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    async with start_server(daily_call_limit=2) as server:
        await server.place()
    async with start_server(daily_call_limit=2) as server:
        await server.place()
        refused = await server.http.post("/calls", json={"phone_number": THEIRS})
    assert refused.status_code == 429
    assert "DAILY_CALL_LIMIT" in refused.json()["detail"]
    assert len(twilio.calls) == 2


async def test_an_erased_call_still_counts_for_the_daily_limit(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    async with start_server(daily_call_limit=1) as server:
        call = await server.place()
        await server.http.post(f"/calls/{call['id']}/terminate")
        await server.http.get(f"/calls/{call['id']}/result", params={"wait": 20})
        assert (await server.http.delete(f"/calls/{call['id']}")).status_code == 204
        refused = await server.http.post("/calls", json={"phone_number": THEIRS})
    assert refused.status_code == 429
    assert len(twilio.calls) == 1


async def test_only_allowed_destinations_are_called(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    async with start_server(allowed_destinations=("+1555",)) as server:
        refused = await server.http.post("/calls", json={"phone_number": "+4915550100"})
        await server.place()
    assert refused.status_code == 403
    assert [call.order.to for call in twilio.calls] == [THEIRS]


@pytest.mark.parametrize(
    "missing", ["twilio_account_sid", "twilio_auth_token", "twilio_phone_number", "gemini_api_key"]
)
async def test_without_credentials_it_says_which_are_missing(
    start_server: ServerFactory, twilio: TwilioEmulator, missing: str
) -> None:
    async with start_server(**{missing: None}) as server:
        refused = await server.http.post("/calls", json={"phone_number": THEIRS})
        ready = await server.http.get("/health/ready")
    assert refused.status_code == 503
    assert missing.split("_")[0].upper() in refused.json()["detail"]
    assert ready.status_code == 503
    assert ready.json()["checks"][missing.split("_")[0]] != "ok"
    assert twilio.calls == []


FIRST = '{"phone_number": "+15550100123"'


async def test_a_request_that_is_in_order_is_placed_however_it_is_written(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    twilio.anyone = Invalid()  # so that all has happened when it is answered
    requests: list[tuple[str, dict[str, str]]] = [
        (FIRST + "}", {}),
        (FIRST + "}", {"Content-Type": "application/vnd.api+json"}),
        (FIRST + ', "metadata": {"a": 1e3, "ö": "€"}}', {}),
        (FIRST + ', "phone_number": "+15550100777"}', {}),
        (FIRST + "}", {"Idempotency-Key": "one"}),
    ]
    async with start_server() as server:
        for content, more in requests:
            headers = {"Content-Type": "application/json"} | more
            answer = await server.http.post("/calls", content=content.encode(), headers=headers)
            assert answer.status_code == 201
            newest = (await server.http.get("/calls")).json()["calls"][0]
            assert newest == answer.json()
            assert answer.headers["Location"] == f"/calls/{newest['id']}"


async def test_terminating_ends_the_call_once_and_again_is_fine(
    server: Running, twilio: TwilioEmulator
) -> None:
    call = await server.place()
    for _ in range(2):
        answer = await server.http.post(f"/calls/{call['id']}/terminate")
        assert (answer.status_code, answer.content) == (204, b"")
    result = (await server.http.get(f"/calls/{call['id']}/result", params={"wait": 20})).json()
    assert result["end_reason"] == "api"
    assert result["status"] in ("canceled", "no_answer", "completed")
    assert (await server.http.post(f"/calls/{call['id']}/terminate")).status_code == 204


async def test_a_result_that_is_not_there_yet_is_202(server: Running) -> None:
    call = await server.place()
    answer = await server.http.get(f"/calls/{call['id']}/result", params={"wait": 0})
    assert answer.status_code == 202
    assert answer.json()["id"] == call["id"]
    for wait in (-1, 1_000, "long"):
        refused = await server.http.get(f"/calls/{call['id']}/result", params={"wait": wait})
        assert refused.status_code == 422


async def test_an_ended_call_is_erased_and_a_live_one_is_not(server: Running) -> None:
    call = await server.place()
    path = f"/calls/{call['id']}"
    live = await server.http.delete(path)
    assert live.status_code == 409
    assert "live" in live.json()["detail"]
    await server.http.post(f"{path}/terminate")
    await server.http.get(f"{path}/result", params={"wait": 20})
    assert (await server.http.delete(path)).status_code == 204
    for rest in ("", "/transcript", "/events", "/result"):
        assert (await server.http.get(path + rest)).status_code == 404
    assert (await server.http.delete(path)).status_code == 404


async def test_what_happened_is_read_page_by_page(server: Running, twilio: TwilioEmulator) -> None:
    twilio.people[THEIRS] = Busy()
    call = await server.place()
    path = f"/calls/{call['id']}"
    await server.http.get(f"{path}/result", params={"wait": 20})
    whole = (await server.http.get(f"{path}/events")).json()
    assert whole["next_cursor"] is None
    assert any(event["kind"] == "life.status" for event in whole["events"])
    read, after = [], 0
    while True:
        page = (await server.http.get(f"{path}/events?after={after}&limit=1")).json()
        read += page["events"]
        if page["next_cursor"] is None:
            break
        after = page["next_cursor"]
    assert read == whole["events"]


async def test_a_recording_that_cannot_be_read_or_erased_keeps_the_call(
    server: Running, twilio: TwilioEmulator, tmp_path: Path
) -> None:
    twilio.people[THEIRS] = Busy()
    call = await server.place()
    path = f"/calls/{call['id']}"
    await server.http.get(f"{path}/result", params={"wait": 20})
    in_its_place = tmp_path / "recordings" / f"{call['id']}.wav"
    in_its_place.mkdir(parents=True)
    refused = await server.http.delete(path)
    assert (refused.status_code, refused.json()) == (
        503,
        {"detail": "The recording of this call cannot be erased now."},
    )
    assert (await server.http.get(path)).status_code == 200
    assert (await server.http.get(f"{path}/recording")).status_code == 503
    in_its_place.rmdir()
    assert (await server.http.delete(path)).status_code == 204
    assert (await server.http.get(path)).status_code == 404


async def test_how_fast_a_call_was_is_read_with_it_and_with_its_result(
    server: Running, twilio: TwilioEmulator, tmp_path: Path
) -> None:
    twilio.people[THEIRS] = Busy()
    call = await server.place()
    path = f"/calls/{call['id']}"
    unknown = {
        "first_sound_ms": None,
        "response_ms": {"p50": None, "max": None, "each": []},
        "barge_in_ms": [],
        "share_ms": {"in": None, "out": None},
    }
    result = (await server.http.get(f"{path}/result", params={"wait": 20})).json()
    assert result["latency"] == unknown
    assert (await server.http.get(path)).json()["latency"] == unknown
    await keep_events(
        tmp_path,
        call["id"],
        ("latency.first_sound", {"ms": 4.2}),
        ("latency.response", {"ms": 880}),
        ("latency.response", {"ms": 640, "turn": 3}),
        ("latency.barge_in", {"ms": 40.5}),
        ("latency.share", {"in_ms": 0.4, "out_ms": 0.6}),
    )
    known = {
        "first_sound_ms": 4.2,
        "response_ms": {"p50": 760, "max": 880, "each": [880, 640]},
        "barge_in_ms": [40.5],
        "share_ms": {"in": 0.4, "out": 0.6},
    }
    assert (await server.http.get(f"{path}/result")).json()["latency"] == known
    read = (await server.http.get(path)).json()
    assert read["latency"] == known
    # A list of calls does not tell everything: it would be read call by call.
    listed = (await server.http.get("/calls")).json()["calls"][0]
    told_of_one = ("latency", "recording", "usage", "workflow_url")
    assert listed == {name: value for name, value in read.items() if name not in told_of_one}


async def keep_events(folder: Path, call_id: str, *events: tuple[str, dict[str, Any]]) -> None:
    """Have the record hold events, as another process that carries the call would."""
    engine = open_engine(f"sqlite+aiosqlite:///{folder / 'calls.db'}")
    try:
        rows = [CallEvent(call_id=call_id, kind=kind, detail=detail) for kind, detail in events]
        assert await CallLog(engine).write(rows) == 0
    finally:
        await engine.dispose()


@pytest.mark.parametrize("rest", ["", "/transcript", "/events", "/result"])
async def test_a_call_that_is_erased_while_it_is_read_is_not_found(
    server: Running, twilio: TwilioEmulator, monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    twilio.people[THEIRS] = Busy()
    path = f"/calls/{(await server.place())['id']}"
    await server.http.get(f"{path}/result", params={"wait": 20})
    get = CallLog.get

    async def get_and_erase(log: CallLog, call_id: str) -> Call:
        call = await get(log, call_id)
        await log.delete(call_id)
        return call

    monkeypatch.setattr(CallLog, "get", get_and_erase)
    answer = await server.http.get(path + rest)
    assert answer.status_code == 404, answer.text
    assert "no call with this id" in answer.json()["detail"]


async def test_calls_are_listed_newest_first_filtered_and_paged(server: Running) -> None:
    numbers = [f"+1555010020{n}" for n in range(5)]
    placed = [(await server.place(phone_number=number))["id"] for number in numbers]
    ids: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await server.http.get("/calls", params=params)).json()
        ids += [call["id"] for call in page["calls"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert ids == placed[::-1]

    async def found(query: str) -> list[str]:
        answer = await server.http.get(f"/calls?{query}")
        assert answer.status_code == 200, answer.text
        return [call["id"] for call in answer.json()["calls"]]

    assert await found("phone_number=%2B15550100203") == [placed[3]]
    assert await found("phone_number=+15550100203") == [placed[3]]
    assert await found("direction=inbound") == []
    assert await found("status=completed") == []
    assert await found("since=2999-01-01T00:00:00Z") == []
    assert await found("until=2000-01-01T00:00:00") == []
    assert len(await found("since=2000-01-01T00:00:00&direction=outbound")) == 5


async def test_an_unclear_dial_is_found_again_and_dialled_once(
    server: Running, twilio: TwilioEmulator
) -> None:
    twilio.fail_next(Hang(placed=True))
    call = await server.place()
    assert call["status"] in ("initiated", "ringing")
    await server.http.post(f"/calls/{call['id']}/terminate")
    result = (await server.http.get(f"/calls/{call['id']}/result", params={"wait": 30})).json()
    assert result["twilio_sid"] == twilio.calls[0].sid
    assert len(twilio.calls) == 1


async def test_the_documentation_is_complete(server: Running) -> None:
    assert (await server.http.get("/docs")).status_code == 200
    described = (await server.http.get("/openapi.json")).json()
    operations: list[tuple[str, dict[str, Any]]] = [
        (path, operation)
        for path, methods in described["paths"].items()
        for operation in methods.values()
    ]
    assert {
        "/calls",
        "/calls/{call_id}",
        "/calls/{call_id}/transcript",
        "/calls/{call_id}/events",
        "/calls/{call_id}/result",
        "/calls/{call_id}/recording",
        "/calls/{call_id}/terminate",
        "/calls/{call_id}/hint",
        "/calls/{call_id}/move",
        "/twilio/inbound",
        "/twilio/twiml/{call_id}",
        "/twilio/status",
        "/twilio/status/{call_id}",
        "/twilio/stream-status/{call_id}",
        "/health",
        "/health/live",
        "/health/ready",
        "/metrics",
    } == set(described["paths"])
    for path, operation in operations:
        assert operation.get("description"), path
        if path.startswith("/calls"):
            assert operation["responses"]["401"]["content"], path
    assert described["components"]["schemas"]["CallRequest"]["examples"]
    assert described["components"]["schemas"]["Problem"]["examples"]
