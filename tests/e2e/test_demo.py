"""The demo in virtual time, with its server in this process: the conversation of the README."""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from server.demo import run
from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.twilio import TwilioEmulator
from tests.server.conftest import Running, running_server

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SHOWN = next(iter(re.findall(r"^ *```text\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)))


async def test_nothing_is_wrong_and_all_that_the_readme_shows_is_told(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def in_this_process(
        gemini: GeminiLiveEmulator, twilio: TwilioEmulator, folder: Path, more: object
    ) -> AsyncIterator[Running]:
        assert more is None
        for name, value in gemini.environment().items():
            monkeypatch.setenv(name, value)
        shutil.copy(migrated_file, folder)
        async with running_server(twilio, folder) as server:
            yield server

    monkeypatch.setattr(run, "server_process", in_this_process)
    told: list[tuple[str, str]] = []
    report = await run.run_demo(tmp_path / "out", lambda who, what: told.append((who, what)))
    assert report.wrong == []
    lines = re.findall(r"^ +[\d.]+ s  (\w+) +(.*)$", SHOWN, re.MULTILINE)
    assert len(lines) > 10
    for (who, what), (shown_who, shown) in zip(told, lines, strict=True):
        assert who == shown_who
        assert what.startswith(shown.removesuffix(" ..."))
    rows = re.findall(r"^  ([^\d\s].*?)  ", SHOWN, re.MULTILINE)
    assert [figure.name for figure in report.figures] == rows
    assert report.figures[-1].value == "completed, ended by agent"
    for name in ("demo.wav", "demo.txt"):
        assert (tmp_path / "out" / name).stat().st_size > 100
