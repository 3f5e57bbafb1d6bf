"""What `voice-ai scenarios from-call` does: read a cassette, make the scenario, play both once."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.call import catalogue
from server.cassettes.blocks import CassetteError
from server.cassettes.cassette import Cassette, read_cassettes
from server.replay.cassettes.comparing import compare
from server.replay.cassettes.making import CASSETTE, SCENARIO, make_scenario
from server.replay.cassettes.playing import trace_path
from server.replay.cassettes.redaction import Redaction
from server.replay.cassettes.replaying import replay_cassette
from server.replay.player import PlayOptions
from server.replay.reading import read_scenarios
from server.replay.results import Replay, Verdict
from server.replay.runner import RunOptions, play_one
from server.replay.virtual_time import VirtualTimeLoop
from server.settings.written_values import read_key


class FromCallError(Exception):
    """No scenario can be made; the text says why."""


def scenario_from_call(
    path: Path,
    to: Path,
    *,
    name: str | None,
    key: str | None,
    redacted_words: Sequence[str] | None,
    say: Callable[[str], None],
    pipelines: Sequence[str] = (),
) -> bool:
    """Make a scenario of the cassette at `path`, and play it; whether it holds.

    `redacted_words`: hide names and numbers, and these; None: hide nothing. `pipelines` are the
    modules and folders of PIPELINES.

    Raises: FromCallError.
    """
    try:
        catalogue.use(pipelines)
        cassette = read_cassettes(path, None if key is None else read_key(key))[0]
        if cassette.answered_at is None:
            raise FromCallError(f"{path}: nobody answered this call: there is nothing to replay")
        name = name or f"call_{cassette.head.call_id[:8]}"
        redaction = None
        if redacted_words is not None:
            profile = catalogue.find(cassette.head.pipeline).profile
            own = (profile.greeting, profile.system_prompt)
            redaction = Redaction(cassette.head.metadata, redacted_words, own)
        made = make_scenario(cassette, to / name, name=name, redaction=redaction)
    except (CassetteError, catalogue.BrokenPipeline, OSError, LookupError) as error:
        raise FromCallError(str(error)) from None
    say(f"{made.folder}: {made.turns} turns, {made.secs:.1f} s of the caller's track")
    if cassette.cut_off or cassette.end is None:
        say("The cassette does not hold the end of the call: it was cut off, or goes on elsewhere.")
    held = True
    if redaction is None:
        held = _accept(cassette, made.folder / CASSETTE, say)
    else:
        say("Names and numbers are hidden as far as they were recognised: read and listen to it.")
    for scenario in read_scenarios(made.folder / SCENARIO):
        replay = play_one(scenario, RunOptions(play=PlayOptions(pipelines=tuple(pipelines))))
        held = held and replay.verdict is Verdict.PASSED
        _tell(replay, say)
    return held


def _accept(cassette: Cassette, copy: Path, say: Callable[[str], None]) -> bool:
    """Replay the whole cassette; when our side is the same, keep what each step did."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        replayed = runner.run(replay_cassette(cassette))
    comparison = compare(cassette, replayed)
    if comparison.is_same:
        replayed.trace.write(trace_path(copy))
        say(f"✓ {copy.name}: replayed, and our side did the same")
        return True
    first = comparison.differences[0]
    say(f"✗ {copy.name}: at {first.at:.3f} s expected {first.expected} — saw {first.seen}")
    return False


def _tell(replay: Replay, say: Callable[[str], None]) -> None:
    sign = "✓" if replay.verdict is Verdict.PASSED else "✗"
    say(f"{sign} {replay.scenario.name}: {replay.verdict.value} {replay.problem}".rstrip())
    for failure in replay.failures:
        say(f"  {failure.where}: expected {failure.expected} — saw {failure.seen}")
