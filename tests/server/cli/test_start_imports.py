"""Modules that a start imports: what serving needs, and nothing that only others need."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from server.migrations import upgrade
from tests.server.cli.test_serve import serve

OURS = {"server", "agent", "processors", "pipelines"}

# A start imports these whatever we do: each is needed before the first call is answered.
NEEDED = (
    "fastapi, uvicorn, uvloop, httptools, sqlmodel, aiosqlite, sqlalchemy.ext.asyncio, "
    "google.genai.live, pipecat.pipeline.worker, pipecat.workers.runner, pydantic_settings, "
    "loguru, prometheus_client, typer, twilio.twiml.voice_response, pydantic.v1, "
    "sqlalchemy.dialects.sqlite.aiosqlite, uvicorn.protocols.http.httptools_impl"
)
# Heavy packages of other commands, of other settings, and of the first start alone.
NOT_NEEDED_TO_SERVE = {
    *("alembic", "mako", "twilio.rest", "redis", "asyncpg"),
    *("yaml", "espeakng_loader", "pocketsphinx", "soundfile", "cryptography", "pytest"),
    *("server.emulators", "server.replay", "server.demo", "server.bench"),
    # What Pipecat and google-genai bring along when more of them is asked for.
    *("onnxruntime", "transformers", "mcp", "openai", "torch", "google.cloud", "grpc"),
}
NOT_NEEDED_FOR_HELP = NOT_NEEDED_TO_SERVE | {
    *("google.genai", "sqlalchemy", "sqlmodel", "pipecat", "fastapi", "starlette", "uvicorn"),
    *("numpy", "soxr", "httpx", "aiohttp", "websockets", "prometheus_client", "pipelines"),
}

# Says which modules are there when the server says that it answers, and ends it.
SERVING = """
import asyncio, json, os, sys, typer

def tell(says):
    print(json.dumps(sorted(sys.modules)), flush=True)
    os._exit(0)

typer.echo = tell
from server.cli.main import app
app()
"""
HELP = """
import json, sys
from server.cli.main import app
try:
    app(["--help"])
finally:
    print(json.dumps(sorted(sys.modules)))
"""
BARE = f"import json, sys, {NEEDED}; print(json.dumps(sorted(sys.modules)))"


def modules_of(program: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def unwanted(modules: set[str], packages: set[str]) -> set[str]:
    return packages & {".".join(name.split(".")[:depth]) for name in modules for depth in (1, 2)}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules of a server that listens, whose database has the newest schema."""
    folder = tmp_path_factory.mktemp("served")
    database = f"sqlite+aiosqlite:///{folder}/calls.db"
    asyncio.run(upgrade(database))
    return set(json.loads(serve(SERVING, folder, DATABASE_URL=database).stdout))


def test_help_imports_no_vendor_no_database_and_no_server() -> None:
    modules = modules_of(HELP, Path(__file__).parents[3])
    assert "server.cli.serve" in modules
    assert unwanted(modules, NOT_NEEDED_FOR_HELP) == set()


def test_a_server_that_listens_has_imported_nothing_of_other_commands(serving: set[str]) -> None:
    assert {"server.app", "pipelines.phone_call", "google.genai.live"} <= serving
    assert unwanted(serving, NOT_NEEDED_TO_SERVE) == set()


def test_a_start_imports_little_more_than_the_libraries_that_it_is_made_of(
    serving: set[str],
) -> None:
    bare = modules_of(BARE, Path(__file__).parents[3])
    more = {name for name in serving - bare if name.split(".")[0] not in OURS}
    assert len(more) < 0.1 * len(bare), sorted(more)
