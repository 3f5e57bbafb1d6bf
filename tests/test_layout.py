"""The house: every package is ours, says what belongs in it, and imports from this repo."""

import ast
import importlib
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
PACKAGES = sorted(
    path.parent
    for top in ("agent", "pipelines", "processors", "server")
    for path in (REPO / top).rglob("__init__.py")
)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(REPO)))
def test_a_package_is_imported_from_here_and_says_what_belongs_in_it(package: Path) -> None:
    name = ".".join(package.relative_to(REPO).parts)
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == package
    assert module.__doc__


def test_every_module_opens_with_what_it_is_for() -> None:
    untold = [
        str(path.relative_to(REPO))
        for top in ("agent", "pipelines", "processors", "server")
        for path in (REPO / top).rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert untold == []


def test_every_folder_with_python_files_is_a_package() -> None:
    folders = {path.parent for top in PACKAGES for path in top.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
