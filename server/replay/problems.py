"""What is wrong with a scenario file, and what in it cannot be checked at a phone."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from server.replay.scenario import NotChecked, Where


@dataclass(frozen=True, slots=True)
class Problem:
    """A place of a file that is wrong, and a sentence that says what is wrong with it."""

    where: Where
    key: str
    says: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.says}"


class ScenarioError(ValueError):
    """A file is no scenario. Its text has a line for each of `problems`; `where` is the first's."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems = tuple(sorted(unique, key=lambda p: (str(p.where.path), p.where.line)))
        self.where = self.problems[0].where
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(slots=True)
class Findings:
    """What is noticed while a file is read; reading goes on, so that all of it is told at once."""

    problems: list[Problem] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)

    def wrong(self, where: Where, key: str, expected: str, got: str) -> None:
        """Note what belongs there, and what stands there instead."""
        says = f"expected {expected}, got {_in_a_line(got)}"
        self.problems.append(Problem(where, _in_a_line(key), says))

    def unknown(self, where: Where, key: str, last: str, known: Collection[str]) -> None:
        """Note a key that there is not: `last` is its own name, `key` its path."""
        near = get_close_matches(last, known, n=1)
        instead = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
        says = f"there is no key `{_in_a_line(last)}`; {instead}"
        self.problems.append(Problem(where, _in_a_line(key), says))

    def leave_out(self, where: Where, what: str) -> None:
        """Note what is asked for and cannot be checked at a phone."""
        self.not_checked.append(NotChecked(where, what))


def _in_a_line(text: str) -> str:
    return "⏎".join(text.splitlines())
