"""Half an hour on the phone: as quick, as whole and as small at its end as at its beginning."""

import asyncio
import audioop
import gc
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
import pytest

from agent.measures import ModelDeadAir, ModelSwitch, TurnResponse
from agent.record.models import Speaker
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL
from tests import virtual_time
from tests.pipelines.answering_model import REPLY_SECS, AnsweringModel
from tests.pipelines.call.test_run_call import OnStage, call, scene
from tests.pipelines.model import PlayedSession
from tests.pipelines.tone import mulaw_tone

QUESTION_SECS = 0.8
# A question every 15 s.
ROUND_SECS = 15.0
ROUNDS_A_MINUTE = 4
# So far into a round, the model has understood the caller, and a tool is called.
UNDERSTOOD_AT = 1.0
# So far into a round, a goAway comes: in the question, in the reply, and after it.
GO_AWAYS_AT = (0.4, 2.0, 6.0)
RATE = 8_000
LOUD = 1_000
LONGEST_GAP_SECS = 0.3
# The words of both sides, of which a new session is told; and when the caller spoke, which is
# forgotten later than a call of half an hour shows (`test_caller_speech.py`).
KEPT_A_ROUND = {"agent.ports.SpokenTurn": 2, "pipelines.phone.caller_speech.Stretch": 1}
OURS = ("agent.", "pipelines.", "processors.")
# Between the minutes 10 and 30: those, and a sample of our latency a second. A pointer for each
# packet would be twice as much.
MOST_BYTES_MORE = 200_000


@dataclass
class LongCall:
    """What is known of a call; its stage is emptied each round, so that what grows is ours."""

    responses: list[float] = field(default_factory=list)
    switches: Counter[str] = field(default_factory=Counter)
    longest_gap_secs: float = 0.0
    sessions: int = 0
    # At the end of some minutes: instances of our classes, tasks, and bytes if they are traced.
    objects: dict[int, Counter[str]] = field(default_factory=dict)
    tasks: dict[int, int] = field(default_factory=dict)
    size: dict[int, int] = field(default_factory=dict)

    def end_round(self, stage: OnStage) -> None:
        """Note what was heard and measured in one round, and empty the stage."""
        heard = np.frombuffer(audioop.ulaw2lin(bytes(stage.phone.heard), 2), "<i2")
        loud = np.flatnonzero(abs(heard.astype(int)) > LOUD)
        assert (loud[-1] - loud[0]) / RATE == pytest.approx(REPLY_SECS, abs=0.02)
        self.longest_gap_secs = max(self.longest_gap_secs, np.diff(loud).max() / RATE)
        assert sorted(who for who, _, _ in stage.transcript()) == [Speaker.AGENT, Speaker.CALLER]
        assert stage.of(ModelDeadAir) == []
        self.responses += [each.secs for each in stage.of(TurnResponse)]
        self.switches.update(each.cause for each in stage.of(ModelSwitch))
        empty(stage)

    def look(self, minute: int) -> None:
        """Note how much there is of everything at the end of a minute."""
        gc.collect()
        self.tasks[minute] = len(asyncio.all_tasks())
        self.size[minute] = tracemalloc.get_traced_memory()[0]
        kinds = (type(each) for each in gc.get_objects())
        self.objects[minute] = Counter(
            f"{kind.__module__}.{kind.__name__}"
            for kind in kinds
            if str(kind.__module__).startswith(OURS)
        )

    def more_objects(self, first: int, last: int) -> dict[str, int]:
        """What there is more of at the end of a minute than at that of an earlier one."""
        rounds = (last - first) * ROUNDS_A_MINUTE
        kept = Counter({name: count * rounds for name, count in KEPT_A_ROUND.items()})
        return dict(self.objects[last] - self.objects[first] - kept)


def empty(stage: OnStage) -> None:
    """Forget what the stage has kept of the call."""
    stage.phone.heard.clear()
    stage.phone.sent.clear()
    stage.measures.clear()
    for kept in (stage.record.turns, stage.record.events, stage.record.counts):
        kept.clear()
    for session in stage.model.sessions:
        session.sent.clear()
        session.heard.clear()
    for left in stage.model.sessions[:-1]:
        # It keeps what the connection was here.
        left.listen(lambda _: asyncio.sleep(0), lambda _: asyncio.sleep(0))


