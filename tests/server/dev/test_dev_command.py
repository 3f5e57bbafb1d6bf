"""`voice-ai dev` as a person runs it, in a process of its own: what it prints, whom it connects."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from server.scaffold.new_repository import make_repository
from tests.server.process_template import ForkedProcess, ProcessTemplate

ROOT = Path(__file__).parents[3]
THEIRS = "+15550100123"
KEPT = ("PATH", "HOME", "LANG")


class Dev:
    """A `voice-ai dev` that runs, and what it has printed so far."""

    def __init__(self, process: ForkedProcess) -> None:
        self._process = process
        self.printed = ""

    async def prints(self, pattern: str) -> re.Match[str]:
        """Read on until this is in what was printed."""
        async with asyncio.timeout(60):
            while not (found := re.search(pattern, self.printed)):
                line = (await self._process.stdout.readline()).decode()
                assert line, f"it ended without {pattern!r}:\n{self.printed}"
                self.printed += line
        return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What `voice-ai init` makes."""
    folder = tmp_path / "corner-bakery"
    make_repository(folder)
    return folder


@asynccontextmanager
async def dev(
    process_template: ProcessTemplate, folder: Path, *words: str
) -> AsyncIterator[tuple[Dev, httpx.AsyncClient]]:
    """Run the command until it waits for calls."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    async with process_template.running(
        *("dev", "--port", "0", *words),
        folder=folder,
        environment={**environment, "PYTHONPATH": str(ROOT)},
        stderr=asyncio.subprocess.STDOUT,
    ) as process:
        running = Dev(process)
        try:
            url = (await running.prints(r"dev +(http://\S+) waits"))[1]
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
                yield running, http
        finally:
            process.terminate()
            await process.wait()


async def placed(http: httpx.AsyncClient, **fields: str) -> str:
    """Place a call; the pipeline that it has."""
    answer = await http.post("/calls", json={"phone_number": THEIRS, **fields})
    call = answer.raise_for_status().json()
    (await http.post(f"/calls/{call['id']}/terminate")).raise_for_status()
    return str(call["pipeline"])


async def test_the_pipeline_of_a_new_repository_has_the_calls_that_name_none(
    process_template: ProcessTemplate, repository: Path
) -> None:
    async with dev(process_template, repository) as (running, http):
        assert running.printed.startswith("Starting: ")
        assert "pipeline restaurant; script the emulator's own" in running.printed
        # BASE_URL is the same address, so it is not said again.
        assert re.search(r"^Listening on http://[\d.:]+$", running.printed, re.MULTILINE)
        assert await placed(http) == "restaurant"
        assert await placed(http, pipeline="phone_call") == "phone_call"


@pytest.mark.long
async def test_the_pipeline_that_is_named_has_the_calls_that_name_none(
    process_template: ProcessTemplate, repository: Path
) -> None:
    script = "scenarios/model.yaml"
    words = ("--pipeline", "reminder", "--script", script)
    async with dev(process_template, repository, *words) as (running, http):
        assert f"pipeline reminder; script {script}" in running.printed
        assert await placed(http) == "reminder"


@pytest.mark.long
async def test_nothing_is_watched_when_it_runs_once(
    process_template: ProcessTemplate, repository: Path
) -> None:
    (repository / "corner_bakery" / "calls.py").write_text("import no_such_module\n")
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    done = await process_template.run(
        *("dev", "--port", "0", "--once", "--say", "Hello"),
        folder=repository,
        environment={**environment, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert re.search(r"the server has ended \(exit code 2\)$", done.stdout, re.MULTILINE)


@pytest.mark.long
@pytest.mark.real_time
async def test_a_call_that_ends_for_want_of_a_rule_says_so(
    process_template: ProcessTemplate, repository: Path
) -> None:
    (repository / "model.yaml").write_text("rules: [{text_matches: nowhere, say: Never.}]\n")
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    done = await process_template.run(
        *("dev", "--port", "0", "--once", "--script", "model.yaml", "--say", "Hello"),
        folder=repository,
        environment={**environment, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "model   heard nothing that a rule of its script is for" in done.stdout
    assert "the script has no rule for what the caller said" in done.stdout
    assert "fell silent" not in done.stdout
