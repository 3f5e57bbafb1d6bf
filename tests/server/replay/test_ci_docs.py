"""docs/ci.md is true: its workflow is one, and runs what there is."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from server.cli.main import app

REPO = Path(__file__).parents[3]
TEXT = (REPO / "docs" / "ci.md").read_text(encoding="utf-8")
(WORKFLOW,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
STEPS = yaml.safe_load(WORKFLOW)["jobs"]["replay"]["steps"]


def replay_words() -> list[str]:
    (command,) = (step["run"] for step in STEPS if " replay " in step.get("run", ""))
    program, name, *words = shlex.split(command)
    assert (program, name) == (".venv/bin/voice-ai", "replay")
    return words


def test_the_workflow_keeps_what_the_replayer_writes() -> None:
    words = replay_words()
    written = {words[words.index(option) + 1] for option in ("--junit", "--html")}
    (kept,) = (step["with"]["path"].split() for step in STEPS if "upload" in step.get("uses", ""))
    assert set(kept) == written
    assert (REPO / words[0]).is_dir()
    assert "make install" in [step.get("run") for step in STEPS]


def test_its_options_are_known() -> None:
    command = typer.main.get_command(app).commands["replay"]  # type: ignore[attr-defined]
    words = replay_words()
    context = command.make_context("replay", list(words))
    assert context.params["jobs"] == 4
    known = {option for parameter in command.params for option in parameter.opts}
    # Those of pytest and its plugins.
    theirs = {"--scenarios", "--scenario-speed", "--continue-on-collection-errors"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)) - theirs
    assert named <= known


def test_the_settings_of_pytest_are_settings() -> None:
    (settings,) = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert tomllib.loads(settings)["tool"]["pytest"]["ini_options"] == {"scenarios": ["scenarios"]}


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", TEXT))
def test_its_links_lead_somewhere(link: str) -> None:
    assert (REPO / "docs" / link).exists()
