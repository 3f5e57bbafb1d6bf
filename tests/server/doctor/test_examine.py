"""The doctor on a whole installation: well, and with each thing broken in turn."""

import shutil
import sqlite3
from collections import namedtuple
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from server.dev.state_folder import address_noted, address_of_dev, open_state_folder
from server.doctor import machine_check
from server.doctor.dev_check import check_dev
from server.emulators.gemini_live import GeminiLiveEmulator, certificate
from server.emulators.gemini_live.certificate import make_certificate
from server.http.serving import listen
from server.migrations import downgrade
from tests.server.conftest import OUR_NUMBER, ServerFactory
from tests.server.doctor.conftest import Patient, marked, proxy

SECRETS = ("the-right-key", "emulated-auth-token", "geheim")
CLOSED = "127.0.0.1:9"


async def test_an_installation_that_is_well(patient: Patient, redis_url: str) -> None:
    found = await patient.examine(redis_url=redis_url)
    assert marked(found, "fail") == {}
    assert marked(found, "warn") == {}
    assert marked(found, "ok").keys() == {
        *("database", "redis", "twilio", "twilio number", "twilio webhook", "base url"),
        *("signature", "websocket", "gemini", "port", "clock", "disk"),
    }
    assert marked(found, "skip").keys() == {"temporal"}
    assert not any(it.do for it in found)


# What is changed, what of it fails, and what is said then.
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"twilio_auth_token": "geheim"}, "twilio", "refuses the credentials (HTTP 401)"),
    ({"twilio_auth_token": "geheim"}, "signature", "refuses a webhook that is signed"),
    ({"twilio_auth_token": "geheim"}, "websocket", "HTTP 403 instead of a WebSocket"),
    ({"twilio_account_sid": "AC" + 32 * "9"}, "twilio", "refuses the credentials"),
    ({"twilio_phone_number": "+15550100888"}, "twilio number", "no number of this account"),
    ({"twilio_phone_number": None}, "twilio", "TWILIO_PHONE_NUMBER not set"),
    ({"twilio_api_base_url": f"http://{CLOSED}"}, "twilio", "cannot be asked"),
    ({"gemini_api_key": "geheim"}, "gemini", "no session of models/"),
    ({"gemini_api_key": None}, "gemini", "GEMINI_API_KEY not set"),
    ({"redis_url": f"redis://me:geheim@{CLOSED}/0"}, "redis", f"redis://{CLOSED}/0 cannot"),
    ({"temporal_address": CLOSED}, "temporal", "Temporal at"),
    ({"base_url": f"http://{CLOSED}"}, "base url", "cannot be reached"),
    ({"database_url": "sqlite+aiosqlite:////nowhere/x.db"}, "database", "no folder /nowhere"),
    (
        {"database_url": f"postgresql+asyncpg://me:geheim@{CLOSED}/calls"},
        "database",
        f"postgresql+asyncpg://me:***@{CLOSED}/calls cannot be used",
    ),
]


async def test_each_setting_that_is_wrong_is_named_with_what_to_do(patient: Patient) -> None:
    for changes, name, says in WRONG:
        found = await patient.examine(**changes)
        assert says in marked(found, "fail").get(name, ""), changes
        assert all(it.do for it in found if it.mark == "fail")
        assert not any(secret in f"{it.says} {it.do}" for secret in SECRETS for it in found)


async def test_a_number_that_is_not_set_up(patient: Patient) -> None:
    patient.twilio.voice_urls[OUR_NUMBER] = "https://demo.twilio.com/welcome"
    found = await patient.examine()
    assert marked(found, "fail") == {}
    assert "demo.twilio.com" in marked(found, "warn")["twilio webhook"]
    patient.twilio.mute_numbers.add(OUR_NUMBER)
    assert "cannot carry calls" in marked(await patient.examine(), "fail")["twilio number"]
    patient.twilio.account_status = "suspended"
    assert marked(await patient.examine(), "fail")["twilio"] == "the account is suspended"


async def test_a_certificate_of_gemini_that_nobody_trusts(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(make_certificate(tmp_path).ca_file))
    found = await patient.examine()
    assert "(certificate)" in marked(found, "fail")["gemini"]
    assert any("SSL_CERT_FILE" in it.do for it in found)


