"""`voice-ai dev` as a newcomer has it: a pipeline that is written, broken, mended and tried."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from server.dev.emulated_people import who_says
from server.dev.run import DevError, DevOptions, run_dev
from server.http.serving import listen

PIPELINE = """
from agent.profile import AgentProfile
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL
MINE = PipelineDefinition(
    name="mine", profile=AgentProfile(greeting="{greeting}"), steps=PHONE_CALL.steps
)
"""


class Screen:
    """The lines that were told, and a way to wait for one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = asyncio.Condition()
        self._notes: set[asyncio.Task[None]] = set()

    def tell(self, who: str, what: str) -> None:
        """Take a line."""
        self.lines.append(f"{who}: {what}")
        note = asyncio.create_task(self._note())
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _note(self) -> None:
        async with self._more:
            self._more.notify_all()

    async def shows(self, part: str) -> None:
        """Wait until a line has this in it, then forget all lines up to it."""
        async with self._more:
            await self._more.wait_for(lambda: any(part in line for line in self.lines))
        found = next(index for index, line in enumerate(self.lines) if part in line)
        del self.lines[: found + 1]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A working folder as it should not matter; call it to write the pipeline's file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/of-the-shell.pem")
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://nobody@127.0.0.1:9/x")
    (tmp_path / ".env").write_text(
        "PIPELINES=mine_of_dev\nBASE_URL=https://real.example.com\nENVIRONMENT=production\n"
    )
    return lambda source: (tmp_path / "mine_of_dev.py").write_text(source) and None


@pytest.mark.long
async def test_a_server_that_cannot_start_is_started_anew_when_a_file_changes(
    repository: Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    screen = Screen()
    repository("def (")
    options = DevOptions(person=who_says(["Hello"]), port=0, calls=True)
    running = asyncio.create_task(run_dev(options, screen.tell))
    await screen.shows("the server has ended (exit code 2)")
    assert "mine_of_dev.py, line 1: SyntaxError" in capfd.readouterr().err
    repository("print('tried')\n1 / 0")
    await screen.shows("dev: mine_of_dev.py changed")
    await screen.shows("the server has ended (exit code 2)")
    said = capfd.readouterr()
    assert "tried" in said.out
    assert "mine_of_dev.py, line 2: ZeroDivisionError" in said.err
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 1


@pytest.mark.long
@pytest.mark.real_time
async def test_a_call_is_spoken_again_each_time_the_pipeline_changes(
    repository: Callable[[str], None], tmp_path: Path
) -> None:
    screen = Screen()
    repository("def (")
    options = DevOptions(
        person=who_says(["When do you open?"]), port=0, calls=True, body={"pipeline": "mine"}
    )
    running = asyncio.create_task(run_dev(options, screen.tell))
    await screen.shows("the server has ended")
    certificate = (tmp_path / ".voice-ai/certificate/ca.pem").read_bytes()

    repository(PIPELINE.format(greeting="Bakery."))
    await screen.shows("mine_of_dev.py changed")
    for line in (
        "phone: rings",
        "agent: Bakery.",
        "caller: When do you open?",
        "agent: We are open every day",
        "phone: the line is closed",
        "call: completed (caller)",
        "waits: for `voice-ai dial",
    ):
        await screen.shows(line)
    assert (tmp_path / ".voice-ai/last-call.wav").stat().st_size > 50_000

    repository(PIPELINE.format(greeting="Butcher."))
    await screen.shows("mine_of_dev.py changed")
    await screen.shows("agent: Butcher.")
    os.kill(os.getpid(), signal.SIGINT)
    await running
    assert (tmp_path / ".voice-ai/certificate/ca.pem").read_bytes() == certificate
    assert (tmp_path / ".voice-ai/.gitignore").read_text() == "*\n"


async def test_a_port_that_is_taken_is_a_sentence(
    repository: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        for chosen in (port, None):
            with pytest.raises(DevError, match=f"Cannot listen on port {port}"):
                await run_dev(DevOptions(person=who_says(["Hello"]), port=chosen), Screen().tell)
            monkeypatch.setenv("PORT", str(port))


@pytest.mark.parametrize(("port", "says"), [("x", "PORT: must"), ("99999", "PORT: must")])
async def test_a_port_that_is_none_is_a_sentence(
    repository: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, port: str, says: str
) -> None:
    monkeypatch.setenv("PORT", port)
    with pytest.raises(DevError, match=says):
        await run_dev(DevOptions(person=who_says(["Hello"])), Screen().tell)


async def test_a_script_that_cannot_be_read_is_a_sentence(
    repository: Callable[[str], None], tmp_path: Path
) -> None:
    options = DevOptions(person=who_says(["Hello"]), port=0, script=tmp_path / "nowhere.yaml")
    with pytest.raises(DevError, match=r"--script: .*nowhere\.yaml"):
        await run_dev(options, Screen().tell)


async def test_the_real_model_needs_its_key(
    repository: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    options = DevOptions(person=who_says(["Hello"]), port=0, real_model=True)
    with pytest.raises(DevError, match="needs GEMINI_API_KEY"):
        await run_dev(options, Screen().tell)
