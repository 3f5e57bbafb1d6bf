"""The pages say what is there: links lead somewhere, commands parse, JSON to paste is accepted."""

import json
import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from server.calls.schemas import CallRequest
from server.cli import emulate_gemini, emulate_twilio
from server.cli.main import app
from tests.test_readme import COMMANDS as README_COMMANDS
from tests.test_readme import commands as readme_commands

REPO = Path(__file__).parents[1]
PAGES = [
    *sorted((REPO / "docs").rglob("*.md")),
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "terraform/README.md")),
]
QUICKSTART = (REPO / "docs" / "quickstart.md").read_text(encoding="utf-8")
CHECK_DEPLOY = runpy.run_path(str(REPO / "scripts" / "check_deploy.py"))
# `voice-ai emulate NAME` hands its words to a command of its own.
EMULATORS = {"gemini": emulate_gemini.gemini, "twilio": emulate_twilio.twilio}
MAKE_TARGETS = re.findall(
    r"^([a-z-]+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
)
# Programs of others, which tests do not run. The pages say what is needed for them.
OTHERS = {"aws", "cd", "cp", "curl", "docker", "export", "pip", "pytest", "source", "terraform"}


def shell_lines(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each command of the page's shell blocks, as it is written and as words."""
    text = page.read_text(encoding="utf-8")
    for _, block in re.findall(
        r"^( *)```(?:sh|bash)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE
    ):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"^\w+=\$\((.*)\)$", r"\1", line.strip())
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Za-z_]+=", words[0]):
                del words[0]
            if words:
                yield line.strip(), words


COMMANDS = [
    pytest.param(words, id=f"{page.relative_to(REPO)}: {line}")
    for page in PAGES
    for line, words in shell_lines(page)
]


def parse(words: list[str]) -> None:
    """Parse the words of a `voice-ai` command, without running it. Raises: what Typer raises."""
    if words[0] == "emulate" and len(words) > 1:
        single = typer.Typer(add_completion=False)
        single.command()(EMULATORS[words[1]])
        typer.main.get_command(single).make_context(words[1], words[2:])
        return
    command = typer.main.get_command(app)
    context = command.make_context("voice-ai", list(words), resilient_parsing=True)
    while words and hasattr(command, "commands"):
        name, *words = words
        command = command.commands[name]
        is_group = hasattr(command, "commands")
        context = command.make_context(
            name, list(words), parent=context, resilient_parsing=is_group
        )


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_is_there_with_its_options(words: list[str]) -> None:
    program = words[0].removeprefix(".venv/bin/")
    if program == "voice-ai":
        parse(words[1:])
    elif program == "make":
        assert set(words[1:]) <= {*MAKE_TARGETS}
    elif "/" in program:
        assert (REPO / program).is_file()
    else:
        assert program in OTHERS


@pytest.mark.parametrize(
    "wrong", ["voice-ai dail +15550100123", "voice-ai dial +15550100123 --prompt-me x"]
)
def test_a_wrong_command_is_found(wrong: str) -> None:
    with pytest.raises(Exception, match=r"dail|prompt-me"):
        parse(shlex.split(wrong)[1:])


def test_the_quickstart_needs_no_account_where_it_says_so() -> None:
    before, heading, _ = QUICKSTART.partition("## 4. Get three things")
    assert heading
    # `test_readme` runs the README's commands.
    assert set(readme_commands(before)) <= set(README_COMMANDS)


def test_links_lead_to_files_and_headings() -> None:
    assert sorted(CHECK_DEPLOY["broken_links"]()) == []


def test_every_page_is_in_the_table_of_pages() -> None:
    table = (REPO / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (REPO / "docs").glob("*.md") if page.name != "README.md"]
    assert [name for name in pages if f"({name}" not in table] == []


def test_presets_of_turn_detection_are_accepted_by_the_api() -> None:
    text = (REPO / "docs" / "vad_configuration.md").read_text(encoding="utf-8")
    presets = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(presets) == 3
    for preset in presets:
        request = CallRequest.model_validate_json(
            json.dumps({"phone_number": "+15550100123"} | json.loads(preset))
        )
        assert request.vad_config is not None
        # What the page asks for: patience that outlasts the silence which ends a turn.
        patience = 2.5 if request.answer_patience_secs is None else request.answer_patience_secs
        silence_ms = request.vad_config.silence_duration_ms
        assert silence_ms is not None
        assert patience >= silence_ms / 1000 + 1.8


def test_each_preset_is_played_by_a_scenario() -> None:
    text = (REPO / "docs" / "vad_configuration.md").read_text(encoding="utf-8")
    presets = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    scenarios = yaml.safe_load((REPO / "scenarios" / "turns.yaml").read_text(encoding="utf-8"))
    played = [scenario["call"] for scenario in scenarios["scenarios"]]
    for preset in map(json.loads, presets):
        assert any(preset.items() <= call.items() for call in played), preset


def test_make_help_lists_every_target_with_a_sentence() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert listed.keys() == {*MAKE_TARGETS}
    assert all(listed.values())
