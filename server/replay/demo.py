"""Demo of replaying: a call is recorded, made a scenario, replayed 20 times, and broken in 3 ways.

voice-ai demo ─▶ cassette ─▶ scenario ─▶ 20 × the same bytes
                    └─▶ three processors that break things ─▶ each caught, by its name
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from pipecat.processors.frame_processor import FrameProcessor

from pipelines.call import catalogue
from pipelines.definition import PipelineDefinition
from server.cassettes.cassette import Cassette, read_cassettes
from server.demo.run import run_demo
from server.replay.cassettes.broken_steps import (
    AnswersLate,
    DropsEvery50thPacket,
    LosesLastWord,
    with_step,
)
from server.replay.cassettes.comparing import compare
from server.replay.cassettes.making import CASSETTE
from server.replay.cassettes.outgoing import phone_messages
from server.replay.cassettes.playing import failures, trace_path
from server.replay.cassettes.replaying import Replayed, replay_cassette
from server.replay.cassettes.step_trace import StepTrace
from server.replay.from_call import scenario_from_call
from server.replay.scenario import Where
from server.replay.virtual_time import VirtualTimeLoop

TIMES = 20
BROKEN: tuple[tuple[str, str, Callable[[], FrameProcessor]], ...] = (
    ("drops every 50th packet", "drops_every_50th", DropsEvery50thPacket),
    ("answers 400 ms later", "answers_late", AnswersLate),
    ("loses the last word", "loses_last_word", LosesLastWord),
)

Say = Callable[[str], None]


def replay_demo(folder: Path, say: Say) -> bool:
    """Play the demo, leave the scenario in `folder`; whether all went as it should.

    Raises: StageError when the server does not start.
    """
    say("1. A call, over real sockets, with CASSETTES=all")
    with tempfile.TemporaryDirectory(prefix="voice-ai-demo-replay-") as scratch:
        kept = Path(scratch) / "cassettes"
        settings = {"CASSETTES": "all", "CASSETTES_FOLDER": str(kept)}
        report = asyncio.run(run_demo(folder, lambda _, __: None, settings))
        (path,) = kept.glob("*.cassette")
        cassette = read_cassettes(path)[0]
        minutes = cassette.duration_secs / 60
        size = path.stat().st_size / 1e6
        say(f"   {cassette.duration_secs:.1f} s, {size:.2f} MB: {size / minutes:.2f} MB a minute")
        say("2. A scenario of it")
        held = not report.wrong
        held &= scenario_from_call(
            path, folder, name="demo_call", key=None, redacted_words=None,
            say=lambda line: say(f"   {line}"),
        )  # fmt: skip
        cassette = read_cassettes(folder / "demo_call" / CASSETTE)[0]
    held &= _same_every_time(cassette, say)
    say("4. Three processors that break things")
    for what, name, build in BROKEN:
        held &= _is_caught(cassette, what, name, build, say)
    return held


def _same_every_time(cassette: Cassette, say: Say) -> bool:
    say(f"3. The cassette, {TIMES} times")
    definition = catalogue.find(cassette.head.pipeline)
    sums = {_checksum(_replay(cassette, definition)) for _ in range(TIMES)}
    say(f"   {len(sums)} different outputs: {', '.join(sorted(sums))[:64]}")
    return len(sums) == 1


def _is_caught(
    cassette: Cassette, what: str, name: str, build: Callable[[], FrameProcessor], say: Say
) -> bool:
    definition = with_step(catalogue.find(cassette.head.pipeline), name, build)
    trace = StepTrace.read(trace_path(cassette.path))
    comparison = compare(cassette, _replay(cassette, definition), trace)
    if comparison.culprit is None:
        say(f"   ✗ {what}: not caught")
        return False
    say(f"   ✓ {what}: caught, in the step {comparison.culprit.step!r}")
    first = failures(Where(cassette.path, 1), comparison)[0]
    say(f"     expected {first.expected}\n     saw {first.seen}")
    for line in first.picture.splitlines():
        say(f"     {line}")
    return comparison.culprit.step == name


def _replay(cassette: Cassette, definition: PipelineDefinition) -> Replayed:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(replay_cassette(cassette, definition))


def _checksum(replayed: Replayed) -> str:
    """Of every message to Twilio, in order: sound, marks and clears."""
    sent = "\n".join(phone_messages(replayed.messages))
    return hashlib.sha256(sent.encode()).hexdigest()[:16]
