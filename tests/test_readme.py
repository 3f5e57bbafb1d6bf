"""What the README says is what happens: its commands run, its code works, its drawing is true."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, chdir
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from typer.testing import CliRunner

from pipelines.definition import PipelineDefinition
from pipelines.gemini.tools import as_tool
from server.cli.main import app
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import Person, TwilioEmulator
from server.http.serving import held_port
from tests.server.process_template import ProcessTemplate

REPO = Path(__file__).parent.parent
README, DEVELOPMENT, PIPELINES = (
    (REPO / page).read_text(encoding="utf-8")
    for page in ("README.md", "docs/development.md", "docs/pipelines.md")
)


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language, with the indentation of lists taken off."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line]


COMMANDS = commands(README)
# These need no server, and each has a test of its own below.
DEV = 'voice-ai dev --once --say "When do you open?"'
INIT, SHOW = "voice-ai init my-agent", "voice-ai pipelines show restaurant"
REPLAYS = [command for command in COMMANDS if command.startswith("voice-ai replay ")]
# These go on until they are stopped.
EMULATORS = ["voice-ai emulate gemini", "voice-ai emulate twilio"]
SERVE = "voice-ai serve"
ALONE = {DEV, INIT, SHOW, SERVE, *REPLAYS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder as the README assumes it."""
    folder = tmp_path_factory.mktemp("newcomer")
    shutil.copy(REPO / ".env.example", folder)
    (folder / "scenarios").symlink_to(REPO / "scenarios")
    return folder


