"""What Gemini says when it refuses reaches the operator, and a caller waits for nothing in vain."""

import asyncio
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from typer.testing import CliRunner

from server.cli.main import app
from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator
from server.emulators.gemini_live.certificate import make_certificate
from server.emulators.twilio import Answer, Handset, HangUp, Person, WaitForAgent
from tests.e2e.conftest import APOLOGY, GREETING, World, heard, turns
from tests.server.conftest import ServerFactory, TwilioEmulator

KEY = "a-very-secret-key"


async def refused(world: World, result: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await world.server.http.get(f"/calls/{result['id']}/events")
    events = answer.json()["events"]
    return [event["detail"] for event in events if event["kind"] == "model.refused"]


def connects(result: dict[str, Any], details: list[dict[str, Any]]) -> list[str]:
    assert (result["status"], result["end_reason"]) == ("completed", "no_model")
    return [detail["reason"] for detail in details]


async def test_what_gemini_said_is_in_the_log_the_events_and_calls_show(
    start_server: ServerFactory, gemini: GeminiLiveEmulator, twilio: TwilioEmulator
) -> None:
    reason = f"API key not valid: {KEY}\r\n\x1b[31mBearer abc.def (key=other)"
    gemini.faults.append(ConnectFault(close=1007, reason=reason))
    logged: list[dict[str, Any]] = []
    sink = logger.add(lambda message: logged.append(dict(message.record["extra"])), level="INFO")
    try:
        async with start_server(gemini_api_key=KEY) as server:
            world = World(server, gemini, twilio)
            result = await world.result(await world.dial(Person()))
            shown = await asyncio.to_thread(
                CliRunner().invoke, app, ["calls", "show", result["id"], "--server", server.url]
            )
            said = "API key not valid: [secret] [secret] ([secret])"
            details = await refused(world, result)
    finally:
        logger.remove(sink)
    assert details
    assert {(one["reason"], one["said"]) for one in details} == {("refused_1007", said)}
    assert result["error"] == f"Gemini refused a session: refused_1007: {said}"
    # A line of the page may be broken at 80 columns.
    assert said in " ".join(shown.output.split())
    assert said in [extra.get("said") for extra in logged]
    everything = shown.output + str(logged) + str(result)
    assert KEY not in everything
    assert "\x1b" not in everything


async def test_what_gemini_said_when_it_closed_a_session_is_in_its_event(world: World) -> None:
    async def person(phone: Handset) -> None:
        await phone.listen_until_silence()
        await world.gemini.sessions[0].drop(1011, "Deadline exceeded (token=abc).")
        await phone.pause(3)
        phone.hang_up()

    result = await world.result(await world.dial(person))
    assert result["end_reason"] == "caller"
    events = (await world.server.http.get(f"/calls/{result['id']}/events")).json()["events"]
    (dropped,) = [event["detail"] for event in events if event["kind"] == "model.dropped"]
    assert dropped == {"reason": "closed_1011", "said": "Deadline exceeded ([secret])."}


Breaks = Callable[[pytest.MonkeyPatch, GeminiLiveEmulator, Path], str]


def an_unknown_authority(
    patch: pytest.MonkeyPatch, gemini: GeminiLiveEmulator, folder: Path
) -> str:
    patch.delenv("SSL_CERT_FILE")
    return "certificate"


def an_expired_certificate(
    patch: pytest.MonkeyPatch, gemini: GeminiLiveEmulator, folder: Path
) -> str:
    expired = make_certificate(folder, valid_for=timedelta(minutes=-30))
    gemini.present(expired)
    patch.setenv("SSL_CERT_FILE", str(expired.ca_file))
    return "certificate"


def an_unknown_name(patch: pytest.MonkeyPatch, gemini: GeminiLiveEmulator, folder: Path) -> str:
    patch.setenv("GOOGLE_GEMINI_BASE_URL", "https://gemini.invalid")
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "gemini.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **kwargs)

    patch.setattr(socket, "getaddrinfo", look_up)
    return "name_not_found"


def a_wrong_key(patch: pytest.MonkeyPatch, gemini: GeminiLiveEmulator, folder: Path) -> str:
    gemini.faults.append(ConnectFault(close=1007, reason="API key not valid."))
    return "refused_1007"


def a_forbidden_key(patch: pytest.MonkeyPatch, gemini: GeminiLiveEmulator, folder: Path) -> str:
    gemini.faults.append(ConnectFault(http_status=403, reason="Forbidden."))
    return "refused_403"


SAYS = {an_unknown_authority: "unable to get local issuer", an_expired_certificate: "has expired"}


@pytest.mark.parametrize(
    "breaks",
    [an_unknown_authority, an_expired_certificate, an_unknown_name, a_wrong_key, a_forbidden_key],
)
async def test_what_cannot_succeed_is_tried_once_while_it_rings_and_told_when_answered(
    start_server: ServerFactory,
    gemini: GeminiLiveEmulator,
    twilio: TwilioEmulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    breaks: Breaks,
) -> None:
    reason = breaks(monkeypatch, gemini, tmp_path)
    async with start_server() as server:
        world = World(server, gemini, twilio)
        call = await world.dial(Answer(Person(), ring_secs=3))
        result = await world.result(call)
        details = await refused(world, result)
        assert connects(result, details) == [reason]
        assert SAYS.get(breaks, "") in details[0].get("said", "")
        assert heard(call, APOLOGY, GREETING) == [APOLOGY]
        answered, says = call.record.first("answered"), call.record.first("twilio.says")
    assert says is not None
    assert answered is None or says.at - answered.at < 1.5


async def test_patience_that_was_used_up_while_it_rang_is_not_there_again(world: World) -> None:
    world.gemini.faults.append(ConnectFault(http_status=503))
    call = await world.dial(Answer(Person(), ring_secs=20))
    result = await world.result(call)
    reasons = connects(result, await refused(world, result))
    assert set(reasons) == {"refused_503"}
    assert world.gemini.connects == len(reasons) > 8, "it is tried as long as it rings"
    assert heard(call, APOLOGY, GREETING) == [APOLOGY]


async def test_a_model_that_comes_back_while_it_rings_greets(world: World) -> None:
    world.gemini.faults.append(ConnectFault(http_status=503, connects=frozenset(range(1, 10))))
    call = await world.dial(Answer(Person([WaitForAgent(), HangUp()]), ring_secs=25))
    result = await world.result(call)
    assert turns(result) == [("agent", GREETING, False)]
