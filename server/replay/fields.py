"""A mapping of a scenario file, taken key by key: each wrong value is noted with its line."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from server.replay.problems import Findings
from server.replay.scenario import Where
from server.replay.yaml_lines import Entry, Node

# No scenario lasts longer than a day.
DAY_MS = 86_400_000

Default = TypeVar("Default")
Word = TypeVar("Word", bound=str)


class Fields:
    """The keys of one mapping. `name` is its path in the file (`turns[1].expect[0]`).

    A key without a value counts as left out. A wrong value is noted once, and taken as left out.
    """

    def __init__(self, node: Node, name: str, known: Collection[str], findings: Findings) -> None:
        self.where = node.where
        self.name = name
        self.findings = findings
        self._entries: Mapping[str, Entry] = {}
        if isinstance(node.value, Mapping):
            self._entries = node.value
        else:
            findings.wrong(node.where, name or "file", "a mapping", node.shown())
        for key, entry in self._entries.items():
            if key not in known:
                findings.unknown(entry.where, self.path(key), key, known)

    def path(self, key: str) -> str:
        """The key's path in the file."""
        return f"{self.name}.{key}" if self.name else key

    def at(self, key: str) -> Where:
        """Where the key stands; if it is left out, where the mapping begins."""
        entry = self._entries.get(key)
        return self.where if entry is None else entry.where

    def node(self, key: str) -> Node | None:
        """The value as it stands in the file."""
        entry = self._entries.get(key)
        return None if entry is None or entry.node.value is None else entry.node

    def has(self, key: str) -> bool:
        """Whether the key has a value."""
        return self.node(key) is not None

    def wrong(self, key: str, expected: str, got: str | None = None) -> None:
        """Note that this key's value is wrong."""
        node = self.node(key)
        shown = got or ("nothing" if node is None else node.shown())
        # A value of an included file is wrong there, not where it is included.
        where = self.at(key)
        if node is not None and node.where.path != where.path:
            where = node.where
        self.findings.wrong(where, self.path(key), expected, shown)

    def leave_out(self, key: str, what: str) -> None:
        """Note that this key asks for what cannot be checked at a phone."""
        self.findings.leave_out(self.at(key), what)

    def text(self, key: str) -> str | None:
        """A text with something in it."""
        node = self.node(key)
        return None if node is None else text_of(node, self.path(key), self.findings)

    def whole(
        self, key: str, default: Default, *, least: int = 0, most: int = DAY_MS
    ) -> int | Default:
        """A whole number within these bounds."""
        node = self.node(key)
        if node is None:
            return default
        value = node.value
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.wrong(key, f"a whole number from {least} to {most}")
        return default

    def number(self, key: str, *, least: float = 0, most: float = DAY_MS) -> float | None:
        """A number within these bounds."""
        node = self.node(key)
        if node is None:
            return None
        value = node.value
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and least <= value <= most
        ):
            return float(value)
        self.wrong(key, f"a number from {least:g} to {most:g}")
        return None

    def yes_no(self, key: str, default: Default) -> bool | Default:
        """True or false."""
        node = self.node(key)
        if node is None:
            return default
        if isinstance(node.value, bool):
            return node.value
        self.wrong(key, "true or false")
        return default

    def choice(self, key: str, words: Sequence[Word], default: Default) -> Word | Default:
        """One of these words."""
        node = self.node(key)
        if node is None:
            return default
        for word in words:
            if node.value == word:
                return word
        self.wrong(key, f"one of {', '.join(words)}")
        return default

    def mapping(self, key: str, known: Collection[str]) -> "Fields | None":
        """A mapping with these keys."""
        node = self.node(key)
        return None if node is None else Fields(node, self.path(key), known, self.findings)

    def free_mapping(self, key: str) -> Node | None:
        """A mapping with any keys."""
        node = self.node(key)
        if node is not None and not isinstance(node.value, Mapping):
            self.wrong(key, "a mapping")
            return None
        return node

    def items(self, key: str) -> list[tuple[str, Node]]:
        """The items of a list, each with its path in the file."""
        node = self.node(key)
        if node is None:
            return []
        if not isinstance(node.value, tuple):
            self.wrong(key, "a list")
            return []
        return [(f"{self.path(key)}[{index}]", item) for index, item in enumerate(node.value)]


def text_of(node: Node, path: str, findings: Findings) -> str | None:
    """A value that is a text with something in it."""
    if isinstance(node.value, str) and node.value.strip():
        return node.value
    got = node.shown()
    if isinstance(node.value, bool | int | float):
        got = f"{got}, which is a text in quotes only"
    findings.wrong(node.where, path, "a text", got)
    return None
