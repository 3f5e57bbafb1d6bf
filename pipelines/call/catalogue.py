"""Catalogue of pipelines: each `PipelineDefinition` of ours, and of the modules of PIPELINES.

Ours are in the files directly in `pipelines/`. The name `auto` stands for the only pipeline that
PIPELINES declares, and for `phone_call` where it declares none or several.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from types import ModuleType

import pipelines
from pipelines.call.pipeline_modules import BrokenPipeline, modules_in, modules_of
from pipelines.definition import PipelineDefinition

__all__ = ["AUTO", "BrokenPipeline", "UnknownPipeline", "find", "names", "use"]

AUTO, BUILT_IN_DEFAULT = "auto", "phone_call"
_sources: tuple[str, ...] = ()


class UnknownPipeline(LookupError):
    """No definition has that name; the message lists the names there are."""


def use(sources: Sequence[str]) -> None:
    """Look for pipelines in these modules and folders of the user's, too.

    It holds for the whole process, as imported modules do.

    Raises: BrokenPipeline.
    """
    global _sources
    if tuple(sources) != _sources:
        _sources = tuple(sources)
        _definitions.cache_clear()
    _definitions()


def names() -> list[str]:
    """The names of all definitions, sorted.

    Raises: BrokenPipeline.
    """
    return sorted(_definitions())


def find(name: str) -> PipelineDefinition:
    """The definition of that name, or the one that `auto` stands for.

    Raises: UnknownPipeline, BrokenPipeline.
    """
    known = _definitions()
    if name == AUTO and AUTO not in known:
        name = _only_own_one(known) or BUILT_IN_DEFAULT
    try:
        return known[name]
    except KeyError:
        raise UnknownPipeline(
            f"there is no pipeline {name[:64]!r}; there are {', '.join(names())}; modules with "
            "more are named in PIPELINES (.env)"
        ) from None


_Found = dict[str, tuple[PipelineDefinition, ModuleType]]


@cache
def _definitions() -> dict[str, PipelineDefinition]:
    found: _Found = {}
    for module in modules_in(pipelines):
        _add(module, found)
    for source in _sources:
        before = len(found)
        for module in modules_of(source):
            _add(module, found)
        if len(found) == before:
            raise BrokenPipeline(
                f"PIPELINES: {source!r} declares no pipeline: it needs a module-level "
                "`MY_CALL = PipelineDefinition(…)`"
            )
    return {name: definition for name, (definition, _) in found.items()}


def _only_own_one(known: Iterable[str]) -> str | None:
    built_in: _Found = {}
    for module in modules_in(pipelines):
        _add(module, built_in)
    own = [name for name in known if name not in built_in]
    return own[0] if len(own) == 1 else None


def _add(module: ModuleType, found: _Found) -> None:
    for value in vars(module).values():
        if not isinstance(value, PipelineDefinition):
            continue
        known, where = found.setdefault(value.name, (value, module))
        # A definition that is imported from elsewhere is the same one.
        if known is not value:
            raise BrokenPipeline(
                f"{module.__file__}: another pipeline, in {where.__file__}, is named "
                f"{value.name!r} too"
            )
