"""`voice-ai replay` as a person types it: exit codes, reports, wrong words, Ctrl-C."""

import asyncio
import os
import signal
import sys
import tempfile
import wave
from asyncio.subprocess import STDOUT
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from server.cli.main import app
from server.settings.settings import Settings
from tests.server.process_template import ForkedProcess, ProcessTemplate

Here = Callable[..., tuple[int, str]]
Started = Callable[..., AbstractAsyncContextManager[ForkedProcess]]

HOLDS = """\
scenarios:
  - name: busy
    call: {answer: busy, ring_ms: 200}
    outcome: {status: busy}
  - name: greeted
    call: {greeting: "Hello, this is Ada.", then: hangs_up}
    turns:
      - expect: [{event: response, text_contains: this is ada}]
    outcome: {end_reason: caller}
"""
FAILS = """\
call: {answer: busy, ring_ms: 200}
outcome:
  status: completed
"""
LONG = """\
scenarios:
  - {name: one, call: {answer: no_answer}, outcome: {status: no_answer}}
  - {name: two, call: {answer: no_answer}, outcome: {status: no_answer}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "holds.yaml").write_text(HOLDS)
    return tmp_path


@pytest.fixture
def replay_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Run `voice-ai replay` with these words, in this process: its code, and what it said."""
    monkeypatch.chdir(folder)
    for name in environ_of_ours():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    # It would silence this process's log, too.
    monkeypatch.setitem(sys.modules, "server.replay.quiet", ModuleType("quiet"))

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["replay", *words])
        return result.exit_code, result.output

    return run


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary folder with a short name: a socket's path in it has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="r-") as name:
        yield Path(name)


def databases(folder: Path) -> list[Path]:
    """Those of replays that go on, or that were left behind."""
    return list(folder.rglob("replay.db"))


def environ_of_ours() -> list[str]:
    return [name.upper() for name in Settings.model_fields]


