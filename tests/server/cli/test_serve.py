"""What `voice-ai serve` does before it takes calls, seen in a process of its own."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from server.cli.start_report import start_facts
from server.observability.gc_policy import MIDDLE_COLLECTIONS, YOUNG_COLLECTIONS, YOUNG_OBJECTS
from server.settings.settings import Settings
from tests.server.process_template import ProcessTemplate

ROOT = Path(__file__).parents[3]
# Says how the process is set when the server says that it answers, and ends it.
TOLD = """
import asyncio, gc, json, os, typer

def tell(says):
    loop = type(asyncio.get_running_loop())
    told = {"says": says, "loop": loop.__module__, "gc": gc.get_threshold()}
    print(json.dumps(told | {"frozen": gc.get_freeze_count()}), flush=True)
    os._exit(0)

typer.echo = tell
from server.cli.main import app
app()
"""


def clean_environment(**settings: str) -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | settings


def serve(program: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, "serve", "--port", "0"],
        cwd=folder,
        env=clean_environment(PYTHONPATH=str(ROOT), **settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_runs_on_uvloop_and_has_settled_when_it_says_that_it_listens(tmp_path: Path) -> None:
    # This process imports everything itself, so that it also shows what that writes.
    process = serve(TOLD, tmp_path)
    assert "Pipecat" not in process.stderr
    told = json.loads(process.stdout)
    assert told["says"].startswith("Listening on http://127.0.0.1:")
    assert told["loop"] == "uvloop"
    assert told["gc"] == [YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS]
    assert told["frozen"] > 100_000


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem", "The certificates in /nowhere/ca.pem cannot"),
        ("HTTPS_PROXY", "socks5://127.0.0.1:1080", "http:// or https://"),
        ("HTTPS_PROXY", "http://someone:geheim@127.0.0.1:99999", "proxy of the environment"),
    ],
)
async def test_a_way_to_twilio_that_is_none_is_told_before_the_start(
    process_template: ProcessTemplate, tmp_path: Path, name: str, value: str, why: str
) -> None:
    credentials = {
        "TWILIO_ACCOUNT_SID": "AC" + 32 * "0",
        "TWILIO_AUTH_TOKEN": "a-token",
        "TWILIO_PHONE_NUMBER": "+15550100999",
    }
    environment = clean_environment(**credentials, **{name: value})
    done = await process_template.run(
        "serve", "--port", "0", folder=tmp_path, environment=environment
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Twilio's REST API cannot be asked: ")
    assert why in line
    assert "geheim" not in line


@pytest.mark.long
def test_the_log_begins_with_what_the_server_uses(tmp_path: Path) -> None:
    """Redis cannot be reached; a folder without settings and database is usual at first."""
    told = serve(TOLD, tmp_path, REDIS_URL="redis://me:geheim@127.0.0.1:9/0")
    block = [line.split(maxsplit=1)[1] for line in told.stderr.splitlines() if "Start: " in line]
    abouts = [line.split("Start: ")[1].split("  is=")[0] for line in block]
    assert abouts == [
        *("version", "settings file", "database", "redis", "calls out", "calls in", "reached as")
    ]
    assert f"none ({tmp_path} has no .env)" in block[1]
    assert f"{tmp_path}/voice-ai.db, made by this start" in block[2]
    assert "redis://127.0.0.1:9/0 cannot be reached: " in block[3]
    assert "TWILIO_ACCOUNT_SID" in block[4]
    wrong = [line for line in block if line.startswith("WARNING")]
    assert [line.split("Start: ")[1].split("  is=")[0] for line in wrong] == [
        *("redis", "calls out")
    ]
    assert "geheim" not in told.stderr
    (tmp_path / ".env").write_text("LOG_LEVEL=INFO\n")
    again = serve(TOLD, tmp_path, BASE_URL="https://voice.example.com").stderr
    assert f"Start: settings file  is={tmp_path}/.env\n" in again
    assert "made by this start" not in again
    assert "Start: reached as  is=https://voice.example.com, listening on 127.0.0.1:0\n" in again


async def test_without_settings_a_new_database_is_a_warning_in_production_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    in_production = Settings().model_copy(update={"environment": "production"})
    for settings, expected in ((Settings(), []), (in_production, ["settings file", "database"])):
        facts = await asyncio.to_thread(start_facts, settings, is_new=True, host="127.0.0.1")
        wrong = [fact.about for fact in facts if fact.is_wrong and fact.about != "calls out"]
        assert wrong == expected


async def test_what_a_database_says_is_one_line_without_control_characters(
    process_template: ProcessTemplate, tmp_path: Path
) -> None:
    said = b"SFATAL\0C28000\0M\x1b[31mred\xc2\x9b\r06:00:00 fake\0\0"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        answering = threading.Thread(target=refuse_all, args=(listening, said), daemon=True)
        answering.start()
        url = f"postgresql+asyncpg://someone:geheim@127.0.0.1:{listening.getsockname()[1]}/calls"
        done = await process_template.run(
            *("serve", "--port", "0"),
            folder=tmp_path,
            environment=clean_environment(DATABASE_URL=url),
        )
    assert done.returncode == 1
    (line,) = [one for one in done.stderr.split("\n") if "DATABASE_URL" in one]
    assert "the database cannot be used: " in line
    assert "\\x1b[31mred" in line
    assert not set(done.stderr) & {"\x1b", "\x9b", "\r"}
    assert "geheim" not in done.stderr


def refuse_all(listening: socket.socket, said: bytes) -> None:
    """Answer as PostgreSQL does that lets nobody in: no TLS, and an ErrorResponse.

    Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
    """
    while True:
        try:
            peer, _ = listening.accept()
        except OSError:
            return
        with peer:
            asked = peer.recv(1000)
            if len(asked) == 8:
                peer.sendall(b"N")
                peer.recv(1000)
            peer.sendall(b"E" + (len(said) + 4).to_bytes(4, "big") + said)
