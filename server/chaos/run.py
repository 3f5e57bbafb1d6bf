"""Plays every kind of fault on each system: ours in virtual time, the plain bot in real time.

Both systems run in one run, on the same faults.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context

from server.chaos.judge import Verdict
from server.chaos.kinds import Kind, all_kinds
from server.demo.stage import StageError

OURS, PLAIN = "ours", "plain"


@dataclass(frozen=True, slots=True)
class ChaosOptions:
    """`only`: a regular expression of the kinds to play; `jobs`: calls at a time."""

    only: str = ""
    systems: Sequence[str] = (OURS, PLAIN)
    jobs: int = 2


@dataclass(slots=True)
class ChaosResult:
    """Verdicts by system and kind; what could not be played is a sentence."""

    kinds: list[str]
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    broken: dict[tuple[str, str], str] = field(default_factory=dict)


Tell = Callable[[str, str], None]


def chosen(only: str) -> list[Kind]:
    """The kinds whose name the pattern is found in."""
    return [kind for kind in all_kinds() if re.search(only, kind.name)]


def run_chaos(options: ChaosOptions, tell: Tell = lambda _system, _kind: None) -> ChaosResult:
    """Play all kinds; `tell(system, kind)` hears of each call's end."""
    names = [kind.name for kind in chosen(options.only)]
    result = ChaosResult(names)
    tooled = {kind.name for kind in all_kinds() if kind.with_tool}
    orders = [
        (system, name)
        for system in options.systems
        for name in names
        # The plain bot has no tools.
        if system == OURS or name not in tooled
    ]
    # Each process plays on: what its first call prepares, the next ones find.
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(play, system, name): (system, name) for system, name in orders}
        for done in as_completed(waiting):
            order = waiting[done]
            try:
                result.verdicts[order] = done.result()
            except Exception as problem:
                result.broken[order] = f"{type(problem).__name__}: {problem}"
            tell(*order)
    return result


def play(system: str, name: str) -> Verdict:
    """Play one kind on one system, in this process."""
    import server.replay.quiet  # noqa: F401 (before what would log)
    from server.chaos.stage import play_ours, play_plain

    kind = next(kind for kind in all_kinds() if kind.name == name)
    if system == OURS:
        return play_ours(kind)
    try:
        return asyncio.run(play_plain(kind))
    except StageError as died:
        raise RuntimeError(str(died)) from None
