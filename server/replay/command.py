"""What `voice-ai replay` does: find scenarios, play them, show them, write the reports."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google import genai
from rich.console import Console

from pipelines.call import catalogue
from server.emulators.twilio.sound import write_stereo
from server.replay.comparison import changes, write_comparison
from server.replay.judging import Judge
from server.replay.reading import ScenarioError, find_files, read_scenarios
from server.replay.report_console import LiveTable, print_results
from server.replay.report_html import write_html
from server.replay.report_junit import write_junit
from server.replay.results import Replay, Verdict
from server.replay.run_folder import RunError, read_run, save_run
from server.replay.runner import RunOptions, run_all
from server.replay.scenario import Scenario
from server.replay.variation import breaking, varied


class ReplayError(Exception):
    """Nothing can be replayed; the text says why, with file and line where there is one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which scenarios are played, in which order, and on which lines."""

    only: str | None = None
    vary_line: bool = False
    # The key of the model that judges `eval` sentences; None: nobody does.
    judge_key: str | None = None
    # Seed of a random order; None: in the order of the files.
    shuffle_seed: int | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files to write; None for those that nobody wants. `wav` is a folder."""

    junit: Path | None = None
    wav: Path | None = None
    html: Path | None = None
    # A folder for the run, to be compared with another.
    run: Path | None = None


def replay_and_report(
    paths: Sequence[Path], choice: Choice, options: RunOptions, outputs: Outputs
) -> bool:
    """Whether every scenario held.

    Raises: ReplayError when there is nothing to play, a file or a pipeline is wrong, or a report
    cannot be written.
    """
    try:
        catalogue.use(options.play.pipelines)
    except catalogue.BrokenPipeline as error:
        raise ReplayError(str(error)) from None
    scenarios = _scenarios(paths, choice.only)
    if choice.vary_line:
        scenarios = varied(scenarios)
    console = Console()
    if choice.shuffle_seed is not None:
        random.Random(choice.shuffle_seed).shuffle(scenarios)  # noqa: S311 - an order, no secret
        console.print(f"Shuffled: --seed {choice.shuffle_seed} gives the same order.")
    with LiveTable(console, scenarios, repetitions=options.repeat) as table:
        replays = run_all(scenarios, options, on_start=table.started, on_done=table.finished)
        took_secs = table.took_secs
    if choice.judge_key is not None:
        asyncio.run(_judge(replays, choice.judge_key))
    print_results(replays, console, took_secs=took_secs)
    for judged in (judged for replay in replays for judged in replay.judged):
        held = "holds" if judged.holds else "does not hold"
        says = f"judged: {judged.where}: “{judged.criterion}” {held}: {judged.reason}"
        console.print(says, markup=False, soft_wrap=True)
    if choice.vary_line:
        for sentence in breaking(replays):
            console.print(sentence, markup=False, highlight=False)
    try:
        _write(replays, outputs, took_secs)
    except OSError as error:
        raise ReplayError(f"A report could not be written: {error}") from None
    return all(replay.verdict in (Verdict.PASSED, Verdict.NOT_CHECKED) for replay in replays)


async def _judge(replays: Sequence[Replay], key: str) -> None:
    client = genai.Client(api_key=key, vertexai=False)
    try:
        await Judge(client).judge_all(replays)
    finally:
        await client.aio.aclose()


def compare_and_report(before: Path, after: Path, html: Path | None) -> bool:
    """Print what changed from one saved run to another; whether nothing did.

    Raises: ReplayError.
    """
    try:
        runs = read_run(before), read_run(after)
        found = changes(*runs)
        if html is not None:
            write_comparison(*runs, found, html)
    except (RunError, OSError) as error:
        raise ReplayError(str(error)) from None
    console = Console()
    for change in found:
        console.print(f"{change.scenario}: {change.says}", markup=False, soft_wrap=True)
    if not found:
        console.print(f"Nothing changed in {len(runs[0])} scenarios.")
    return not found


def _scenarios(paths: Sequence[Path], only: str | None) -> list[Scenario]:
    for path in paths:
        if not path.exists():
            raise ReplayError(f"There is no {path}.")
    found: list[Scenario] = []
    problems: list[str] = []
    for file in find_files(paths):
        try:
            found += read_scenarios(file)
        except ScenarioError as error:
            problems.append(str(error))
    if problems:
        raise ReplayError("\n".join(problems))
    chosen = [scenario for scenario in found if only is None or only in scenario.name]
    if not chosen:
        names = ", ".join(str(path) for path in paths)
        raise ReplayError(
            f"There is no scenario in {names}" + (f" with {only!r}." if only else ".")
        )
    return chosen


def _write(replays: Sequence[Replay], outputs: Outputs, took_secs: float) -> None:
    if outputs.junit is not None:
        write_junit(replays, outputs.junit)
    if outputs.run is not None:
        save_run(replays, outputs.run)
    if outputs.html is not None:
        write_html(replays, outputs.html, took_secs=took_secs)
    if outputs.wav is not None:
        _write_wavs(replays, outputs.wav)


def _write_wavs(replays: Sequence[Replay], folder: Path) -> None:
    """One of each call that was answered; scenarios of the same name are numbered."""
    folder.mkdir(parents=True, exist_ok=True)
    written: Counter[str] = Counter()
    for replay in replays:
        sides = (replay.sound.caller, replay.sound.agent)
        if not any(sides):
            continue
        name = replay.scenario.name.replace("/", ".")
        written[name] += 1
        number = f".{written[name]}" if written[name] > 1 else ""
        left, right = (np.frombuffer(side, dtype="<i2") for side in sides)
        write_stereo(folder / f"{name}{number}.wav", left, right)
