"""`voice-ai doctor` as a person and a program read it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Command = Callable[..., Result]


def test_settings_that_cannot_be_read_are_all_that_is_told(
    voice_ai: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "eighty")
    monkeypatch.setenv("REDIS_URL", "mysql://me:geheim@db")
    result = voice_ai("doctor")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert sum(line.startswith("FAIL  settings") for line in lines) == 2
    assert lines[-1] == "2 wrong, 0 to look at."
    assert "geheim" not in result.output


def test_an_empty_folder_is_told_what_to_do_first(
    voice_ai: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TWILIO_API_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("COLUMNS", raising=False)
    result = voice_ai("doctor")
    assert result.exit_code == 1
    assert max(len(line) for line in result.output.splitlines()) <= 80
    assert "-> Set GEMINI_API_KEY." in result.output
    told = json.loads(voice_ai("doctor", "--json").output)
    assert told["ok"] is False
    marks = {it["name"]: it["mark"] for it in told["findings"]}
    assert marks["gemini"] == marks["twilio"] == "fail"
    assert marks["database"] == "warn"
    assert not (tmp_path / "voice-ai.db").exists()
