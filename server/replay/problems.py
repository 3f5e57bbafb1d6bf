"""What is wrong with a scenario file, and what in it cannot be checked at a phone."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from server.replay.scenario import NotChecked, Where


@dataclass(frozen=True, slots=True)
class Problem:
    """A place of a file that is wrong: what belongs there, and what stands there instead."""

    where: Where
    key: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: expected {self.expected}, got {self.got}"


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
        """Note a problem."""
        self.problems.append(Problem(where, _in_a_line(key), expected, _in_a_line(got)))

    def leave_out(self, where: Where, what: str) -> None:
        """Note what is asked for and cannot be checked at a phone."""
        self.not_checked.append(NotChecked(where, what))


def _in_a_line(text: str) -> str:
    return "⏎".join(text.splitlines())
