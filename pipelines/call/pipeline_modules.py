"""Imports the modules that pipelines are declared in, and says what is wrong with one.

A source of pipelines is a module (`my_agent.calls`) or a path (`my_agent/calls`, `./calls.py`). A
path is another way to write a module: its name begins below the nearest folder that is no package.

    my_agent/__init__.py
    my_agent/calls/two.py      `my_agent/calls` is `my_agent.calls`, and `my_agent.calls.two` of it
"""

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from pipelines.definition import DefinitionError
from pipelines.gemini.tools import ToolError


class BrokenPipeline(Exception):
    """A module with pipelines cannot be used; the message says which, which line, and why."""


def modules_of(source: str) -> Iterator[ModuleType]:
    """The module that a source names and, of a package, those directly in it.

    The working folder is looked in first, as Python does for a script there.

    Raises: BrokenPipeline.
    """
    if _is_path(source):
        path = Path(source).resolve()
        name, root = _module_of(source, path)
    else:
        path, name, root = None, source, Path.cwd()
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    # What was written since the last import of this process is to be found.
    importlib.invalidate_caches()
    module = _import_named(source, name)
    if path is not None and path not in _places(module):
        raise BrokenPipeline(
            f"PIPELINES: {source!r} cannot be imported: its name is {name!r}, and that is "
            f"{_file(module)} already. Give the folder another name."
        )
    yield module
    yield from modules_in(module)


def modules_in(package: ModuleType) -> Iterator[ModuleType]:
    """The modules directly in a package; packages in it are left out.

    Raises: BrokenPipeline.
    """
    for found in pkgutil.iter_modules(getattr(package, "__path__", ())):
        if not found.ispkg:
            yield _import(f"{package.__name__}.{found.name}")


def _is_path(source: str) -> bool:
    return "/" in source or "\\" in source or source.startswith(".") or source.endswith(".py")


def _module_of(source: str, path: Path) -> tuple[str, Path]:
    """The name of the module at a path, and the folder that it is imported from."""
    if not path.exists():
        raise BrokenPipeline(f"PIPELINES: there is no {source!r} (looked for at {path})")
    root = path.parent
    while (root / "__init__.py").exists():
        root = root.parent
    parts = path.relative_to(root).with_suffix("").parts
    if wrong := [part for part in parts if not part.isidentifier()]:
        raise BrokenPipeline(
            f"PIPELINES: {source!r} cannot be imported: {wrong[0]!r} is no name in Python, which "
            "has letters, digits and underscores"
        )
    return ".".join(parts), root


def _import_named(source: str, name: str) -> ModuleType:
    try:
        return _import(name)
    except BrokenPipeline as error:
        missing = getattr(error.__cause__, "name", None)
        if isinstance(error.__cause__, ModuleNotFoundError) and (
            name == missing or name.startswith(f"{missing}.")
        ):
            raise BrokenPipeline(
                f"PIPELINES: there is no module {source!r} (looked for in {Path.cwd()} and among "
                "the installed packages)"
            ) from None
        raise


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (DefinitionError, ToolError) as error:
        raise BrokenPipeline(f"{_where(name, error)}: {error}") from error
    except Exception as error:
        kind = type(error).__name__
        says = error.msg if isinstance(error, SyntaxError) else str(error)
        raise BrokenPipeline(f"{_where(name, error)}: {kind}: {says}") from error


def _where(name: str, error: Exception) -> str:
    """The file, and the line of it that did not work."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None  # a package that it is in cannot be imported
    if spec is None or spec.origin is None:
        return name
    file = spec.origin
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
    return f"{file}, line {lines[-1]}" if lines else file


def _file(module: ModuleType) -> str:
    return module.__file__ or ", ".join(module.__path__)


def _places(module: ModuleType) -> set[Path]:
    """The file of a module, and the folders of a package."""
    file = [module.__file__] if module.__file__ else []
    return {Path(place).resolve() for place in [*file, *getattr(module, "__path__", ())]}