async def test_the_schema_of_another_version(patient: Patient) -> None:
    url = f"sqlite+aiosqlite:///{patient.folder / 'older.db'}"
    assert "is not there yet" in marked(await patient.examine(database_url=url), "warn")["database"]
    shutil.copy(patient.folder / "calls.db", patient.folder / "older.db")
    await downgrade(url, "0003")
    assert "revision 0003" in marked(await patient.examine(database_url=url), "warn")["database"]
    with sqlite3.connect(patient.folder / "older.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    found = await patient.examine(database_url=url)
    assert "does not know" in marked(found, "fail")["database"]
    (patient.folder / "older.db").write_bytes(b"no database" * 1000)
    (patient.folder / "older.db-wal").unlink(missing_ok=True)
    found = await patient.examine(database_url=url)
    assert "cannot be used" in marked(found, "fail")["database"]


async def test_an_address_that_is_somebody_elses(patient: Patient) -> None:
    found = await patient.examine(base_url=patient.twilio.url)
    assert "answered by something else" in marked(found, "fail")["base url"]


async def test_a_proxy_that_changes_the_address_is_found_by_the_signature(patient: Patient) -> None:
    """The server checks with its own BASE_URL, which is not the proxy's."""
    async with proxy() as front:
        front.target = patient.server.url
        found = await patient.examine(base_url=front.url)
    assert marked(found, "fail").keys() == {"signature", "websocket"}


def _without_upgrade(data: bytes) -> bytes:
    return data.replace(b"Upgrade: websocket", b"X-Gone: websocket")


@pytest.mark.parametrize(
    ("change", "days", "fails", "warns"),
    [
        (bytes, 30, set(), set()),
        (bytes, 5, set(), {"certificate"}),
        (_without_upgrade, 30, {"websocket"}, set()),
    ],
    ids=["well", "certificate ends soon", "no WebSockets"],
)
async def test_a_proxy_with_https(
    change: Callable[[bytes], bytes],
    days: int,
    fails: set[str],
    warns: set[str],
    patient: Patient,
    start_server: ServerFactory,
    gemini: GeminiLiveEmulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(certificate, "VALID_FOR", timedelta(days=days, hours=1))
    made = make_certificate(tmp_path)
    both = tmp_path / "both.pem"
    ours = Path(gemini.environment()["SSL_CERT_FILE"])
    both.write_bytes(made.ca_file.read_bytes() + ours.read_bytes())  # noqa: ASYNC240
    monkeypatch.setenv("SSL_CERT_FILE", str(both))
    async with (
        proxy(change, made) as front,
        start_server(base_url=front.url, gemini_api_key="the-right-key") as behind,
    ):
        front.target = behind.url
        port = urlsplit(behind.url).port
        found = await patient.examine(base_url=front.url, port=port)
    assert marked(found, "fail").keys() == fails
    assert marked(found, "warn").keys() - {"twilio webhook"} == warns


async def test_a_port_that_another_program_has(patient: Patient) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        found = await patient.examine(port=taken.getsockname()[1])
        assert "another program" in marked(found, "fail")["port"]
    assert "no server runs here" in marked(found, "skip")["base url"]


async def test_a_disk_that_is_nearly_full(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine_check.shutil, "disk_usage", lambda _: usage(1, 1, 50_000_000))
    found = marked(await patient.examine(recordings=True), "fail")
    assert found.keys() == {"disk", "recordings disk"}


async def test_a_clock_that_is_wrong(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine_check.time.time
    monkeypatch.setattr(machine_check, "time", type("Clock", (), {"time": lambda: real() + 100}))
    assert "ahead of" in marked(await patient.examine(), "fail")["clock"]
    monkeypatch.setattr(machine_check, "time", type("Clock", (), {"time": lambda: real() - 10}))
    assert "behind" in marked(await patient.examine(), "warn")["clock"]


async def test_a_dev_server_of_this_folder_is_noticed_while_it_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert await check_dev(address_of_dev()) == []
    with listen("127.0.0.1", 0) as serving:
        url = f"http://127.0.0.1:{serving.getsockname()[1]}"
        with address_noted(open_state_folder(), url):
            serving.listen()
            (found,) = await check_dev(address_of_dev())
            assert found.says.startswith(f"`voice-ai dev` serves at {url}: ")
        assert await check_dev(address_of_dev()) == []
    # One that was killed left its address behind.
    (tmp_path / ".voice-ai" / "address").write_text(url)
    assert await check_dev(address_of_dev()) == []
