"""What is prepared for phones that ring: taken once, made anew, dropped, and always counted."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.measures import Measure, WarmUp, WarmWaste
from agent.record.models import Call, EndReason
from pipelines.call.prewarming import WARM_FOR_SECS, Prewarming
from tests import virtual_time
from tests.pipelines.scripted_pipeline import ScriptedPipeline, a_call


class Hall:
    """Warm sessions with scripted pipelines, each ready at once unless `is_prepared` is False."""

    def __init__(self, limit: int = 5) -> None:
        self.measures: list[Measure] = []
        self.pipelines: list[ScriptedPipeline] = []
        self.log: list[str] = []
        self.is_prepared = True
        self.may_start = True
        # What reading a record comes to; it waits while this is not set.
        self.may_find = asyncio.Event()
        self.may_find.set()
        self.finds: Callable[[str], Call] = a_call
        self.warm = Prewarming(
            self._start,  # type: ignore[arg-type]
            self._find,
            limit=limit,
            measure=self.measures.append,
        )

    @property
    def outcomes(self) -> list[str]:
        return [measure.outcome for measure in self.measures if isinstance(measure, WarmUp)]

    async def _find(self, call_id: str) -> Call:
        await self.may_find.wait()
        return self.finds(call_id)

    def _start(self, call: Call) -> ScriptedPipeline:
        if not self.may_start:
            raise ValueError("no such pipeline")
        self.pipelines.append(ScriptedPipeline(self.log, is_prepared=self.is_prepared))
        return self.pipelines[-1]


def scene(play: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Played in virtual time, with nothing left running."""

    async def played() -> None:
        await play()
        await ticks()
        mine = asyncio.current_task()
        assert [task for task in asyncio.all_tasks() if task is not mine] == []

    @wraps(play)
    def test() -> None:
        virtual_time.run(played(), limit_secs=3600)

    return test


async def ticks() -> None:
    """Let everything that can go on go on."""
    await asyncio.sleep(0.001)


@scene
async def test_what_is_prepared_is_taken_once() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    await hall.warm.prepare("1")
    await asyncio.sleep(3)
    assert hall.warm.open == len(hall.pipelines) == 1
    assert hall.warm.take("1") is hall.pipelines[0]
    assert hall.warm.take("1") is None
    assert hall.measures == [WarmUp("used", pytest.approx(3.0)), WarmUp("cold", 0.0)]
    assert hall.warm.open == 0


@scene
async def test_who_answers_before_it_is_ready_joins_it() -> None:
    hall = Hall()
    hall.is_prepared = False
    await hall.warm.prepare("1")
    await ticks()
    assert hall.warm.take("1") is hall.pipelines[0]
    assert hall.outcomes == ["joined"]
    assert hall.log == []


@scene
async def test_what_nobody_answers_is_ended_and_its_tokens_are_wasted() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    hall.pipelines[0].tokens = {("output", "audio"): 25, ("input", "text"): 7}
    await hall.warm.drop("1")
    await hall.warm.drop("1")
    assert hall.outcomes == ["released"]
    assert hall.measures[1:] == [WarmWaste("output", "audio", 25), WarmWaste("input", "text", 7)]
    assert (hall.log, hall.warm.open) == (["pipeline ended"], 0)


@scene
async def test_the_limit_holds_for_calls_that_are_placed_at_the_same_moment() -> None:
    hall = Hall(limit=2)
    hall.may_find.clear()
    preparing = [asyncio.create_task(hall.warm.prepare(str(number))) for number in range(5)]
    await ticks()
    hall.may_find.set()
    await asyncio.gather(*preparing)
    assert (len(hall.pipelines), hall.warm.open) == (2, 2)
    assert hall.outcomes == ["limit"] * 3
    await hall.warm.close()


@scene
async def test_a_session_counts_until_it_is_closed_and_its_room_is_free_then() -> None:
    hall = Hall(limit=1)
    await hall.warm.prepare("1")
    hall.pipelines[0].may_end.clear()
    dropping = asyncio.create_task(hall.warm.drop("1"))
    await ticks()
    await hall.warm.prepare("2")
    hall.pipelines[0].may_end.set()
    await dropping
    await hall.warm.prepare("3")
    assert hall.outcomes == ["limit", "released"]
    assert hall.warm.take("2") is None
    assert hall.warm.take("3") is hall.pipelines[1]


@scene
async def test_a_call_that_is_over_or_answered_while_its_record_is_read_is_not_prepared() -> None:
    hall = Hall()
    hall.may_find.clear()
    preparing = [asyncio.create_task(hall.warm.prepare(number)) for number in ("1", "2")]
    await ticks()
    await hall.warm.drop("1")
    assert hall.warm.take("2") is None
    hall.may_find.set()
    await asyncio.gather(*preparing)
    assert (hall.pipelines, hall.warm.open, hall.outcomes) == ([], 0, ["cold"])


