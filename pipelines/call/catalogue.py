"""Catalogue of pipelines: finds each `PipelineDefinition` in a file directly in `pipelines/`."""

import importlib.util
import pkgutil
import traceback
from functools import cache
from types import ModuleType

import pipelines
from pipelines.definition import DefinitionError, PipelineDefinition
from pipelines.gemini.tools import ToolError


class UnknownPipeline(LookupError):
    """No definition has that name; the message lists the names there are."""


class BrokenPipeline(Exception):
    """A file of `pipelines/` cannot be used; the message says which, which line, and why."""


def names() -> list[str]:
    """The names of all definitions, sorted.

    Raises: BrokenPipeline.
    """
    return sorted(_definitions())


def find(name: str) -> PipelineDefinition:
    """The definition of that name.

    Raises: UnknownPipeline, BrokenPipeline.
    """
    try:
        return _definitions()[name]
    except KeyError:
        raise UnknownPipeline(
            f"there is no pipeline {name[:64]!r}; there are {', '.join(names())}"
        ) from None


@cache
def _definitions() -> dict[str, PipelineDefinition]:
    found: dict[str, PipelineDefinition] = {}
    for module_info in pkgutil.iter_modules(pipelines.__path__):
        if module_info.ispkg:
            continue  # machinery
        for value in vars(_load(module_info.name)).values():
            if not isinstance(value, PipelineDefinition):
                continue
            if found.setdefault(value.name, value) is not value:
                raise BrokenPipeline(
                    f"{_file(module_info.name)}: another file has a pipeline that is named "
                    f"{value.name!r} too"
                )
    return found


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"pipelines.{name}")
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
    file = _file(name)
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
    return f"{file}, line {lines[-1]}" if lines else file


def _file(name: str) -> str:
    spec = importlib.util.find_spec(f"pipelines.{name}")
    return spec.origin if spec is not None and spec.origin is not None else name
