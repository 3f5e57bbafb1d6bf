"""Pipelines of a package of the user's own, beside the built-in ones."""

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from pipelines.call import catalogue

MINE = """
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL
MINE = PipelineDefinition(name="{name}", steps=PHONE_CALL.steps)
"""
# Python keeps what was imported: each test has a package of another name.
NUMBERS = count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the user's in the working folder."""
    folder = tmp_path / f"bakery{next(NUMBERS)}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "calls.py").write_text(MINE.format(name="orders"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield folder
    catalogue.use(())


def broken(source: str) -> str:
    with pytest.raises(catalogue.BrokenPipeline) as refusal:
        catalogue.use([source])
    return str(refusal.value)


@pytest.mark.parametrize("written", ["{}.calls", "./{}/calls.py", "{}/calls.py", "{}", "./{}/"])
def test_a_module_or_a_path_comes_beside_the_built_in_ones(package: Path, written: str) -> None:
    catalogue.use([written.format(package.name)])
    assert catalogue.names() == ["orders", "phone_call", "practice", "reminder"]
    assert sys.modules[f"{package.name}.calls"].__dict__["MINE"] is catalogue.find("orders")


def test_a_folder_elsewhere_is_found_with_what_its_modules_import(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "deep").mkdir()
    (package / "names.py").write_text("NAME = 'deep_orders'")
    source = MINE.replace('"{name}"', "NAME") + f"from {package.name} import names"
    source = f"from {package.name}.names import NAME\n{source}"
    (package / "deep" / "one.py").write_text(source)
    (package / "deep" / "two.py").write_text(MINE.format(name="other_orders"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    catalogue.use([str(package / "deep")])
    assert {"deep_orders", "other_orders"} < set(catalogue.names())


def test_packages_in_a_package_are_not_imported(package: Path) -> None:
    (package / "machinery").mkdir()
    (package / "machinery" / "__init__.py").write_text("raise SystemExit")
    catalogue.use([package.name])
    assert "orders" in catalogue.names()


def test_without_it_there_are_the_built_in_ones_again(package: Path) -> None:
    catalogue.use([package.name])
    catalogue.use(())
    assert catalogue.names() == ["phone_call", "practice", "reminder"]


@pytest.mark.parametrize("name", ["nowhere", "nowhere.calls", "{}.nowhere"])
def test_a_module_that_is_not_there_is_named(package: Path, name: str) -> None:
    name = name.format(package.name)
    assert broken(name).startswith(f"PIPELINES: there is no module '{name}' (looked for in /")


def test_a_path_that_is_not_there_is_named(package: Path) -> None:
    assert broken("./nowhere").startswith("PIPELINES: there is no './nowhere' (looked for at /")


def test_a_path_that_is_no_name_in_python_is_named(package: Path) -> None:
    (package / "my-calls").mkdir()
    assert "'my-calls' is no name in Python" in broken(f"{package.name}/my-calls")


def test_a_path_that_another_package_hides_is_named(package: Path) -> None:
    folder = package.parent / "json"
    folder.mkdir()
    (folder / "calls.py").write_text(MINE.format(name="orders"))
    said = broken("./json")
    assert "its name is 'json', and that is /" in said
    assert said.endswith("Give the folder another name.")


def test_a_module_without_a_pipeline_is_named(package: Path) -> None:
    (package / "calls.py").write_text("from pipelines.phone_call import PHONE_CALL\n")
    assert f"'{package.name}.calls' declares no pipeline" in broken(f"{package.name}.calls")


@pytest.mark.parametrize("name", ["phone_call", "orders"])
def test_two_pipelines_of_a_name_are_both_named(package: Path, name: str) -> None:
    (package / "again.py").write_text(MINE.format(name=name))
    said = broken(package.name)
    assert f"is named '{name}' too" in said
    assert str(package / "again.py") in said
    assert ("phone_call.py" if name == "phone_call" else str(package / "calls.py")) in said


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = (", "line 1: SyntaxError: '(' was never closed"),
        ("import no_such_module", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("\n1 / 0", "line 2: ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_fails_is_named_with_its_line(package: Path, source: str, says: str) -> None:
    (package / "calls.py").write_text(source)
    assert broken(f"{package.name}.calls") == f"{package / 'calls.py'}, {says}"
    assert broken(f"./{package.name}/calls.py") == f"{package / 'calls.py'}, {says}"


def test_auto_is_the_only_pipeline_of_the_users_own(package: Path) -> None:
    assert catalogue.find("auto").name == "phone_call"
    catalogue.use([f"{package.name}.calls"])
    assert catalogue.find("auto").name == "orders"
    (package / "more.py").write_text(MINE.format(name="returns"))
    catalogue.use([package.name])
    assert catalogue.find("auto").name == "phone_call"
