"""How the SDK's requests are sent: as the environment says, and kept alive."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.twilio_http import REST_ROOT, TwilioHttp

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"


class Listener:
    """Answers every request alike; `heard` is what came by each connection."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take requests until there are no more."""
        index = len(self.heard)
        self.heard.append(b"")
        while data := await reader.read(65_536):
            self.heard[index] += data
            writer.write(ANSWER)
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[tuple[Listener, str]]:
    listening = Listener()
    server = await asyncio.start_server(listening.serve, "127.0.0.1", 0)
    yield listening, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_requests_of_one_root_share_a_connection(listener: tuple[Listener, str]) -> None:
    listening, root = listener
    http = TwilioHttp(root, timeout_secs=5, connections=2)
    form = {"To": "+1 5", "Timeout": None, "Events": ["a", "b"]}
    for _ in range(2):
        answer = await asyncio.to_thread(
            http.request, "post", f"{REST_ROOT}/Calls.json", data=form, auth=("AC1", "token")
        )
        assert (answer.status_code, answer.text) == (201, "{}")
    http.close()
    (said,) = listening.heard
    assert said.count(b"POST /Calls.json HTTP/1.1") == 2
    assert b"Authorization: Basic QUMxOnRva2Vu\r\n" in said
    assert b"\r\n\r\nTo=%2B1+5&Events=a&Events=b" in said


async def test_the_proxy_of_the_environment_is_asked(
    listener: tuple[Listener, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listening, proxy = listener
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    http = TwilioHttp("http://twilio.example", timeout_secs=5, connections=2)
    await asyncio.to_thread(http.request, "GET", f"{REST_ROOT}/Calls.json", {"To": "+15"})
    http.close()
    (said,) = listening.heard
    assert said.startswith(b"GET http://twilio.example/Calls.json?To=%2B15 HTTP/1.1\r\n")


def test_certificates_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    http = TwilioHttp("https://twilio.example", timeout_secs=5, connections=2)
    with pytest.raises(OSError, match=r"such\.pem"):
        http.request("GET", f"{REST_ROOT}/Calls.json")
