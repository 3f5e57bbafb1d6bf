"""NameColumn: the names of scenarios in a column; none is wider, and no two look alike."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import takewhile

from server.observability.printable import printable
from server.replay.page.figures import title

# So many characters that two names share are shown before the first one that differs.
_BEFORE_THE_DIFFERENCE = 3


class NameColumn:
    """Fits titles into `width` characters: a name that is too long loses its middle.

    When two names would look alike, each shows where it differs from the other.
    """

    def __init__(self, names: Iterable[str], width: int, *, repetitions: int = 1) -> None:
        self._width = width
        # The number of a repetition is always shown.
        self._room = width - len(title("", repetitions))
        self._fitted: dict[str, str] = {}
        alike: defaultdict[str, list[str]] = defaultdict(list)
        for name in dict.fromkeys(map(printable, names)):
            alike[_without_middle(name, self._room)].append(name)
        for shown, group in alike.items():
            same = _first_difference(group)
            for name in group:
                self._add(name, shown if len(group) == 1 else _around(name, same, self._room))

    def _add(self, name: str, shown: str) -> None:
        taken, number = set(self._fitted.values()), 2
        distinct = shown
        while distinct in taken:
            mark = f"~{number}"
            distinct, number = shown[: self._room - len(mark)] + mark, number + 1
        self._fitted[name] = distinct

    def fit(self, name: str, repetition: int = 1) -> str:
        """The title of a repetition, exactly as wide as the column."""
        name = printable(name)
        shown = self._fitted.get(name) or _without_middle(name, self._room)
        return f"{title(shown, repetition):<{self._width}}"


def _first_difference(texts: list[str]) -> int:
    """The place of the first character in which not all are equal."""
    return sum(
        1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))
    )


def _without_middle(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    kept = width - 1
    return f"{text[: kept // 3]}…{text[len(text) - (kept - kept // 3) :]}"


def _around(text: str, place: int, width: int) -> str:
    """Its beginning, and what stands around this place."""
    head = (width - 1) // 3
    start = max(head, min(place - _BEFORE_THE_DIFFERENCE, len(text) - (width - head - 1)))
    return f"{text[:head]}…{text[start:]}"[:width]
