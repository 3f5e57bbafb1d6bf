"""What replays come to, in a terminal: a table while they run, and the reasons at the end.

      scenario                     ended               length speed response
    ✓ appointments/barge_in        completed · agent   23.0 s   28×   900 ms
    ✗ appointments/opening_hours   completed · agent   13.4 s   22×  3600 ms  …yaml:47: expected …
    ⠹ appointments/five_minutes    runs

How the call ended, how long it lasted, how much faster it was played, the middle of its response
times, and why it failed. What is done scrolls up, and only what runs is drawn again; where nobody
watches, each replay is one plain line once it is done, and the reasons stand at the end alone. In a
narrow terminal, a completed call has only the reason of its end.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from server.observability.printable import printable
from server.replay.flickering import flickering
from server.replay.name_column import NameColumn
from server.replay.page.figures import SPACE, length, milliseconds, p50, repeated, speed, title
from server.replay.results import Failure, Replay, Verdict
from server.replay.scenario import Scenario

_SIGNS = {
    Verdict.PASSED: ("✓", "green"),
    Verdict.FAILED: ("✗", "red"),
    Verdict.BROKEN: ("!", "magenta"),
    Verdict.NOT_CHECKED: ("–", "yellow"),
}
_NAME_AT_MOST = 44
_NAME_AT_LEAST = 26
# How the call ended from the left, and how long it lasted from the right.
_ENDED_WIDTH, _NARROW_ENDED_WIDTH = 32, 18
_SPEED_WIDTH, _RESPONSE_WIDTH = 6, 9
_BESIDE_NAME = len("✓ ") + len("  ") + _ENDED_WIDTH + _SPEED_WIDTH + _RESPONSE_WIDTH
_REASON_AT_LEAST = 24


class LiveTable:
    """The replays as they run: `with LiveTable(…) as table`, then `started` and `finished`.

    `scenarios` are all that will run, each `repetitions` times; `clock` tells the wall's seconds.
    Not for several threads.
    """

    def __init__(
        self,
        console: Console,
        scenarios: Sequence[Scenario],
        *,
        repetitions: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._total = len(scenarios) * repetitions
        names = [title(scenario.name, repetitions) for scenario in scenarios]
        wanted = min(max(map(len, names), default=8), _NAME_AT_MOST)
        self._is_narrow = console.is_terminal and console.width < wanted + _BESIDE_NAME
        self._ended_width = _NARROW_ENDED_WIDTH if self._is_narrow else _ENDED_WIDTH
        if console.is_terminal:
            # A row is one line of the terminal: a name loses its middle before a figure is cut.
            beside = _BESIDE_NAME - _ENDED_WIDTH + self._ended_width
            wanted = min(wanted, max(_NAME_AT_LEAST, console.width - beside))
        self._names = NameColumn(
            (scenario.name for scenario in scenarios), wanted, repetitions=repetitions
        )
        self._clock = clock
        self._began = clock()
        self._running: dict[tuple[str, int], float] = {}
        self._verdicts: Counter[Verdict] = Counter()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._began = self._clock()
        self._print(self._heading())
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self._drawn, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def took_secs(self) -> float:
        """Since the table was entered."""
        return self._clock() - self._began

    def started(self, scenario: Scenario, repetition: int = 1) -> None:
        """A replay runs."""
        self._running[scenario.name, repetition] = self._clock()

    def finished(self, replay: Replay) -> None:
        """A replay is over: its row is printed for good."""
        self._running.pop((replay.scenario.name, replay.repetition), None)
        self._verdicts[replay.verdict] += 1
        self._print(self._row(replay))

    def _print(self, row: Text) -> None:
        if self._console.is_terminal:
            self._console.print(row, no_wrap=True, overflow="ellipsis", crop=True)
        else:
            self._console.print(row, soft_wrap=True)

    def _heading(self) -> Text:
        ended = f"ended{'length':>{self._ended_width - len('ended')}}"
        figures = f"{'speed':>{_SPEED_WIDTH}}{'response':>{_RESPONSE_WIDTH}}"
        return Text(f"  {self._names.fit('scenario')}  {ended}{figures}", "dim")

    def _ended(self, replay: Replay) -> str:
        words = [word for word in (replay.status, replay.end_reason) if word]
        if replay.verdict in (Verdict.BROKEN, Verdict.NOT_CHECKED) and not words:
            return replay.verdict.value
        if self._is_narrow and words[:1] == ["completed"]:
            return words[-1]
        return words[0] if self._is_narrow and words else " · ".join(words)

    def _row(self, replay: Replay) -> Text:
        sign, style = _SIGNS[replay.verdict]
        name = self._names.fit(replay.scenario.name, replay.repetition)
        middle = p50(replay.response_ms)
        ended = printable(self._ended(replay))
        lasted = length(replay.call_secs) if replay.call_secs else ""
        figures = (
            f"{lasted:>{max(self._ended_width - len(ended), len(lasted) + 1)}}"
            f"{speed(replay.call_secs, replay.took_secs):>{_SPEED_WIDTH}}"
            f"{milliseconds(middle) if middle is not None else '':>{_RESPONSE_WIDTH}}"
        )
        row = Text.assemble(
            (sign, style),
            f" {name}  ",
            (ended, "dim"),
            figures,
        )
        room = self._console.width - row.cell_len if self._console.is_terminal else 0
        if room >= _REASON_AT_LEAST and (why := _first_reason(replay)):
            row.append(f"  {why}", style)
        row.rstrip()
        return row

    def _drawn(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for (name, repetition), since in self._running.items():
            text = Text.assemble(
                self._names.fit(name, repetition),
                ("  runs ", "dim"),
                (length(self._clock() - since), "dim"),
            )
            table.add_row(Spinner("dots", style="cyan"), text)
        done = self._verdicts.total()
        counted = ", ".join(
            f"{number} {verdict.value}"
            for verdict in Verdict
            if (number := self._verdicts[verdict])
        )
        text = Text(f"{done} of {self._total} in {length(self.took_secs)}", "bold")
        text.append(f"  {counted}", "dim")
        table.add_row("", text)
        return table


def print_results(
    replays: Sequence[Replay], console: Console, *, took_secs: float | None = None
) -> None:
    """Print what failed and where, notes, what was not checked, what is flaky, and totals.

    `took_secs` is how long all took on the wall's clock, where that is not the sum of the replays
    (several may have run at once).
    """

    def say(*parts: str | tuple[str, str]) -> None:
        console.print(Text.assemble(*parts), soft_wrap=True)

    many = repeated(replays)
    flakes = _flakes(replays, many)
    console.print()
    for replay in replays:
        name = title(replay.scenario.name, replay.repetition)
        if replay.verdict is Verdict.BROKEN:
            say(
                (f"{printable(str(replay.scenario.where))}: ", "bold"),
                (printable(name), "magenta"),
                " broke: ",
                printable(replay.problem),
            )
        for failure in replay.failures:
            say(
                (f"{printable(str(failure.where))}: ", "bold"),
                _in_words(failure),
                (f"  ({printable(name)})", "dim"),
            )
            for line in failure.picture.splitlines():
                say((f"    {printable(line)}", "dim"))
        for note in replay.notes:
            say(("note: ", "cyan"), printable(note), (f"  ({printable(name)})", "dim"))
    for line in _unchecked(replays):
        say(("not checked: ", "yellow"), line)
    for line in flakes:
        say(("flaky: ", "magenta"), line)
    if many and not flakes:
        say(f"Nothing is flaky: each of {len(many)}{SPACE}repeated ended the same way every time.")
    say((_totals(replays, took_secs), "bold"))


def _first_reason(replay: Replay) -> str:
    if replay.problem:
        return printable(replay.problem)
    if replay.failures:
        failure = replay.failures[0]
        return f"{printable(str(failure.where))}: {_in_words(failure)}"
    if replay.verdict is Verdict.NOT_CHECKED and replay.not_checked:
        return printable(replay.not_checked[0].what)
    return ""


def _in_words(failure: Failure) -> str:
    return f"expected {printable(failure.expected)} — saw {printable(failure.seen)}"


def _unchecked(replays: Sequence[Replay]) -> list[str]:
    """Each thing once, however often it was repeated."""
    seen = {it: None for replay in replays for it in replay.not_checked}
    return [printable(f"{it.where}: {it.what}") for it in seen]


def _flakes(replays: Sequence[Replay], many: frozenset[str]) -> list[str]:
    """The scenarios that did not end the same way each time."""
    lines = []
    for name in sorted(many):
        of_name = [replay for replay in replays if replay.scenario.name == name]
        if len({replay.verdict for replay in of_name}) == 1:
            continue
        passed = sum(replay.verdict is Verdict.PASSED for replay in of_name)
        others = [str(it.repetition) for it in of_name if it.verdict is not Verdict.PASSED]
        lines.append(
            f"{printable(name)}: {passed} of {len(of_name)} passed (not: {', '.join(others)})"
        )
        lines += [printable(f"{name}: {sentence}") for sentence in flickering(of_name)]
    return lines


def _totals(replays: Sequence[Replay], took_secs: float | None) -> str:
    counts = Counter(replay.verdict for replay in replays)
    took = sum(replay.took_secs for replay in replays) if took_secs is None else took_secs
    calls = sum(replay.call_secs for replay in replays)
    parts = [f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]]
    times = speed(calls, took)
    lasted = f" (calls lasted {length(calls)}{f': {times}' if times else ''})" if calls else ""
    return f"{', '.join(parts) or 'nothing was replayed'} in {length(took)}{lasted}"
