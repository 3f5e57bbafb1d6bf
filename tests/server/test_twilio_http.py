"""What the SDK's requests look like on the wire, and which connections they take."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twilio.http.response import Response

from server.twilio_http import REST_ROOT, TwilioHttp
from tests.server.http_listener import Listener, listening

JSON = {"Content-Type": "application/json"}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as made:
        yield made


@pytest.fixture
async def http(listener: Listener) -> AsyncIterator[TwilioHttp]:
    made = TwilioHttp(listener.url, timeout_secs=5, connections=2)
    yield made
    made.close()


async def request(http: TwilioHttp, *order: Any, **more: Any) -> Response:
    return await asyncio.to_thread(http.request, *order, **more)


async def test_requests_of_one_root_share_a_connection(
    listener: Listener, http: TwilioHttp
) -> None:
    form = {"To": "+1 5", "Timeout": None, "Events": ["a", "b"]}
    for _ in range(2):
        answer = await request(
            http, "post", f"{REST_ROOT}/Calls.json", data=form, auth=("AC1", "token")
        )
        assert (answer.status_code, answer.text) == (201, "{}")
        assert answer.headers["content-length"] == "2"
    assert listener.connections == 1
    for said in listener.heard:
        assert said.startswith(b"POST /Calls.json HTTP/1.1\r\n")
        assert b"\r\nAuthorization: Basic QUMxOnRva2Vu\r\n" in said
        assert b"\r\nContent-Length: 27\r\n" in said
        assert said.endswith(b"\r\n\r\nTo=%2B1+5&Events=a&Events=b")


async def test_what_has_no_body_says_so(listener: Listener, http: TwilioHttp) -> None:
    await request(http, "GET", f"{REST_ROOT}/Calls.json", {"To": "+15", "From": None})
    await request(http, "POST", f"{REST_ROOT}/Calls.json", data={}, headers={"X-A": "b"})
    read, written = listener.heard
    assert read.startswith(b"GET /Calls.json?To=%2B15 HTTP/1.1\r\n")
    assert b"content-length" not in read.lower()
    assert b"\r\nContent-Length: 0\r\n" in written
    assert b"\r\nX-A: b\r\n" in written


async def test_json_is_sent_where_the_sdk_says_so(listener: Listener, http: TwilioHttp) -> None:
    await request(http, "POST", f"{REST_ROOT}/v1", data={"a": ["ü"], "b": None}, headers=JSON)
    (said,) = listener.heard
    assert said.endswith(b'\r\n\r\n{"a": ["\\u00fc"], "b": null}')


async def test_a_path_of_the_root_is_kept(listener: Listener) -> None:
    http = TwilioHttp(f"{listener.url}/twilio", timeout_secs=5, connections=2)
    await request(http, "GET", f"{REST_ROOT}/Calls.json")
    http.close()
    (said,) = listener.heard
    assert said.startswith(b"GET /twilio/Calls.json HTTP/1.1\r\n")


async def test_another_host_of_the_sdk_has_connections_of_its_own(
    listener: Listener, http: TwilioHttp
) -> None:
    async with listening() as edge:
        for _ in range(2):
            await request(http, "GET", f"{edge.url}/Calls.json")
    assert (len(edge.heard), edge.connections, listener.connections) == (2, 1, 0)
