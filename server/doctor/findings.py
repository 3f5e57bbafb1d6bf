"""Finding: what one check found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

from pipelines.gemini.refusals import presentable


class Mark(StrEnum):
    """How good it is; only `FAIL` makes the exit code 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `says` is what is so; `do` is what to do, empty when nothing is."""

    name: str
    mark: Mark
    says: str
    do: str = ""


def ok(name: str, says: str) -> Finding:
    """It works."""
    return Finding(name, Mark.OK, says)


def warn(name: str, says: str, do: str) -> Finding:
    """It works, and may not be meant so."""
    return Finding(name, Mark.WARN, says, do)


def fail(name: str, says: str, do: str) -> Finding:
    """Calls cannot work like this."""
    return Finding(name, Mark.FAIL, says, do)


def skip(name: str, says: str, do: str = "") -> Finding:
    """It could not be looked at, or is not used."""
    return Finding(name, Mark.SKIP, says, do)


def reason(error: BaseException) -> str:
    """What an exception says, on one line and without secrets; its name when it says nothing."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return presentable(str(error)) or type(error).__name__
