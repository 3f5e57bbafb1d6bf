"""YAML in which every key and every item knows its line, with `!include` of other files.

What differs from YAML 1.1: whole numbers are plain decimals (`012` and `0x1f` stay texts), dates
stay texts, a key stands once in its mapping and is the text that is written there, and no tag
makes anything but plain values. An included file stands where its path is, relative to the file
that includes it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from server.replay.problems import Findings
from server.replay.scenario import Where

Scalar = str | int | float | bool | None

# Nothing that a person writes is deeper or larger; aliases of aliases are.
DEEPEST = 40
MOST_NODES = 50_000

_CORE = "tag:yaml.org,2002:"
_MERGE = f"{_CORE}merge"
_INCLUDE = "!include"
_YES = frozenset({"yes", "true", "on"})
_KEPT = frozenset({f"{_CORE}bool", f"{_CORE}null", _MERGE})
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)\Z")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands. `raw` is a scalar as it is written, `size` counts all nodes."""

    where: Where
    value: "Scalar | tuple[Node, ...] | Mapping[str, Entry]"
    raw: str = ""
    size: int = 1

    def plain(self) -> Any:
        """The value alone, as a YAML library would give it."""
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        if isinstance(self.value, Mapping):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        return self.value

    def shown(self) -> str:
        """The value in a few words, for a sentence about it."""
        if isinstance(self.value, tuple):
            return "a list"
        if isinstance(self.value, Mapping):
            return "a mapping"
        if self.value is None:
            return "nothing"
        text = repr(self.value) if isinstance(self.value, str) else self.raw
        return text if len(text) <= 60 else f"{text[:57]}…"


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of a mapping, and where its key stands."""

    where: Where
    node: Node


def read_yaml(path: Path, findings: Findings) -> Node:
    """The tree of a file; what cannot be read is noted, and is None in the tree."""
    return _File(path, (), findings, Where(path, 1)).node()


def top_keys(path: Path) -> frozenset[str] | None:
    """The keys of a file's outermost mapping, includes left alone; None: it is no YAML.

    A file that holds no mapping has none.
    """
    findings = Findings()
    top = _File(path, (), findings, Where(path, 1)).composed()
    if findings.problems:
        return None
    if not isinstance(top, yaml.MappingNode):
        return frozenset()
    return frozenset(key.value for key, _ in top.value if isinstance(key, yaml.ScalarNode))


class _Loader(yaml.SafeLoader):
    """Composes nodes; `_File` makes the values."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_CORE}int", _WHOLE, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_CORE}float", _DECIMAL, list("-+.0123456789"))


