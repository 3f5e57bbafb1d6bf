"""The short way: who goes it, and that nobody outside can tell."""

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import HTTPException, Request, Response, WebSocket
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.call_log import DatabaseAway, NoSuchCall
from server.app import App, create_app
from server.emulators.twilio import Invalid, NoAnswer, TwilioEmulator
from server.metrics import Metrics
from server.security import replay
from server.settings import Settings
from server.short_way import ShortRoute, ShortStream, ShortWay
from tests.server.conftest import THEIRS, Running, ServerFactory
from tests.server.test_media_stream import (
    CONNECTED,
    closed_with,
    say,
    socket,
    start_of,
    token_for,
)

PATH = re.compile("/thing/(?P<name>[^/]+)")


async def never(_: Message) -> None:
    raise AssertionError("nothing is to be sent")


async def no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


class Long:
    """An app that only notes what came to it, and what its body was."""

    def __init__(self) -> None:
        self.came: list[tuple[str, str, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"] if scope["type"] == "http" else b""
        self.came.append((scope["type"], scope["path"], body))


def request_for(path: str, method: str = "POST") -> Scope:
    return {"type": "http", "path": path, "method": method, "headers": []}


async def test_what_is_of_no_short_route_goes_to_the_app() -> None:
    async def answer(request: Request, in_path: Mapping[str, str]) -> Response:
        raise AssertionError(f"{request.url} is not for it")

    async def serve(websocket: WebSocket, name: str) -> None:
        raise AssertionError(f"{name} is not for it")

    long = Long()
    way = ShortWay(long, [ShortRoute(PATH, ("POST",), answer)], [ShortStream(PATH, serve)], {})
    for path in ("/things", "/thing/", "/thing/a/b", "/", "/athing/a"):
        await way(request_for(path), no_body, never)
        await way({"type": "websocket", "path": path}, no_body, never)
    await way(request_for("/thing/a", "GET"), no_body, never)
    await way({"type": "lifespan", "path": "/thing/a"}, no_body, never)
    assert len(long.came) == 12


async def test_what_a_short_route_leaves_goes_to_the_app_with_its_body() -> None:
    async def look_and_leave(request: Request, in_path: Mapping[str, str]) -> None:
        assert in_path == {"name": "a"}
        if request.method == "POST":
            assert await request.body() == b"all of it"

    long = Long()
    way = ShortWay(long, [ShortRoute(PATH, ("POST", "PUT"), look_and_leave)], [], {})
    for method in ("POST", "PUT"):
        await way(request_for("/thing/a", method), replay(b"all of it", no_body), never)
    assert long.came == [("http", "/thing/a", b"all of it")] * 2


@pytest.mark.parametrize(
    "error",
    [
        HTTPException(409, "No.", headers={"X-Why": "so"}),
        NoSuchCall("a"),
        DatabaseAway("busy"),
        ValueError("nobody expected it"),
    ],
    ids=repr,
)
async def test_an_error_is_answered_and_raised_as_on_the_long_way(error: Exception) -> None:
    async def fail(request: Request, in_path: Mapping[str, str] | None = None) -> Response:
        raise error

    app = create_app(Settings())

    async def fail_the_long_way(request: Request) -> Response:
        return await fail(request)

    app.add_api_route("/thing/a", fail_the_long_way, methods=["POST"])
    short = ShortWay(app, [ShortRoute(PATH, ("POST",), fail)], [], app.exception_handlers)
    assert await _asked(short) == await _asked(app)


async def _asked(app: ASGIApp) -> tuple[int, Any, bytes, str, float]:
    """What is answered, what is raised behind it for the server to log, and what is counted."""
    raised: list[BaseException] = []
    metrics = Metrics()

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"resources": SimpleNamespace(metrics=metrics)}
        try:
            await app(scope, receive, send)
        except Exception as error:
            raised.append(error)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://a") as web:
        answer = await web.post("/thing/a")
    counted = metrics.registry.get_sample_value(
        "voice_ai_rejected_requests_total", {"reason": "database"}
    )
    return answer.status_code, answer.headers, answer.content, repr(raised), counted or 0.0


async def test_what_a_call_waits_for_never_comes_to_the_framework(
    server: Running, twilio: TwilioEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    twilio.anyone = NoAnswer()
    came: list[str] = []
    through = Starlette.__call__

    async def note(self: Starlette, scope: Scope, receive: Receive, send: Send) -> None:
        # The emulated Twilio is none of FastAPI's.
        if isinstance(self, App):
            came.append(scope["path"])
        await through(self, scope, receive, send)

    monkeypatch.setattr(Starlette, "__call__", note)
    call = await server.place()
    token = await token_for(server, call)
    async with socket(server, call["id"]) as stream:
        await say(stream, CONNECTED, start_of(call, token))
        for hook, field in (("stream-status", "StreamEvent"), ("status", "CallStatus")):
            form = {"CallSid": call["twilio_sid"], field: "completed"}
            answer = await server.twilio_posts(f"/twilio/{hook}/{call['id']}", form)
            assert answer.status_code in (200, 204)
        assert await closed_with(stream) == 1000
    assert came == []
    assert (await server.http.get(f"/calls/{call['id']}")).json()["status"] == "completed"
    assert came == [f"/calls/{call['id']}"]


# What FastAPI takes for JSON as well, and the short way does not.
BY_THE_LONG_WAY = {"Content-Type": "application/vnd.api+json"}
BY_THE_SHORT_WAY = {"Content-Type": "application/json; charset=utf-8"}
OF_ONE_CALL = re.compile(r'"(id|created_at|ended_at)":"[^"]+"')
KEYS = {"Authorization": "Bearer a-key"}


@pytest.mark.parametrize(
    ("content", "more", "status"),
    [
        (f'{{"phone_number": "{THEIRS}"}}', {}, 201),
        (f'{{"phone_number": "{THEIRS}", "metadata": {{"a": 1e3, "ö": "€"}}}}', {}, 201),
        (f'{{"phone_number": "{THEIRS}", "phone_number": "+15550100777"}}', {}, 201),
        (f'{{"phone_number": "{THEIRS}"}}', {"Idempotency-Key": "one"}, 201),
        (f'{{"phone_number": "{THEIRS}"}}', {"Idempotency-Key": "x" * 201}, 422),
        (f'{{"phone_number": "{THEIRS}"}}', {"Idempotency-Key": "ö"}, 422),
        (f'{{"phone_number": "{THEIRS}"}}', {"Idempotency-Key": ""}, 422),
        (f'{{"phone_number": "{THEIRS}"}}', {"Authorization": "Bearer another"}, 401),
        (f'{{"phone_number": "{THEIRS}"}}', {"Authorization": "Basic a-key"}, 401),
        (f'{{"phone_number": "{THEIRS}", "pipeline": "none"}}', {}, 422),
        (f'{{"phone_number": "{THEIRS}", "max_duration_seconds": 1e400}}', {}, 422),
        ('{"phone_number": "+1900555"}', {}, 403),
        ('{"phone_number": 1}', {"Authorization": ""}, 401),
        ('{"phone_number": ', {"Authorization": ""}, 422),
        ('{"phone_number": 1}', {}, 422),
        ("null", {}, 422),
        ("", {}, 422),
        ("[" * 10_000, {}, 400),
    ],
)
async def test_a_call_is_placed_or_refused_the_same_either_way(
    start_server: ServerFactory,
    twilio: TwilioEmulator,
    content: str,
    more: dict[str, str],
    status: int,
) -> None:
    twilio.anyone = Invalid()  # so that all has happened when it is answered
    async with start_server(api_keys=("a-key",), allowed_destinations=("+1555",)) as server:

        async def asked(way: dict[str, str]) -> tuple[int, str, Any, dict[str, float]]:
            # Bytes, as names and values of headers may be any.
            headers = {k: v.encode("latin-1") for k, v in (KEYS | way | more).items()}
            answer = await server.http.post("/calls", content=content.encode(), headers=headers)
            known = {name: answer.headers[name] for name in answer.headers if name != "date"}
            # Only what is a call's own differs.
            text = OF_ONE_CALL.sub(r'"\1":"its own"', answer.text)
            if answer.status_code == 201:
                assert known.pop("location") == f"/calls/{answer.json()['id']}"
            return answer.status_code, text, known, await counts(server)

        long = await asked(BY_THE_LONG_WAY)
        assert long[0] == status
        short = await asked(BY_THE_SHORT_WAY)
        assert short[:3] == long[:3]
        assert short[3] == {reason: 2 * count for reason, count in long[3].items()}


async def counts(server: Running) -> dict[str, float]:
    """How many requests were turned away so far, by reason."""
    text = (await server.http.get("/metrics")).text
    found = re.findall(r'^voice_ai_rejected_requests_total\{reason="(\w+)"\} (\S+)', text, re.M)
    return {reason: float(count) for reason, count in found}