def environment(**more: str) -> dict[str, str]:
    """None of our settings, whatever this shell has; and a place of its own for what is made."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"COLUMNS": "200", "NO_COLOR": "1"} | more


@pytest.fixture
def started(process_template: ProcessTemplate) -> Started:
    """Starts `voice-ai replay` with these words, in a folder."""

    def started(
        folder: Path, *words: str, **more: str
    ) -> AbstractAsyncContextManager[ForkedProcess]:
        return process_template.running(
            *("replay", *words),
            folder=folder,
            environment=environment(**more),
            stderr=STDOUT,
            new_session=True,
        )

    return started


async def replay(
    started: Started, folder: Path, *words: str, **more: str
) -> tuple[int | None, str]:
    """What the command ends with, and what it said."""
    async with started(folder, *words, **more) as process:
        said, _ = await process.communicate()
        return process.returncode, said.decode()


def test_the_code_is_0_when_all_held_and_1_when_one_did_not(
    folder: Path, replay_here: Here
) -> None:
    code, said = replay_here("holds.yaml")
    assert code == 0, said
    assert "2 passed in " in said
    (folder / "fails.yaml").write_text(FAILS)
    code, said = replay_here(".", "--filter", "s")
    assert code == 1
    assert "fails.yaml:3: expected status completed — saw status busy" in said
    assert "2 passed, 1 failed" in said


@pytest.mark.long
def test_repeated_replays_in_processes_are_reported_in_every_form(
    folder: Path, replay_here: Here
) -> None:
    (folder / "fails.yaml").write_text(FAILS)
    code, said = replay_here(
        *(".", "--repeat", "3", "--jobs", "2"),
        *("--junit", "out/junit.xml", "--wav", "out/wav", "--html", "out/page.html"),
    )
    assert code == 1
    assert "6 passed, 3 failed" in said
    assert "Nothing is flaky: each of 3" in said.replace("\u202f", " ")
    cases = list(ElementTree.parse(folder / "out" / "junit.xml").getroot().iter("testcase"))
    assert len(cases) == 9
    assert sum(case.find("failure") is not None for case in cases) == 3
    assert "</html>" in (folder / "out" / "page.html").read_text()
    recordings = sorted((folder / "out" / "wav").iterdir())
    assert [path.name for path in recordings] == [
        *("holds.greeted.2.wav", "holds.greeted.3.wav", "holds.greeted.wav")
    ]
    with wave.open(str(recordings[0])) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8_000)
        assert file.getnframes() > 8_000


def test_a_filter_picks_by_name(replay_here: Here) -> None:
    code, said = replay_here(".", "--filter", "holds/bu")
    assert (code, "1 passed" in said) == (0, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.yaml"], "There is no nowhere.yaml."),
        ([".", "--filter", "xyz"], "There is no scenario in . with 'xyz'."),
        (["empty"], "There is no scenario in empty."),
        (["wrong.yaml"], "wrong.yaml:3: turns[0].expect[0].evnt: there is no key `evnt`"),
        (["no_yaml.yaml"], "no_yaml.yaml:2:"),
        (["holds.yaml", "--html", "file/page.html"], "A report could not be written:"),
        (["holds.yaml", "--against", "gemini"], "--against gemini needs GEMINI_API_KEY"),
        (["holds.yaml", "--server", "http://127.0.0.1:9"], "the server's own TWILIO_ACCOUNT_SID"),
        (
            ["holds.yaml", "--server", "http://127.0.0.1:9", "--against", "gemini"],
            "--server has a model of its own",
        ),
        (["holds.yaml", "--jobs", "0"], "--jobs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_played_is_told_with_code_2(
    folder: Path, words: list[str], sentence: str, replay_here: Here
) -> None:
    (folder / "empty").mkdir()
    (folder / "file").write_text("")
    (folder / "wrong.yaml").write_text("turns:\n  - expect:\n      - evnt: response\n")
    (folder / "no_yaml.yaml").write_text("turns:\n  - ][\n")
    if words[0] == ".":
        for name in ("wrong.yaml", "no_yaml.yaml"):
            (folder / name).unlink()
    code, said = replay_here(*words)
    assert code == 2, said
    assert sentence in said
    assert "Traceback" not in said


def test_a_call_that_the_server_refuses_is_broken_with_its_sentence(
    folder: Path, replay_here: Here
) -> None:
    (folder / "holds.yaml").write_text("call: {pipeline: nowhere}\noutcome: {status: completed}\n")
    code, said = replay_here("holds.yaml")
    assert code == 1
    assert "POST /calls: 422" in said
    assert "nowhere" in said
    assert "1 broken" in said


async def test_the_settings_of_the_shell_change_nothing(started: Started, folder: Path) -> None:
    code, said = await replay(
        started,
        folder,
        "holds.yaml",
        DATABASE_URL="postgresql+asyncpg://nobody@127.0.0.1:9/none",
        TWILIO_API_BASE_URL="http://127.0.0.1:9",
        MAX_CONCURRENT_CALLS="0",
        API_KEYS="secret",
    )
    assert code == 0, said


def processes(group: int) -> dict[int, int]:
    """The processes of a group that live, and the parent of each."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[2]) == group and words[0] != "Z":
            found[int(status.parent.name)] = int(words[1])
    return found


async def workers(process: ForkedProcess, number: int) -> list[int]:
    """The processes that play, once there are so many."""
    while True:
        assert process.returncode is None
        parents = processes(process.pid)
        found = [pid for pid, parent in parents.items() if parents.get(parent) == process.pid]
        if len(found) >= number:
            return found
        await asyncio.sleep(0.05)


async def alone(process: ForkedProcess) -> None:
    """Wait until nothing is left of what the command started."""
    async with asyncio.timeout(10):
        while True:
            if not processes(process.pid):
                return
            await asyncio.sleep(0.05)


async def test_a_process_that_dies_breaks_only_the_scenario_it_played(
    started: Started, folder: Path
) -> None:
    (folder / "holds.yaml").write_text(LONG)
    async with started(folder, ".", "--jobs", "2", "--speed", "real") as process:
        one, other = await workers(process, 2)
        os.kill(one, signal.SIGKILL)
        while "!" not in (line := (await process.stdout.readline()).decode()):
            assert line, "it ended without a word of it"
        os.kill(other, signal.SIGKILL)
        rest = (await process.stdout.read()).decode()
        assert await process.wait() == 1
        assert rest.count("the process that played it was killed by SIGKILL") == 2
        assert "2 broken" in rest


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.long)])
async def test_ctrl_c_ends_it_at_once_and_leaves_nothing(
    started: Started, folder: Path, scratch: Path, jobs: str
) -> None:
    (folder / "holds.yaml").write_text(LONG)
    words = ("holds.yaml", "--speed", "real", "--jobs", jobs)
    async with started(folder, *words, TMPDIR=str(scratch)) as process:
        while not databases(scratch):
            assert process.returncode is None
            await asyncio.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(10):
            said, _ = await process.communicate()
        assert process.returncode == 130
        assert "Traceback" not in said.decode()
        assert databases(scratch) == []
        await alone(process)
