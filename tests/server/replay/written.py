"""Scenario files for the tests that read them."""

from pathlib import Path
from textwrap import dedent

from server.replay.reading import read_scenarios
from server.replay.scenario import Scenario


def write(folder: Path, text: str, name: str = "call.yaml") -> Path:
    """A file with this text, its indentation taken off."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def only(folder: Path, text: str) -> Scenario:
    """The one scenario of a file with this text."""
    (scenario,) = read_scenarios(write(folder, text))
    return scenario
