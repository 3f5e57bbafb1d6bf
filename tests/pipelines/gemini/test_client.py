"""The client of all calls: by which way it comes to the model, as whom, and when it does not."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from google import genai
from google.genai.errors import APIError
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response

from agent.profile import AgentProfile
from pipelines.gemini import client as gemini_client
from pipelines.gemini.client import Connection, GeminiClient, ModelSession
from pipelines.gemini.live_config import live_config
from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator, Script
from server.emulators.gemini_live.certificate import make_certificate
from tests.pipelines.gemini_wire import Answer, a_wire

CONFIG = live_config(AgentProfile(), [])
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "WSS_PROXY", "WS_PROXY", "ALL_PROXY", "NO_PROXY")


class Proxy:
    """An HTTP proxy that opens tunnels, and knows to where."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, where, _ = head.split(" ", 2)
        self.asked.append(f"{method} {where}")
        host, port = where.rsplit(":", 1)
        from_model, to_model = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_hand_on(reader, to_model), _hand_on(from_model, writer))


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@pytest.fixture
async def emulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GeminiLiveEmulator]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    async with GeminiLiveEmulator(Script.parse({"rules": []})) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield emulator


@asynccontextmanager
async def a_proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy


async def test_it_goes_through_the_proxy_that_the_environment_names(
    emulator: GeminiLiveEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        client = GeminiClient("a-key")
        for _ in range(2):
            async with client.connect(CONFIG):
                pass
    assert proxy.asked == [f"CONNECT {emulator.url.removeprefix('https://')}"] * 2
    assert len(emulator.sessions) == 2


async def test_it_goes_past_a_proxy_that_the_environment_takes_the_model_from(
    emulator: GeminiLiveEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with GeminiClient("a-key").connect(CONFIG):
            pass
    assert proxy.asked == []
    assert len(emulator.sessions) == 1


# --- where to, and as whom -------------------------------------------------------------------


async def test_the_address_is_the_environments_and_the_key_goes_in_a_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        a_wire(tmp_path, monkeypatch, slash="/gateway") as wire,
        GeminiClient("a-key", "gemini-9").connect(CONFIG),
    ):
        pass
    (opening,) = wire
    assert opening.path.startswith("/gateway/ws/google.ai.generativelanguage.")
    assert ("x-goog-api-key", "a-key") in opening.headers
    assert json.loads(opening.message)["setup"]["model"] == "models/gemini-9"


@pytest.mark.parametrize("variable", ["GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"])
async def test_an_environment_made_for_vertex_ai_leaves_it_with_the_gemini_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    async with a_wire(tmp_path, monkeypatch) as wire:
        async with GeminiClient("a-key").connect(CONFIG):
            pass
        monkeypatch.setenv(variable, "true")
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "https://127.0.0.1:1")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "a-project")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "europe-west1")
        async with GeminiClient("a-key").connect(CONFIG):
            pass
    without, within = wire
    assert within == without


async def test_a_live_connection_is_kept_by_patient_pings(emulator: GeminiLiveEmulator) -> None:
    async with GeminiClient("a-key").connect(CONFIG) as session:
        socket = session.hear.__self__  # type: ignore[attr-defined]
        assert (socket.ping_interval, socket.ping_timeout) == (20, 60)
        assert socket.close_timeout == 1
        assert socket.protocol.extensions == [], "nothing is compressed"


