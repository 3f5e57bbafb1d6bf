"""HTML as values: what is text is escaped by construction, so that nothing from outside is markup.

element("p", "a < b", class_="note")   →   <p class="note">a &lt; b</p>
"""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

_VOID = frozenset({"meta", "link", "input"})


class Html(str):
    """A piece of markup; any other string is text."""

    __slots__ = ()


Child: TypeAlias = "str | Html | Iterable[Child] | None"


def element(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element.

    Children that are plain strings are escaped; None is left out. In the names of attributes `_`
    stands for `-`, and one at the end is dropped (`class_`); None and False leave one out.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(_legal(str(value)))}"')
    opening = f"<{' '.join(words)}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """Pieces one behind the other, text escaped."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, str):
            parts.append(escape(_legal(child)))
        else:
            parts.append(joined(child))
    return Html("".join(parts))


def _legal(text: str) -> str:
    """Without what HTML has no place for: control characters and halves of surrogate pairs."""
    return "".join(
        char if (char >= " " and not "\x7f" <= char <= "\x9f") or char in "\n\t" else "\ufffd"
        for char in text.encode("utf-8", "replace").decode("utf-8")
    )
