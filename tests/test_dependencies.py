"""Declared dependencies: every package that the code imports is in pyproject.toml."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = ("agent", "processors", "pipelines", "server")
OWN = {*SOURCES, "tests", "voice_ai_pytest", "my_agent"}
# What runs with the emulators needs their extra, and so does all that develops and tests.
WITH_EXTRAS = (
    "server/observability/traces.py",
    "agent/lifecycle/sweep_workflow.py",
    "agent/lifecycle/workflow.py",
    "agent/runner/activities.py",
    "agent/runner/sweeper.py",
    "agent/runner/workflow_client.py",
    "server/temporal",
    "server/doctor/temporal_check.py",
    "server/emulators",
    "server/replay",
    "server/demo",
    "server/dev",
    "server/bench",
    "tests",
)


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


NEEDED = names(PROJECT["dependencies"])
EXTRAS = names([one for extra in PROJECT["optional-dependencies"].values() for one in extra])


@cache
def imported(file: Path) -> frozenset[str]:
    return frozenset(imports(ast.parse(file.read_text(encoding="utf-8"))))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@cache
def distributions() -> Mapping[str, list[str]]:
    """The packages that bring each module."""
    return packages_distributions()


def undeclared(folders: tuple[str, ...], left_out: tuple[str, ...], declared: set[str]) -> set[str]:
    ours = {*OWN, *sys.stdlib_module_names}
    known = distributions()
    return {
        f"{file.relative_to(REPO)}: {module}"
        for folder in folders
        for file in (REPO / folder).rglob("*.py")
        if not any(file.is_relative_to(REPO / room) for room in left_out)
        for module in imported(file) - ours
        if not declared & {normal(name) for name in known.get(module, [module])}
    }


def test_the_product_imports_what_the_main_dependencies_name() -> None:
    assert undeclared(SOURCES, WITH_EXTRAS, NEEDED) == set()


def test_emulators_and_tests_import_what_an_extra_or_the_main_dependencies_name() -> None:
    assert undeclared(WITH_EXTRAS, (), NEEDED | EXTRAS) == set()


@pytest.mark.parametrize("missing", ["websockets", "twilio", "pydantic"])
def test_a_package_that_is_not_declared_is_found(missing: str) -> None:
    found = undeclared(SOURCES, WITH_EXTRAS, NEEDED - {missing})
    assert found
    assert {line.split(": ")[1] for line in found} == {missing}
