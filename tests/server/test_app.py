"""The app as a whole: what it refuses to start with, its errors, and what a restart keeps."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import HTTPException
from loguru import logger
from starlette.types import Receive, Scope, Send

from agent.record.call_log import DatabaseUnavailable, NoSuchCall
from server.app import create_app
from server.emulators.twilio import NoAnswer, TwilioEmulator
from server.observability.metrics import Metrics
from server.settings.settings import Settings, SettingsError
from tests.server.conftest import ServerFactory


def test_a_number_for_a_pipeline_that_there_is_not_stops_the_start() -> None:
    settings = Settings.model_validate({"inbound_numbers": "+15550100=no_such_pipeline"})
    with pytest.raises(SettingsError, match=r"INBOUND_NUMBERS: \+15550100: .*no_such_pipeline"):
        create_app(settings)


def test_a_default_pipeline_that_there_is_not_stops_the_start() -> None:
    settings = Settings.model_validate({"default_pipeline": "no_such_pipeline"})
    with pytest.raises(SettingsError, match=r"DEFAULT_PIPELINE: .*no_such_pipeline.*phone_call"):
        create_app(settings)


def test_what_fastapi_prepares_of_the_routes_serves_all_servers_of_a_process() -> None:
    # A replay, and each test, has a server of its own: to prepare them takes a tenth of a second.
    first, second = (create_app(Settings.model_construct()) for _ in range(2))
    assert sum(one is other for one, other in zip(first.routes, second.routes, strict=True)) > 5


@pytest.mark.parametrize("name", ["TWILIO_REGION", "TWILIO_EDGE"])
@pytest.mark.parametrize("root_is_set", [True, False])
async def test_a_root_of_twilios_api_that_wins_over_a_region_says_so(
    start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch, name: str, root_is_set: bool
) -> None:
    monkeypatch.setenv(name, "ie1")
    logged: list[tuple[str, object]] = []
    sink = logger.add(
        lambda line: logged.append((line.record["message"], line.record["extra"].get("not_used"))),
        level="WARNING",
    )
    changes = {} if root_is_set else {"twilio_api_base_url": None}
    try:
        async with start_server(**changes):
            pass
    finally:
        logger.remove(sink)
    told = [line for line in logged if "wins" in line[0]]
    assert told == ([("TWILIO_API_BASE_URL is set, and wins", name)] if root_is_set else [])


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (HTTPException(409, "No.", headers={"X-Why": "so"}), 409, {"X-Why": "so"}),
        (NoSuchCall("a"), 404, {}),
        (DatabaseUnavailable("busy"), 503, {"Retry-After": "5"}),
        (ValueError("nobody expected it"), 500, {}),
    ],
    ids=repr,
)
async def test_every_error_of_a_route_is_a_detail_with_its_status(
    error: Exception, status: int, headers: dict[str, str]
) -> None:
    app, metrics, raised = create_app(Settings()), Metrics(), list[Exception]()

    async def fail() -> None:
        raise error

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"resources": SimpleNamespace(metrics=metrics)}
        try:
            await app(scope, receive, send)
        except Exception as unknown:
            raised.append(unknown)

    app.add_api_route("/thing", fail, methods=["POST"])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://a") as web:
        answer = await web.post("/thing")
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert list(body) == ["detail"]
    assert "expected" not in body["detail"]
    assert headers.items() <= {name: answer.headers.get(name) for name in headers}.items()
    # The server logs what nobody expected.
    assert raised == ([error] if status == 500 else [])
    counted = metrics.registry.get_sample_value(
        "voice_ai_rejected_requests_total", {"reason": "database"}
    )
    assert counted == (1 if status == 503 else None)


async def test_a_call_that_ended_while_the_server_was_away_is_settled_after_it(
    start_server: ServerFactory, twilio: TwilioEmulator
) -> None:
    twilio.anyone = NoAnswer()
    async with start_server() as server:
        call = await server.place()
        await twilio.calls[0].until("ringing")
    twilio.calls[0].hang_up()
    await twilio.calls[0].ended()
    async with start_server() as server:
        result = await server.http.get(f"/calls/{call['id']}/result", params={"wait": 30})
        assert result.status_code == 200
        assert result.json()["ended_at"]
    assert len(twilio.calls) == 1


@pytest.mark.long
def test_a_server_without_redis_does_not_import_its_client() -> None:
    code = "import sys, server.app; print('redis' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
