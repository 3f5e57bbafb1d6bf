"""`voice-ai` against a running server: what it prints, and its exit codes."""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from typer.testing import Result

import pipelines
from pipelines.call import catalogue
from server.about import own_version
from server.emulators.twilio import Busy, Invalid, NoAnswer, TwilioEmulator
from server.http.serving import listen
from tests.server.conftest import THEIRS, Running, ServerFactory
from tests.server.process_template import Ended, ProcessTemplate

Command = Callable[..., Result]
MAIN = [sys.executable, "-c", "from server.cli.main import app; app()"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def let_it_ring(twilio: TwilioEmulator) -> None:
    twilio.anyone = NoAnswer()


async def test_dial_places_a_call_and_calls_shows_and_ends_it(
    server: Running, voice_ai: Command
) -> None:
    async def run(*words: str) -> Result:
        return await asyncio.to_thread(voice_ai, *words, "--server", server.url)

    dialled = await run("dial", THEIRS, "--greeting", "Good day", "--pipeline", "phone_call")
    assert dialled.exit_code == 0, dialled.output
    call_id, status = dialled.output.split()
    assert status in ("initiated", "ringing")
    listed = await run("calls", "list")
    assert listed.output.splitlines()[0].split() == [
        *("id", "created", "(UTC)", "way", "number", "status", "ended", "by", "lasted")
    ]
    assert call_id[:8] in listed.output
    assert THEIRS in listed.output
    shown = await run("calls", "show", call_id[:8])
    assert shown.output.startswith(f"{call_id}  ")
    assert "life.placed" in shown.output
    assert (await run("calls", "transcript", call_id)).exit_code == 0
    assert "still live" in (await run("calls", "erase", "--yes", call_id)).output
    assert (await run("calls", "hang-up", call_id[:6])).exit_code == 0
    result = await server.http.get(f"/calls/{call_id}/result", params={"wait": 20})
    assert result.json()["end_reason"] == "api"
    assert (await run("calls", "erase", call_id)).exit_code == 1  # nobody says yes
    assert (await run("calls", "erase", "--yes", call_id[:8])).output == f"{call_id} erased\n"
    assert (await server.http.get(f"/calls/{call_id}")).status_code == 404
    nobody = await run("calls", "show", "nope")
    assert nobody.exit_code == 1
    assert "no call with this id" in nobody.output
    elsewhere = await run("calls", "show", "../health")
    assert "no call with this id" in elsewhere.output


async def test_dial_sends_metadata(server: Running, voice_ai: Command) -> None:
    words = ["dial", THEIRS, "--greeting", "Hello $name, of $firm!", "--server", server.url]
    words += ["--metadata", "name=Ms Lee", "--metadata", "firm=A=B"]
    dialled = await asyncio.to_thread(voice_ai, *words)
    assert dialled.exit_code == 0, dialled.output
    call = (await server.http.get(f"/calls/{dialled.output.split()[0]}")).json()
    assert call["metadata"] == {"name": "Ms Lee", "firm": "A=B"}


def test_dial_warns_of_a_name_that_no_metadata_is_for(voice_ai: Command) -> None:
    words = ("--metadata", "name=Ms Lee", "--prompt", "Call ${name} at $$5.")
    # Nobody listens there: the warning comes first.
    nowhere = ("--server", "http://127.0.0.1:9")
    dialled = voice_ai("dial", THEIRS, "--greeting", "Hello $naem", *words, *nowhere)
    warnings = [line for line in dialled.stderr.splitlines() if line.startswith("Warning")]
    assert warnings == [
        "Warning: no --metadata is named 'naem': $naem of --greeting stays as it is written."
    ]


@pytest.mark.parametrize("pairs", [["Ms Lee"], ["=Ms Lee"], ["name=a", "name=b"]])
def test_dial_refuses_what_is_no_metadata(voice_ai: Command, pairs: list[str]) -> None:
    words = [word for pair in pairs for word in ("--metadata", pair)]
    refused = voice_ai("dial", THEIRS, *words)
    assert refused.exit_code == 2
    assert "--metadata" in refused.output


MINE = """
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL
MINE = PipelineDefinition(name="bread", description="Sells bread.", steps=PHONE_CALL.steps)
"""


def test_pipelines_of_the_working_folder_are_listed_and_drawn(
    voice_ai: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bread_calls.py").write_text(MINE)
    (tmp_path / ".env").write_text("PIPELINES=bread_calls\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    try:
        listed = voice_ai("pipelines")
        assert re.search(r"^bread +Sells bread\.$", listed.output, re.MULTILINE), listed.output
        assert "phone_call" in listed.output
        assert "gemini_live" in voice_ai("pipelines", "show", "bread").output
        # The environment wins over the file.
        monkeypatch.setenv("PIPELINES", "nowhere.calls")
        broken = voice_ai("pipelines")
        assert broken.exit_code == 1
        assert "there is no module 'nowhere.calls'" in broken.output
        monkeypatch.setenv("PORT", "0")
        monkeypatch.chdir(tmp_path)
        served = voice_ai("serve")
        assert served.exit_code == 2
        assert "there is no module 'nowhere.calls'" in served.output
    finally:
        catalogue.use(())


async def test_nothing_of_a_call_is_obeyed_by_the_terminal(
    start_server: ServerFactory, voice_ai: Command
) -> None:
    forged = "\x1b[31mRED\n06:00:00\u202e ERROR fake"
    async with start_server() as server:
        form = {"CallSid": "CA" + "1" * 32, "From": forged, "To": f"sip:{forged}"}
        assert (await server.twilio_posts("/twilio/inbound", form)).status_code == 200
        (call,) = (await server.http.get("/calls")).json()["calls"]
        reported = {"CallSid": "CA" + "1" * 32, "StreamEvent": forged, "StreamError": forged}
        await server.twilio_posts(f"/twilio/stream-status/{call['id']}", reported)
        for words in (("calls", "list"), ("calls", "show", call["id"]), ("dial", forged)):
            result = await asyncio.to_thread(voice_ai, *words, "--server", server.url)
            assert not set(result.output) & {"\x1b", "\u202e"}
            assert not any(line.startswith("06:00:00") for line in result.output.splitlines())
            if words[1] == "list":
                assert "\\x1b[31mRED\\n06:00:" in result.output
            if words[1] == "show":
                assert "\\x1b[31mRED\\n06:00:00\\u202e ERROR fake" in result.output


async def test_the_recording_of_a_call_is_fetched_into_a_file(
    start_server: ServerFactory, twilio: TwilioEmulator, voice_ai: Command, tmp_path: Path
) -> None:
    twilio.people[THEIRS] = Busy()
    async with start_server() as server:

        async def fetch(call_id: str, *words: str) -> Result:
            words = ("calls", "recording", call_id, "--server", server.url, *words)
            return await asyncio.to_thread(voice_ai, *words)

        call_id = (await server.place())["id"]
        await server.http.get(f"/calls/{call_id}/result", params={"wait": 20})
        (tmp_path / "recordings").mkdir()
        sound = os.urandom(600_000)
        (tmp_path / "recordings" / f"{call_id}.wav").write_bytes(sound)
        fetched = await fetch(call_id, "--to", "call.wav")
        assert (fetched.exit_code, fetched.output) == (0, "call.wav: 600000 bytes\n")
        assert (tmp_path / "call.wav").read_bytes() == sound
        assert (await fetch(call_id)).output == f"{call_id}.wav: 600000 bytes\n"
        nowhere = await fetch(call_id, "--to", "nowhere/call.wav")
        assert nowhere.exit_code == 1
        assert "nowhere/call.wav cannot be written" in nowhere.output
        (tmp_path / "recordings" / f"{call_id}.wav").unlink()
        (tmp_path / "call.wav").unlink()
        none = await fetch(call_id, "--to", "call.wav")
        assert none.exit_code == 1
        assert "There is no recording of this call here." in none.output
        assert not any(name.startswith("call.wav") for name in os.listdir(tmp_path))


async def test_dial_waits_for_the_end_and_its_exit_code_says_how_it_went(
    server: Running, twilio: TwilioEmulator, voice_ai: Command
) -> None:
    twilio.people[THEIRS] = Busy()
    dialled = await asyncio.to_thread(voice_ai, "dial", THEIRS, "--wait", "--server", server.url)
    assert dialled.exit_code == 1
    assert "The line was busy." in dialled.output


async def test_dial_says_why_nothing_rings(
    server: Running, twilio: TwilioEmulator, voice_ai: Command
) -> None:
    refused = await asyncio.to_thread(voice_ai, "dial", "5550100", "--server", server.url)
    assert refused.exit_code == 1
    assert "phone_number" in refused.output
    twilio.anyone = Invalid()
    failed = await asyncio.to_thread(voice_ai, "dial", THEIRS, "--server", server.url)
    assert failed.exit_code == 1
    assert "not valid" in failed.output


async def test_the_key_comes_from_the_option_or_the_environment(
    start_server: ServerFactory, voice_ai: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_server(api_keys=("right",)) as server:

        async def listing(*words: str) -> Result:
            return await asyncio.to_thread(
                voice_ai, "calls", "list", "--server", server.url, *words
            )

        refused = await listing()
        assert refused.exit_code == 1
        assert "API key" in refused.output
        assert (await listing("--api-key", "right")).exit_code == 0
        monkeypatch.setenv("API_KEYS", "right,other")
        assert (await listing()).exit_code == 0


@pytest.mark.parametrize("server_url", ["http://127.0.0.1:9", "nonsense", "ftp://x"])
def test_a_server_that_cannot_be_reached_is_a_sentence(voice_ai: Command, server_url: str) -> None:
    result = voice_ai("calls", "list", "--server", server_url)
    assert result.exit_code == 1
    assert server_url in result.output
    assert "Traceback" not in result.output


def test_no_server_is_started_by_serve_or_by_dev(voice_ai: Command) -> None:
    result = voice_ai("calls", "list", "--server", "http://127.0.0.1:9")
    assert "`voice-ai serve`" in result.output
    assert "`voice-ai dev`" in result.output


def test_help_shows_flags_as_flags_and_whole_sentences(
    voice_ai: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    helped = voice_ai("dev", "--help").output
    assert re.search(
        r"^  --once +End after the call; the exit code says how it went\.$", helped, re.M
    )
    assert "<bool>" not in helped
    for group in ((), ("calls",), ("bench",), ("scenarios",)):
        listed = voice_ai(*group, "--help").output.partition("Commands:")[2]
        assert listed
        assert "..." not in listed
        assert max(len(line) for line in listed.splitlines()) <= 80


def test_version_is_the_packages(voice_ai: Command) -> None:
    assert voice_ai("--version").output == f"voice-ai {own_version()}\n"


def test_pipelines_lists_them_and_show_draws_one(voice_ai: Command) -> None:
    listed = voice_ai("pipelines", "list")
    assert listed.exit_code == 0
    assert voice_ai("pipelines").output == listed.output
    assert [line.split()[0] for line in listed.output.splitlines()] == catalogue.names()
    shown = voice_ai("pipelines", "show", "phone_call")
    assert "flowchart" in shown.output
    assert "gemini" in shown.output.lower()
    only = voice_ai("pipelines", "show", "phone_call", "--mermaid")
    assert only.output.startswith("flowchart")
    unknown = voice_ai("pipelines", "show", "no_such_pipeline")
    assert unknown.exit_code == 1
    assert "phone_call" in unknown.output


def test_serve_says_which_setting_is_wrong(
    voice_ai: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    result = voice_ai("serve")
    assert result.exit_code == 2
    assert "API_KEYS: is needed in production" in result.output


def test_emulate_lists_both_and_hands_its_options_on(voice_ai: Command) -> None:
    both = voice_ai("emulate", "--help")
    assert "gemini" in both.output
    assert "twilio" in both.output


def test_an_emulator_whose_package_is_missing_says_how_to_get_it(
    voice_ai: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "server.cli.emulate_twilio", None)
    result = voice_ai("emulate", "twilio", "--port", "1")
    assert result.exit_code == 1
    assert "voice-ai-system[emulators]" in result.output


def test_a_demo_that_can_leave_nothing_is_not_played(voice_ai: Command) -> None:
    result = voice_ai("demo", "--out", "/proc/nowhere")
    assert result.exit_code == 1
    assert "Cannot write to /proc/nowhere" in result.output
    assert "rings" not in result.output


async def test_serve_listens_where_it_says_and_stops_when_told(
    process_template: ProcessTemplate, tmp_path: Path
) -> None:
    environment = os.environ | {"PORT": "0", "LOG_LEVEL": "WARNING"}
    async with process_template.running(
        "serve", folder=tmp_path, environment=environment
    ) as process:
        said = (await process.stdout.readline()).decode()
        found = re.match(r"Listening on (http://127\.0\.0\.1:\d+) ", said)
        assert found, said
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            assert (await client.get(found.group(1) + "/health/live")).status_code == 200
        assert (tmp_path / "voice-ai.db").exists()
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() in (0, -15)


async def test_serve_on_a_port_that_is_taken_is_a_sentence(
    process_template: ProcessTemplate, tmp_path: Path
) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        done = await process_template.run(
            "serve", "--port", port, folder=tmp_path, environment=os.environ
        )
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


BROKEN = {
    "x = (": "line 1: SyntaxError: '(' was never closed",
    "import no_such_module": "line 1: ModuleNotFoundError: No module named 'no_such_module'",
    "from pipelines.definition import PipelineDefinition\n"
    "MINE = PipelineDefinition(name='mine', steps=[])": "line 2: pipeline 'mine': ",
    "from pipelines.phone_call import PHONE_CALL\n"
    "import copy\n"
    "MINE = copy.copy(PHONE_CALL)": "named 'phone_call' too",
}


@pytest.mark.parametrize("command", ["pipelines", "pipelines show phone_call", "serve --port 0"])
@pytest.mark.parametrize("source", BROKEN)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    source: str,
    command: str,
    voice_ai: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "zz_mine.py").write_text(source)
    monkeypatch.setattr(pipelines, "__path__", [*pipelines.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "pipelines.zz_mine", raising=False)
    catalogue._definitions.cache_clear()
    try:
        result = voice_ai(*command.split())
    finally:
        catalogue._definitions.cache_clear()
    assert result.exit_code in (1, 2)
    assert "zz_mine.py" in result.output
    assert BROKEN[source] in result.output
    assert "Traceback" not in result.output + capfd.readouterr().err


@pytest.fixture
def serve_in(process_template: ProcessTemplate) -> Callable[..., Awaitable[Ended]]:
    """`voice-ai serve`, that cannot start, in a folder."""

    async def serve(folder: Path, **settings: str) -> Ended:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return await process_template.run(
            "serve", "--port", "0", folder=folder, environment=kept | settings
        )

    return serve


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "sqlite+aiosqlite:////nowhere/at/all.db",
            "unable to open database file: /nowhere/at/all.db (there is no such folder)",
        ),
        ("postgresql+asyncpg://me:secret@127.0.0.1:9/x", "onnect"),
    ],
)
async def test_a_database_that_cannot_be_used_is_a_sentence(
    serve_in: Callable[..., Awaitable[Ended]], tmp_path: Path, url: str, why: str
) -> None:
    done = await serve_in(tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert "DATABASE_URL: the database cannot be used: " in done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


async def test_serve_says_what_of_the_file_does_not_count(
    serve_in: Callable[..., Awaitable[Ended]], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        "GEMINI_VOICE=Puck\nGEMINI_MODEL=models/mine\n"
        "DATABASE_URL=sqlite+aiosqlite:////nowhere/at/all.db\n"
    )
    done = await serve_in(tmp_path, GEMINI_VOICE="Kore", GEMINI_MODEL="models/mine")
    assert "The environment says otherwise than .env, and wins  names=GEMINI_VOICE\n" in done.stderr
    assert "Puck" not in done.stderr


async def test_an_id_is_enough_as_far_as_no_other_begins_so(
    server: Running, twilio: TwilioEmulator, voice_ai: Command
) -> None:
    ids = [(await server.place())["id"] for _ in range(17)]  # two of them begin with the same digit
    first = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)
    shown = await asyncio.to_thread(voice_ai, "calls", "show", first, "--server", server.url)
    assert shown.exit_code == 1
    assert f"More than one call's id begins with {first!r}" in shown.output
    unused = "0" if all(one[:9] != "000000000" for one in ids) else "1"
    none = await asyncio.to_thread(voice_ai, "calls", "show", unused * 9, "--server", server.url)
    assert "There is no call with this id" in none.output
