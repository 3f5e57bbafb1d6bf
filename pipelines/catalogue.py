"""The definitions by name: every `PipelineDefinition` that stands in a file of this folder."""

import importlib
import pkgutil
from functools import cache

import pipelines
from pipelines.definition import DefinitionError, PipelineDefinition


class UnknownPipeline(LookupError):
    """No definition has that name; the text names those there are."""


def names() -> list[str]:
    """The names of all definitions, sorted."""
    return sorted(_definitions())


def find(name: str) -> PipelineDefinition:
    """The definition of that name.

    Raises: UnknownPipeline.
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
        module = importlib.import_module(f"pipelines.{module_info.name}")
        for value in vars(module).values():
            if not isinstance(value, PipelineDefinition):
                continue
            if found.setdefault(value.name, value) is not value:
                raise DefinitionError(f"two pipelines are named {value.name!r}")
    return found