async def test_no_call_builds_tls_contexts_of_its_own(
    emulator: GeminiLiveEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = GeminiClient("a-key")

    def build(*args: object, **kwargs: object) -> None:
        raise AssertionError("a context was built")

    monkeypatch.setattr(ssl, "create_default_context", build)
    for _ in range(2):
        async with client.connect(CONFIG):
            pass
    assert len(emulator.sessions) == 2


# --- refused, given up, left -----------------------------------------------------------------


async def close_it(model: ServerConnection) -> None:
    await model.close(1007, "no such handle")


async def break_it(model: ServerConnection) -> None:
    model.transport.abort()


@pytest.mark.parametrize(("answer", "code"), [(close_it, 1007), (break_it, 1006)])
async def test_a_close_instead_of_an_answer_is_an_error_of_the_api(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, code: int
) -> None:
    async with a_wire(tmp_path, monkeypatch, answer):
        with pytest.raises(APIError) as refused:
            await GeminiClient("a-key").connect(CONFIG).__aenter__()
        sdk = genai.Client(api_key="a-key")
        with pytest.raises(APIError) as theirs:
            await sdk.aio.live.connect(model="m").__aenter__()
    assert (refused.value.code, str(refused.value)) == (code, str(theirs.value))


async def test_a_handshake_that_is_refused_says_with_which_status(
    emulator: GeminiLiveEmulator,
) -> None:
    emulator.faults.append(ConnectFault(http_status=403))
    with pytest.raises(InvalidStatus) as refused:
        await GeminiClient("a-key").connect(CONFIG).__aenter__()
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("then", [200, 403])
async def test_a_redirect_leaves_no_open_socket_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: int
) -> None:
    asked: list[ServerConnection] = []

    def redirect(model: ServerConnection, request: Request) -> Response | None:
        asked.append(model)
        if request.path != "/there":
            response = model.respond(302, "")
            response.headers["Location"] = "/there"
            return response
        return None if then == 200 else model.respond(then, "")

    async def take_it_on(model: ServerConnection) -> None:
        await model.recv()
        await model.send('{"setupComplete": {}}')
        await model.wait_closed()

    certificate = make_certificate(tmp_path)
    async with serve(
        take_it_on, "127.0.0.1", 0, ssl=certificate.server_context(), process_request=redirect
    ) as listening:
        port = listening.sockets[0].getsockname()[1]
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"https://127.0.0.1:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_file))
        connection = GeminiClient("a-key").connect(CONFIG)
        if then == 200:
            async with connection as session:
                assert session.hear(bytes(640))
        else:
            with pytest.raises(InvalidStatus):
                await connection.__aenter__()
        async with asyncio.timeout(5):
            for model in asked:
                await model.wait_closed()
    assert len(asked) == 2


@pytest.mark.parametrize("answer", ["{", "\ud7ff", "[]", '"setupComplete"', b"\xff\xfe{}"])
async def test_an_answer_that_is_no_object_is_refused_and_the_socket_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str | bytes
) -> None:
    closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def nonsense(model: ServerConnection) -> None:
        await model.send(answer)
        await model.wait_closed()
        closed.set_result(model.close_code)

    async with a_wire(tmp_path, monkeypatch, nonsense):
        with pytest.raises((ValueError, AttributeError)):
            await GeminiClient("a-key").connect(CONFIG).__aenter__()
        assert await closed == 1011


async def test_one_that_is_given_up_while_the_model_is_silent_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    asked, closed = loop.create_future(), loop.create_future()

    async def be_silent(model: ServerConnection) -> None:
        asked.set_result(None)
        await model.wait_closed()
        closed.set_result(model.close_code)

    async with a_wire(tmp_path, monkeypatch, be_silent):
        entering = asyncio.create_task(GeminiClient("a-key").connect(CONFIG).__aenter__())
        await asked
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert await closed == 1011


async def test_a_model_that_answers_no_more_is_not_waited_for_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with frozen(tmp_path, monkeypatch) as (asked, gone):
        entering = asyncio.create_task(GeminiClient("a-key").connect(CONFIG).__aenter__())
        await asked
        entering.cancel()
        done, _ = await asyncio.wait({entering}, timeout=5)
        assert done
        assert entering.cancelled()
        await gone


async def test_one_that_is_given_up_twice_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_client, "CLOSED_WITHIN_SECS", 60)
    async with frozen(tmp_path, monkeypatch) as (asked, gone):
        entering = asyncio.create_task(GeminiClient("a-key").connect(CONFIG).__aenter__())
        await asked
        for _ in range(2):
            entering.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await entering
        async with asyncio.timeout(5):
            await gone


@asynccontextmanager
async def frozen(
    folder: Path, environment: pytest.MonkeyPatch
) -> AsyncIterator[tuple[asyncio.Future[None], asyncio.Future[None]]]:
    """A model that reads nothing behind the setup: when it was asked, and when it was left."""
    loop = asyncio.get_running_loop()
    asked, gone = loop.create_future(), loop.create_future()

    async def freeze(model: ServerConnection) -> None:
        model.data_received = lambda data: None  # type: ignore[method-assign]
        asked.set_result(None)
        await model.wait_closed()
        gone.set_result(None)

    async with a_wire(folder, environment, freeze):
        yield asked, gone


async def test_one_may_be_left_by_another_task_than_entered_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def take_it_on(model: ServerConnection) -> None:
        await model.send('{"setupComplete": {}}')
        await model.wait_closed()
        closed.set_result(model.close_code)

    async with a_wire(tmp_path, monkeypatch, take_it_on):
        connection = GeminiClient("a-key").connect(CONFIG)
        session = await asyncio.create_task(_enter(connection))
        assert session.hear(bytes(640))
        await asyncio.create_task(_leave(connection))
        assert await closed == 1000
        assert not session.hear(bytes(640))


async def _enter(connection: Connection) -> ModelSession:
    return await connection.__aenter__()


async def _leave(connection: Connection) -> None:
    await connection.__aexit__(None, None, None)
