"""A server whose event loop is late: no new calls, and no restart."""

from xml.etree import ElementTree

import pytest

from agent.loop_load import LoopLoad
from server import resources
from server.emulators.twilio import NoAnswer, TwilioEmulator
from tests.server.conftest import OUR_NUMBER, THEIRS, ServerFactory

INBOUND = {"CallSid": "CA" + "1" * 32, "From": THEIRS, "To": OUR_NUMBER, "CallStatus": "ringing"}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[LoopLoad]:
    """What each server that starts knows of its loop's lateness."""
    made: list[LoopLoad] = []

    def make(overloaded_secs: float | None) -> LoopLoad:
        made.append(LoopLoad(overloaded_secs))
        return made[-1]

    monkeypatch.setattr(resources, "LoopLoad", make)
    return made


async def test_an_overloaded_server_takes_no_call_says_so_and_lives(
    start_server: ServerFactory, twilio: TwilioEmulator, loads: list[LoopLoad]
) -> None:
    twilio.anyone = NoAnswer()
    async with start_server(overload_lag_ms=1_000) as server:
        (load,) = loads
        for _ in range(5):
            load.observe(1.0)
        refused = await server.http.post("/calls", json={"phone_number": THEIRS})
        busy = await server.twilio_posts("/twilio/inbound", INBOUND)
        ready = await server.http.get("/health/ready")
        live = await server.http.get("/health/live")
        for _ in range(100):
            load.observe(0.0)
        placed = await server.http.post("/calls", json={"phone_number": THEIRS})
        ready_again = await server.http.get("/health/ready")

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    says = ElementTree.fromstring(busy.text)
    assert [verb.tag for verb in says] == ["Say", "Hangup"]
    assert "busy" in (says[0].text or "")
    assert (ready.status_code, live.status_code) == (503, 200)
    assert "event loop is late" in ready.json()["checks"]["process"]
    assert (placed.status_code, ready_again.status_code) == (201, 200)


async def test_with_0_lateness_refuses_nothing(
    start_server: ServerFactory, twilio: TwilioEmulator, loads: list[LoopLoad]
) -> None:
    twilio.anyone = NoAnswer()
    async with start_server(overload_lag_ms=0) as server:
        for _ in range(5):
            loads[0].observe(1.0)

        await server.place()
