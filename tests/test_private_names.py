"""Private names of libraries that the product uses: all of them, each in a file of the packet path.

An upgrade that renames one fails here first; docs/decisions/0011-libraries-off-the-packet-path.md
says why each of these files goes past its library.
"""

import ast
import asyncio
import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
FOLDERS = ("agent", "pipelines", "processors", "server")
OWN_OBJECTS = ("self", "cls", "super()")
OWN = tuple(f"{folder}." for folder in FOLDERS)

KNOWN = {
    "processors/direct.py": {"_cancelling", "_next", "_prev"},
    "server/twilio/media_websocket.py": {"_types"},  # uvicorn's type hints
}
# Documented in spite of the underscore.
PUBLIC = {"os._exit"}


def _private(name: str) -> bool:
    return re.match(r"_[a-z]", name) is not None


def _modules() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def _module(path: Path) -> ModuleType:
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return importlib.import_module(dotted.removesuffix(".__init__"))


def _library_bases(cls: type) -> list[type]:
    return [
        base for base in cls.__mro__ if base is not object and not base.__module__.startswith(OWN)
    ]


def _defined(cls: type) -> set[str]:
    """The names that a class defines, or sets on `self`, as its source says."""
    return set(vars(cls)) | _assigned(cls.__module__).get(cls.__qualname__, set())


@cache
def _assigned(module: str) -> dict[str, set[str]]:
    """The attributes that each class of a module sets, by the qualified name of the class."""
    try:
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    except (OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, set[str]] = {}
    _collect(tree, "", found)
    return found


def _collect(parent: ast.AST, prefix: str, found: dict[str, set[str]]) -> None:
    for node in ast.iter_child_nodes(parent):
        inside = prefix
        if isinstance(node, ast.ClassDef):
            inside = f"{prefix}{node.name}."
            found.setdefault(prefix + node.name, set()).update(
                each.attr
                for each in ast.walk(node)
                if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
            )
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = f"{prefix}{node.name}.<locals>."
        _collect(node, inside, found)


def _of_libraries(cls: type, tree: ast.ClassDef) -> set[str]:
    """Private names in the source of a class of ours that its library's bases define."""
    theirs = {name for base in _library_bases(cls) for name in _defined(base) if _private(name)}
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node.attr in theirs and ast.unparse(node.value) in ("self", "super()"):
                used.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            used.add(node.name)
    return used & theirs


def _found(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith(OWN):
            found |= {alias.name for alias in node.names if _private(alias.name)}
            found |= {part for part in node.module.split(".") if _private(part)}
        elif (
            isinstance(node, ast.Attribute)
            and _private(node.attr)
            and ast.unparse(node.value) not in OWN_OBJECTS
            and ast.unparse(node) not in PUBLIC
        ):
            found.add(node.attr)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if classes:
        module = _module(path)
        for node in classes:
            found |= _of_libraries(getattr(module, node.name), node)
    return found


def test_names_that_a_library_sets_in_its_methods_are_seen() -> None:
    # Neither is an attribute of the class; a class inside a function has attributes of its own.
    source = "class A:\n def f(self):\n  self._a = 1\n  class B:\n   def g(self): self._b = 2\n"
    found: dict[str, set[str]] = {}
    _collect(ast.parse(source), "", found)
    assert found == {"A": {"_a", "_b"}, "A.f.<locals>.B": {"_b"}}
    assert "_stream_reader_wr" in _defined(asyncio.StreamReaderProtocol)


def test_private_names_of_libraries_are_those_that_are_listed() -> None:
    found = {str(path.relative_to(ROOT)): _found(path) for path in _modules()}

    assert {path: names for path, names in found.items() if names} == KNOWN