@scene
async def test_why_a_call_could_not_be_prepared_is_counted() -> None:
    hall = Hall()

    def no_database(_: str) -> Call:
        raise ConnectionError("no database")

    hall.finds = no_database
    with pytest.raises(ConnectionError):
        await hall.warm.prepare("1")
    hall.finds, hall.may_start = a_call, False
    with pytest.raises(ValueError, match="no such pipeline"):
        await hall.warm.prepare("2")
    hall.may_start = True
    await hall.warm.prepare("3")
    hall.pipelines[0].fails()
    await hall.warm.prepare("4")
    hall.pipelines[1].over.set_exception(RuntimeError("broken"))
    await ticks()
    assert hall.outcomes == ["failed_record", "failed_system", "failed_system"]
    assert [hall.warm.take(number) for number in "124"] == [None] * 3
    assert hall.warm.take("3") is hall.pipelines[0]
    assert hall.outcomes[3:] == ["cold"] * 3 + ["failed_no_model"]
    assert hall.warm.open == 0


@scene
async def test_who_answers_at_the_moment_when_it_fails_is_answered_cold() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    await ticks()
    hall.pipelines[0].fails(EndReason.SYSTEM)
    assert hall.warm.take("1") is None
    await ticks()
    assert hall.outcomes == ["cold", "failed_system"]
    assert hall.warm.open == 0


@pytest.mark.parametrize("noticed", [True, False])
def test_who_answers_where_there_was_no_model_is_told_and_nothing_is_tried_again(
    noticed: bool,
) -> None:
    @scene
    async def play() -> None:
        hall = Hall(limit=1)
        await hall.warm.prepare("1")
        await ticks()
        hall.pipelines[0].fails()
        if noticed:
            await ticks()
            await hall.warm.until_settled("1")
        assert hall.warm.open == 0, "its place is free"
        assert hall.warm.take("1") is hall.pipelines[0]
        assert hall.outcomes == ["failed_no_model"]

    play()


@scene
async def test_of_what_found_no_model_nothing_is_left_when_nobody_answers() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    hall.pipelines[0].fails()
    await ticks()
    assert hall.log == []
    await hall.warm.drop("1")
    assert hall.outcomes == ["failed_no_model"]
    assert hall.log == ["pipeline ended"]


@scene
async def test_a_record_that_takes_too_long_to_be_read_leaves_nothing_behind() -> None:
    hall = Hall(limit=1)
    hall.may_find.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(15):
            await hall.warm.prepare("1")
    await hall.warm.until_settled("1")
    assert (hall.outcomes, hall.warm.open) == (["failed_record"], 0)


@scene
async def test_a_wait_for_the_first_words_ends_when_they_never_come() -> None:
    hall = Hall(limit=1)
    hall.is_prepared = False
    waits = asyncio.create_task(hall.warm.until_settled("1"))
    await ticks()
    await hall.warm.prepare("1")
    await ticks()
    assert not waits.done(), "the pipeline runs, and has said nothing yet"
    await hall.warm.prepare("2")
    await hall.warm.until_settled("2")
    hall.pipelines[0].fails()
    await waits
    await ticks()
    hall.is_prepared = True
    await hall.warm.prepare("3")
    await hall.warm.until_settled("3")
    await hall.warm.drop("3")


@scene
async def test_a_call_that_rings_for_long_gets_a_fresh_session_before_the_old_one_goes() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    hall.is_prepared = False
    await asyncio.sleep(WARM_FOR_SECS + 1)
    old, fresh = hall.pipelines
    assert (hall.log, hall.warm.open) == ([], 2)
    old.tokens = {("output", "audio"): 9}
    fresh.gets_ready()
    await ticks()
    assert hall.measures == [
        WarmUp("too_old", pytest.approx(WARM_FOR_SECS + 1, abs=0.1)),
        WarmWaste("output", "audio", 9),
    ]
    assert (old.over.done(), fresh.over.done()) == (True, False)
    assert hall.warm.take("1") is fresh
    assert hall.outcomes == ["too_old", "used"]


@scene
async def test_who_answers_while_a_fresh_session_is_made_hears_the_old_one() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    hall.is_prepared = False
    await asyncio.sleep(WARM_FOR_SECS + 1)
    assert hall.warm.take("1") is hall.pipelines[0]
    await ticks()
    assert not hall.pipelines[0].over.done()
    assert hall.pipelines[1].over.done()
    assert hall.outcomes == ["used", "spare"]
    assert hall.warm.open == 0


@scene
async def test_who_never_answers_while_a_fresh_session_is_made_leaves_neither() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    hall.is_prepared = False
    await asyncio.sleep(WARM_FOR_SECS + 1)
    await hall.warm.drop("1")
    await ticks()
    assert sorted(hall.outcomes) == ["released", "spare"]
    assert hall.log == ["pipeline ended"] * 2