def clean_environment() -> dict[str, str]:
    """What a newcomer's shell has set after `source .venv/bin/activate`: none of our settings."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return kept | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


async def run(command: str, folder: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_shell(
        command,
        cwd=folder,
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


def run_here(command: str, folder: Path) -> tuple[int, str]:
    """As `run`, for `voice-ai`, without a process that imports everything anew."""
    with (
        chdir(folder),
        patch.dict(os.environ, clean_environment(), clear=True),
        pytest.MonkeyPatch.context() as modules,
    ):
        # `replay` would silence this process's log, too.
        modules.setitem(sys.modules, "server.replay.quiet", ModuleType("quiet"))
        result = CliRunner().invoke(app, shlex.split(command)[1:])
    return result.exit_code, result.output


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 200
    assert max(map(len, README.splitlines())) <= 320
    # The first call is heard from what one screen shows.
    assert README[: README.index("make demo")].count("\n") < 15


def test_every_command_is_known_to_these_tests() -> None:
    others = {c for c in COMMANDS if not c.startswith(("curl ", "voice-ai "))}
    assert others == {"make demo", "source .venv/bin/activate", "cd my-agent", "pytest"}
    assert "`cp .env.example .env`" in README
    assert set(COMMANDS) >= ALONE
    assert set(commands(DEVELOPMENT)) == {DEV, *EMULATORS}
    assert commands(PIPELINES) == []


def test_its_figures_are_those_of_the_bench() -> None:
    bench = (REPO / "docs" / "bench.md").read_text(encoding="utf-8")
    rows = {
        "picked up → first sound": "answer_to_first_sound",
        "Gemini's first sound → at the phone": "model_first_chunk_to_sound",
        "cut off the last sentence": "lost_of_last_reply",
    }
    for row, name in rows.items():
        written = re.search(rf"^\| {row} \| (.*) ms \| (.*) ms \| (.*) \|$", README, re.MULTILINE)
        measured = re.search(
            rf"^\| `{name}` \|((?: [\d.]+ / [\d.]+ \|){{5}})$", bench, re.MULTILINE
        )
        assert written is not None
        assert measured is not None
        warm, _, _, plain, _ = (cell.split("/")[0].strip() for cell in measured[1][:-1].split("|"))
        assert (written[1], written[2]) == (warm, plain)
        share = f"1/{float(plain) / float(warm):.0f}" if float(warm) else "–"
        assert written[3] == share


def test_every_link_leads_somewhere() -> None:
    pages = [REPO / "README.md", REPO / "CONTRIBUTING.md", *(REPO / "docs").glob("*.md")]
    lost = [
        f"{page.name}: {link}"
        for page in pages
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert lost == []


def test_what_make_test_and_check_run_is_what_ci_runs() -> None:
    ci = (REPO / ".ci" / "run").read_text()
    assert "make test" in ci
    assert "make check" in ci


# `tests/e2e/test_demo.py` plays the same in virtual time.
@pytest.mark.long
def test_make_demo_plays_a_conversation_in_which_nothing_is_wrong() -> None:
    demo = subprocess.run(
        ["make", "demo"], cwd=REPO, capture_output=True, text=True, check=False, timeout=110
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "completed, ended by agent" in demo.stdout
    rows = re.findall(r"^  ([^\d\s].*?)  ", blocks(README, "text")[0], re.MULTILINE)
    assert len(rows) >= 7
    assert [row for row in rows if row not in demo.stdout] == []
    for name in ("demo.wav", "demo.txt"):
        assert (REPO / "out" / name).stat().st_size > 100


@pytest.fixture
async def served(
    folder: Path, process_template: ProcessTemplate
) -> AsyncIterator[tuple[str, TwilioEmulator]]:
    """`cp .env.example .env`, filled in, and `voice-ai serve`, as the README has it."""
    assert await run("cp .env.example .env", folder) == (0, "")
    with held_port() as port:
        async with served_on(port, folder, process_template) as served:
            yield served


@asynccontextmanager
async def served_on(
    port: int, folder: Path, process_template: ProcessTemplate
) -> AsyncIterator[tuple[str, TwilioEmulator]]:
    address = f"127.0.0.1:{port}"
    async with GeminiLiveEmulator() as gemini, TwilioEmulator(numbers=["+15550100999"]) as twilio:
        (folder / "person.yaml").write_text(blocks(DEVELOPMENT, "yaml")[0])
        twilio.anyone = Person.load(folder / "person.yaml")
        values = {
            **gemini.environment(),
            **twilio.environment(),
            "GEMINI_API_KEY": "emulated",
            "BASE_URL": f"http://{address}",
            "PORT": str(port),
        }
        env_file = folder / ".env"
        text = env_file.read_text()
        for name, value in values.items():
            text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
            assert count == 1, f"{name} is not in .env.example"
        env_file.write_text(text)
        async with process_template.running(
            *shlex.split(SERVE)[1:], folder=folder, environment=clean_environment()
        ) as process:
            assert b"Listening on" in await process.stdout.readline()
            await until_ready(f"http://{address}")
            yield address, twilio
            process.terminate()
            await process.wait()


async def until_ready(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        while True:
            try:
                if (await http.get("/health/ready")).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)


async def test_the_commands_work_against_the_server_they_speak_of(
    served: tuple[str, TwilioEmulator], folder: Path
) -> None:
    address, twilio = served
    said = {}
    for command in COMMANDS:
        if command.startswith(("curl ", "voice-ai ")) and command not in ALONE:
            command = command.replace("127.0.0.1:8000", address)
            if command.startswith("voice-ai "):
                code, said[command] = await asyncio.to_thread(run_here, command, folder)
            else:
                code, said[command] = await run(command, folder)
            assert code == 0, f"{command}\n{said[command]}"
    everything = "\n".join(said.values())
    for sign in (
        "Hello Ms Lee, this is Ada.",
        "We are open every day",
        # Of the call that is placed; its status is whatever Twilio has told by then.
        '"phone_number":"+15550100123"',
    ):
        assert sign in everything, sign
    await twilio.calls[-1].settled()


@pytest.mark.parametrize("command", REPLAYS)
def test_shipped_scenarios_are_replayed(command: str, folder: Path) -> None:
    # One of them stands for all: each is a test in `tests/scenarios`.
    code, said = run_here(f"{command} --filter hello_over_the_greeting", folder)
    assert code == 0, said
    assert re.search(r"^1 passed in ", said, re.MULTILINE), said
    assert (folder / "out" / "replay.html").stat().st_size > 100_000


def test_the_scenario_holds(folder: Path) -> None:
    (folder / "bakery.yaml").write_text(blocks(README, "yaml")[0])
    code, said = run_here("voice-ai replay bakery.yaml", folder)
    assert (code, "1 passed in" in said) == (0, True), said


@pytest.mark.real_time
async def test_dev_prints_a_conversation(folder: Path) -> None:
    # The certificates of a shell are not in the way.
    code, said = await run(f"SSL_CERT_FILE=/nowhere.pem {DEV} --port 0", folder)
    assert code == 0, said
    spoken = re.findall(r"^ *\d+\.\d\d s  (agent|caller) +(.+)$", said, re.MULTILINE)
    assert spoken[0] == ("agent", "Hello! How can I help you today?")
    assert spoken[1] == ("caller", "When do you open?")
    assert spoken[2][1].startswith("We are open every day")
    assert "completed (caller)" in said


async def test_init_makes_a_project_whose_pipeline_is_known_there(folder: Path) -> None:
    # That its `pytest` passes is tested in `tests/server/scaffold`.
    code, said = await asyncio.to_thread(run_here, INIT, folder)
    assert code == 0, said
    code, said = await run(SHOW, folder / "my-agent")
    assert code == 0, said
    assert "gemini_live" in said


@pytest.mark.parametrize("command", EMULATORS)
async def test_an_emulator_prints_what_a_server_needs(
    command: str, folder: Path, process_template: ProcessTemplate
) -> None:
    words = f"{command} --port 0".split()[1:]
    async with process_template.running(
        *words, folder=folder, environment=clean_environment()
    ) as process:
        said = b""
        while said.count(b"=") < 2:
            line = await process.stdout.readline()
            assert line, said
            said += line
        assert re.search(rb"GOOGLE_GEMINI_BASE_URL=|TWILIO_API_BASE_URL=", said)


def test_the_default_pipeline_is_printed_as_it_is() -> None:
    source = (REPO / "pipelines" / "phone_call.py").read_text(encoding="utf-8")
    assert blocks(README, "python")[0] in source


def test_the_code_works() -> None:
    _, short_tool = blocks(README, "python")
    pipeline, tool = blocks(PIPELINES, "python")
    names: dict[str, Any] = {}
    exec(compile(pipeline, "pipelines.md", "exec"), names)
    assert isinstance(names["MY_CALL"], PipelineDefinition)
    exec(compile(tool, "pipelines.md", "exec"), names)
    assert as_tool(names["book_table"]).name == "book_table"
    exec(compile(short_tool, "README.md", "exec"), names)
    assert as_tool(names["book_table"]).description == "Book a table at the restaurant."