async def look_up(article: str) -> str:
    """Look up an article.

    Args:
        article: Its name.
    """
    return f"{article} is there."


def understood(session: PlayedSession, number: int) -> None:
    """The model has understood the caller, and looks something up before it answers."""
    session.content(input_transcription={"text": f"Is there number {number}?"})
    called = {"id": f"t{number}", "name": "look_up", "args": {"article": f"Number {number}"}}
    session.says({"tool_call": {"function_calls": [called]}})


def goes(session: PlayedSession, _: int) -> None:
    """The connection has to go."""
    session.says({"go_away": {"time_left": "10s"}})


def nothing(_session: PlayedSession, _: int) -> None:
    """The round is over."""


async def long_call(
    *, looks: tuple[int, int], go_away_every: int, trace_from: int | None = None
) -> LongCall:
    """Play one until the last of `looks`, which are minutes at whose end it is measured.

    `trace_from`: the minute from which on bytes are counted.
    """
    model, known = AnsweringModel(), LongCall()
    pipeline = PipelineDefinition("long", steps=PHONE_CALL.steps, tools=[look_up])
    setup = {"answer_patience_secs": 2.5, "silence_seconds": 60, "max_duration_seconds": 3600}
    go_aways = 0
    async with call(model, definition=pipeline, **setup) as stage:
        await stage.phone.pick_up()
        await model.session()
        await asyncio.sleep(3)
        empty(stage)
        for minute in range(1, looks[-1] + 1):
            if minute == trace_from:
                tracemalloc.start()
            for quarter in range(ROUNDS_A_MINUTE):
                moments = [(UNDERSTOOD_AT, understood), (ROUND_SECS, nothing)]
                if quarter == 0 and minute > 1 and (minute - 1) % go_away_every == 0:
                    moments.append((GO_AWAYS_AT[go_aways % len(GO_AWAYS_AT)], goes))
                    go_aways += 1
                stage.phone.speak(mulaw_tone(QUESTION_SECS))
                passed = 0.0
                for at, happens in sorted(moments, key=itemgetter(0)):
                    await asyncio.sleep(at - passed)
                    passed = at
                    happens(model.newest, len(known.responses))
                known.end_round(stage)
            if minute in looks:
                known.look(minute)
        assert not stage.running.is_over
        known.sessions = len(model.sessions)
    return known


def quick_to_the_end(known: LongCall, rounds: int) -> bool:
    """Whether the last rounds took at most a tenth longer than the first ones."""
    return sum(known.responses[-rounds:]) <= sum(known.responses[:rounds]) * 1.1


@scene
async def test_six_minutes_with_a_go_away_every_two_are_as_quick_and_small_at_the_end() -> None:
    known = await long_call(looks=(2, 6), go_away_every=2)
    assert (len(known.responses), known.sessions) == (24, 3)
    assert known.switches == {"successor_planned": 2}
    assert quick_to_the_end(known, 8)
    assert known.longest_gap_secs < LONGEST_GAP_SECS
    assert known.more_objects(2, 6) == {}
    assert known.tasks[6] <= known.tasks[2]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_half_an_hour_with_a_go_away_every_ten_minutes_is_as_quick_and_small_at_the_end() -> None:
    async def play() -> None:
        known = await long_call(looks=(10, 30), go_away_every=10, trace_from=8)
        assert len(known.responses) == 30 * ROUNDS_A_MINUTE
        # Two were announced, and at 9:20 the next connection is looked for without that.
        assert known.sessions == sum(known.switches.values()) + 1 >= 5
        assert set(known.switches) == {"successor_planned"}
        assert quick_to_the_end(known, 5 * ROUNDS_A_MINUTE)
        assert known.longest_gap_secs < LONGEST_GAP_SECS
        assert known.more_objects(10, 30) == {}
        assert known.tasks[30] <= known.tasks[10]
        assert known.size[30] - known.size[10] < MOST_BYTES_MORE

    try:
        virtual_time.run(play(), limit_secs=2_000)
    finally:
        tracemalloc.stop()