@scene
async def test_an_old_session_is_better_than_a_fresh_one_that_is_refused() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    hall.is_prepared = False
    await asyncio.sleep(WARM_FOR_SECS + 1)
    hall.pipelines[1].fails()
    await ticks()
    hall.is_prepared = True
    await asyncio.sleep(WARM_FOR_SECS - 1)
    assert hall.warm.take("1") is hall.pipelines[0]
    assert hall.outcomes == ["failed_no_model", "used"]


@scene
async def test_where_there_is_no_room_for_two_the_old_session_goes_first() -> None:
    hall = Hall(limit=1)
    await hall.warm.prepare("1")
    await asyncio.sleep(WARM_FOR_SECS + 1)
    assert (len(hall.pipelines), hall.warm.open) == (2, 1)
    assert hall.warm.take("1") is hall.pipelines[1]
    assert hall.outcomes == ["too_old", "used"]


@scene
async def test_who_answers_when_the_old_session_has_just_gone_is_answered_cold() -> None:
    hall = Hall(limit=1)
    await hall.warm.prepare("1")
    hall.pipelines[0].may_end.clear()
    await asyncio.sleep(WARM_FOR_SECS + 1)
    assert hall.warm.take("1") is None
    hall.pipelines[0].may_end.set()
    await ticks()
    assert (len(hall.pipelines), hall.warm.open) == (1, 0)


@scene
async def test_a_fresh_session_that_cannot_even_be_begun_leaves_the_old_one() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    hall.may_start = False
    await asyncio.sleep(WARM_FOR_SECS + 1)
    assert hall.warm.take("1") is hall.pipelines[0]


@scene
async def test_closing_leaves_nothing_and_prepares_nothing_any_more() -> None:
    hall = Hall()
    await hall.warm.prepare("1")
    await hall.warm.prepare("2")
    hall.is_prepared = False
    await asyncio.sleep(WARM_FOR_SECS + 1)
    hall.may_find.clear()
    late = asyncio.create_task(hall.warm.prepare("3"))
    await ticks()
    await hall.warm.close()
    hall.may_find.set()
    await late
    await hall.warm.prepare("4")
    assert hall.warm.open == 0
    assert sorted(hall.outcomes) == ["spare", "spare", "stopped", "stopped"]
    assert hall.log == ["pipeline ended"] * 4


CALLS = st.sampled_from("12")
HAPPENINGS = st.one_of(
    st.tuples(st.just("prepare"), CALLS),
    st.tuples(st.sampled_from(["take", "drop", "ready", "fail", "wait"]), CALLS),
    st.tuples(st.just("time"), st.sampled_from([0.0, 1.0, WARM_FOR_SECS, WARM_FOR_SECS * 1.5])),
    st.tuples(st.sampled_from(["no database", "slow database", "no start"]), st.booleans()),
    st.tuples(st.just("slow end"), st.booleans()),
)


@given(st.lists(HAPPENINGS, min_size=10, max_size=40), st.integers(1, 3), st.booleans())
def test_whatever_happens_when_every_session_is_taken_or_closed_and_the_limit_holds(
    happenings: list[tuple[str, Any]], limit: int, is_prepared: bool
) -> None:
    def away(_: str) -> Call:
        raise ConnectionError

    @scene
    async def play() -> None:
        hall = Hall(limit)
        hall.is_prepared = is_prepared
        taken, asked = [], []
        for what, value in happenings:
            running = [pipeline for pipeline in hall.pipelines if not pipeline.over.done()]
            match what:
                case "prepare":
                    asked.append(asyncio.create_task(hall.warm.prepare(value)))
                case "take":
                    if (got := hall.warm.take(value)) is not None:
                        taken.append(got)
                case "drop":
                    asked.append(asyncio.create_task(hall.warm.drop(value)))
                case "wait":
                    asked.append(asyncio.create_task(hall.warm.until_settled(value)))
                case "ready" if running:
                    running[-1].gets_ready()
                case "fail" if running and running[-1] not in taken:
                    running[-1].fails()
                case "time":
                    await asyncio.sleep(value)
                case "no database":
                    hall.finds = away if value else a_call
                case "slow database":
                    (hall.may_find.clear if value else hall.may_find.set)()
                case "no start":
                    hall.may_start = not value
                case "slow end" if running:
                    (running[0].may_end.clear if value else running[0].may_end.set)()
            assert hall.warm.open <= limit
        hall.may_find.set()
        for pipeline in hall.pipelines:
            pipeline.may_end.set()
        await ticks()
        for number in "12":
            await hall.warm.drop(number)
        await hall.warm.close()
        await asyncio.gather(*asked, return_exceptions=True)
        assert hall.warm.open == 0
        assert len(set(taken)) == len(taken)
        for pipeline in hall.pipelines:
            assert pipeline.over.done() != (pipeline in taken)

    play()