class _File:
    """One file on its way into a tree; `within` are the files that include it."""

    def __init__(
        self, path: Path, within: tuple[Path, ...], findings: Findings, asked_at: Where
    ) -> None:
        self._path = path
        self._within = within
        self._findings = findings
        self._asked_at = asked_at
        self._made: dict[int, Node] = {}
        self._open: set[int] = set()

    def node(self) -> Node:
        top = self.composed()
        return Node(Where(self._path, 1), None) if top is None else self._node(top, 0)

    def composed(self) -> yaml.Node | None:
        """The file as PyYAML's nodes; None: it is empty, or what is wrong was noted."""
        try:
            content = self._path.read_bytes()
        except (OSError, ValueError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            self._findings.wrong(self._asked_at, str(self._path), "a file that can be read", reason)
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            line = content.count(b"\n", 0, problem.start) + 1
            self._broken(line, f"bytes that are no UTF-8: {problem.reason}")
            return None
        return self._parsed(text)

    def _parsed(self, text: str) -> yaml.Node | None:
        loader = None
        try:
            loader = _Loader(text)
            found: yaml.Node | None = loader.get_single_node()
            return found
        except yaml.MarkedYAMLError as problem:
            mark = problem.problem_mark or problem.context_mark
            said = problem.problem or problem.context or "something else"
            self._broken(mark.line + 1 if mark else 1, said)
        except yaml.reader.ReaderError as problem:
            line = text.count("\n", 0, problem.position) + 1
            self._broken(line, f"the character {problem.character!r}")
        except RecursionError:
            self._broken(loader.get_mark().line + 1 if loader else 1, "brackets too deep")
        except (ValueError, OverflowError) as problem:
            self._broken(loader.get_mark().line + 1 if loader else 1, str(problem))
        finally:
            if loader is not None:
                loader.dispose()
        return None

    def _broken(self, line: int, said: str) -> None:
        self._findings.wrong(Where(self._path, line), "YAML", "a file that can be parsed", said)

    def _wrong(self, source: yaml.Node, key: str, expected: str, got: str) -> Node:
        where = self._where(source)
        self._findings.wrong(where, key, expected, got)
        return Node(where, None)

    def _where(self, source: yaml.Node) -> Where:
        return Where(self._path, source.start_mark.line + 1)

    def _node(self, source: yaml.Node, depth: int) -> Node:
        if id(source) in self._open:
            return self._wrong(source, "YAML", "a value", "an alias of what it stands in")
        if depth > DEEPEST:
            return self._wrong(source, "YAML", f"at most {DEEPEST} levels", "more")
        if id(source) not in self._made:
            self._open.add(id(source))
            self._made[id(source)] = self._new(source, depth)
            self._open.discard(id(source))
        return self._made[id(source)]

    def _new(self, source: yaml.Node, depth: int) -> Node:
        if isinstance(source, yaml.ScalarNode):
            return self._scalar(source)
        tag = f"{_CORE}{'seq' if isinstance(source, yaml.SequenceNode) else 'map'}"
        if source.tag != tag:
            return self._wrong(source, source.tag, "a plain list or mapping", "this tag")
        where = self._where(source)
        if isinstance(source, yaml.SequenceNode):
            items = tuple(self._node(item, depth + 1) for item in source.value)
            node = Node(where, items, size=1 + sum(item.size for item in items))
        else:
            entries = self._entries(source, depth)
            size = 1 + sum(entry.node.size for entry in entries.values())
            node = Node(where, entries, size=size)
        if node.size > MOST_NODES:
            return self._wrong(source, "YAML", f"at most {MOST_NODES} values", "more")
        return node

    def _entries(self, source: yaml.Node, depth: int) -> dict[str, Entry]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in source.value:
            if not isinstance(key, yaml.ScalarNode):
                self._wrong(key, "YAML", "a text as key", f"a {key.id}")
                continue
            node = self._node(value, depth + 1)
            if key.tag == _MERGE:
                for mapping in node.value if isinstance(node.value, tuple) else (node,):
                    if isinstance(mapping.value, Mapping):
                        merged = {**mapping.value, **merged}
                    else:
                        self._wrong(key, "<<", "a mapping", mapping.shown())
            elif key.value in own:
                first = own[key.value].where.line
                self._wrong(key, key.value, "each key once", f"it again (first in line {first})")
            elif not self._is_text(key.value):
                self._wrong(key, "YAML", "characters of Unicode", "NUL or half of one")
            else:
                own[key.value] = Entry(self._where(key), node)
        return {**merged, **own}

    def _scalar(self, source: yaml.ScalarNode) -> Node:
        raw = source.value
        if not self._is_text(raw):
            return self._wrong(source, "YAML", "characters of Unicode", "NUL or half of one")
        if source.tag == _INCLUDE:
            return self._included(source)
        try:
            return Node(self._where(source), _value_of(source.tag, raw), raw)
        except (ValueError, OverflowError):
            kind = source.tag.removeprefix(_CORE)
            return self._wrong(source, "YAML", f"a value of the type {kind}", repr(raw[:40]))

    def _included(self, source: yaml.ScalarNode) -> Node:
        path = Path(os.path.normpath(self._path.parent / source.value))
        chain = (*self._within, self._path.absolute())
        if path.absolute() in chain:
            way = " → ".join(file.name for file in (*chain, path))
            return self._wrong(source, _INCLUDE, "files that do not include each other", way)
        return _File(path, chain, self._findings, self._where(source)).node()

    @staticmethod
    def _is_text(text: str) -> bool:
        return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def _value_of(tag: str, raw: str) -> Scalar:
    match tag.removeprefix(_CORE):
        case "str" | "merge":
            return raw
        case "null":
            return None
        case "bool" if raw.lower() in yaml.SafeLoader.bool_values:
            return raw.lower() in _YES
        case "int":
            return int(raw.replace("_", ""))
        case "float":
            return float(raw)
    raise ValueError(f"there is no type {tag}")
