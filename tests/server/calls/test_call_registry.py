"""The registry: places, pipelines that outlive their streams, and who is told of the end first."""

import asyncio
import gc
import weakref

import pytest

import server.calls.call_registry as desk_module
from agent.lifecycle.events import ConversationEnded, Event, InstanceStopped
from agent.live_calls import LiveCallsInMemory
from agent.measures import Measure, WarmUp
from agent.record.models import Call, EndReason
from pipelines.call.prewarming import Prewarming
from pipelines.call.run_call import CallSummary
from server.calls.call_registry import CallRegistry, ConversationOver
from tests.pipelines.scripted_pipeline import ScriptedPipeline, a_call


class ScriptedStream:
    def __init__(self, sid: str, log: list[str]) -> None:
        self.stream_sid = sid
        self._log = log

    async def send(self, *texts: str) -> None:
        self._log += [f"{self.stream_sid} sent" for _ in texts]

    async def close(self) -> None:
        self._log.append(f"{self.stream_sid} closed")


class ScriptedLife:
    def __init__(self, log: list[str]) -> None:
        self.events: list[Event] = []
        self.told_of: list[str] = []
        self._log = log
        self.there = asyncio.Event()
        self.there.set()
        self.told = asyncio.Event()

    async def tell_until_kept(self, call_id: str, event: Event) -> None:
        await self.there.wait()
        self._log.append("life told")
        self.events.append(event)
        self.told_of.append(call_id)
        self.told.set()


class Office:
    """A desk with scripted parts."""

    def __init__(
        self, capacity: int = 2, warm: int | None = None, *, is_prepared: bool = True
    ) -> None:
        self._is_prepared = is_prepared
        self.log: list[str] = []
        self.measures: list[Measure] = []
        self.pipelines: list[ScriptedPipeline] = []
        self.live_calls = LiveCallsInMemory()
        self.life = ScriptedLife(self.log)
        self.read: list[str] = []
        warming = None
        if warm is not None:
            warming = Prewarming(
                self._start,  # type: ignore[arg-type]
                self._find,
                limit=warm,
                measure=self.measures.append,
            )
        self.registry = CallRegistry(
            self._start,  # type: ignore[arg-type]
            self.live_calls,
            instance="here",
            capacity=capacity,
            clock=lambda: 1.0,
            warming=warming,
        )
        self.registry.report_to(self.life)  # type: ignore[arg-type]

    async def _find(self, call_id: str) -> Call:
        self.read.append(call_id)
        return a_call(call_id)

    def warm_ups(self) -> list[str]:
        return [m.outcome for m in self.measures if isinstance(m, WarmUp)]

    def _start(self, call: Call) -> ScriptedPipeline:
        self.pipelines.append(ScriptedPipeline(self.log, is_prepared=self._is_prepared))
        return self.pipelines[-1]

    def stream(self, sid: str) -> ScriptedStream:
        return ScriptedStream(sid, self.log)


async def test_places_are_taken_given_back_and_never_counted_twice() -> None:
    registry = Office(capacity=2).registry
    asked = [registry.reserve(a_call(call)) for call in ("1", "1", "2", "3")]
    assert asked == [True, True, True, False]
    await registry.warm("1")
    assert registry.held == 2
    registry.give_back("2")
    assert registry.reserve(a_call("3"))
    await registry.release("1")
    await registry.end("3", EndReason.API)
    await registry.end("3", EndReason.API)
    assert registry.held == 0


async def test_one_pipeline_carries_a_call_over_all_of_its_streams() -> None:
    office = Office()
    first, second = office.stream("MZ1"), office.stream("MZ2")
    line = await office.registry.carry(a_call(), first)
    line.unbind(first)
    assert await office.registry.carry(a_call(), second) is line
    assert len(office.pipelines) == 1
    await asyncio.sleep(0)  # the claim is made beside the audio
    assert await office.live_calls.owner("1") == "here"
    assert office.registry.talking == 1
    await office.registry.close()


async def test_a_registry_that_hangs_holds_up_no_audio_and_is_let_go_at_the_end() -> None:
    office = Office()
    claims, released = asyncio.Event(), asyncio.Event()

    async def hangs(call_id: str, instance: str) -> None:
        await claims.wait()

    async def releases(call_id: str, instance: str) -> None:
        assert claims.is_set(), "a claim that comes after its release would stay"
        released.set()

    office.live_calls.claim, office.live_calls.release = hangs, releases  # type: ignore[method-assign]
    line = await office.registry.carry(a_call(), office.stream("MZ1"))
    assert line.bound
    ending = asyncio.create_task(office.registry.end("1", EndReason.API))
    await asyncio.sleep(0)
    claims.set()
    await ending
    assert released.is_set()
    await office.registry.close()


async def test_the_life_is_told_before_the_stream_closes() -> None:
    office = Office()
    await office.registry.carry(a_call(), office.stream("MZ1"))
    office.pipelines[0].over.set_result(CallSummary(EndReason.AGENT, transfer_to="+3"))
    await office.registry.told("1")
    assert office.log == ["life told", "pipeline ended", "MZ1 closed"]
    assert office.life.events == [ConversationEnded(1.0, "agent", transfer_to="+3")]
    with pytest.raises(ConversationOver):
        await office.registry.carry(a_call(), office.stream("MZ2"))
    await office.registry.end("1", EndReason.AGENT)
    assert office.registry.talking == 0
    assert await office.live_calls.owner("1") is None


async def test_a_life_that_cannot_be_told_yet_still_frees_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk_module, "TELL_PATIENCE_SECS", 0.01)
    office = Office()
    office.life.there.clear()
    await office.registry.carry(a_call(), office.stream("MZ1"))
    office.pipelines[0].over.set_result(CallSummary(EndReason.AGENT))
    await office.registry.told("1")
    assert office.log[-1] == "MZ1 closed"
    # It is told as soon as it can be.
    assert office.life.events == []
    office.life.there.set()
    await office.life.told.wait()
    assert office.life.events == [ConversationEnded(1.0, "agent")]
    await office.registry.close()


async def test_a_pipeline_that_fails_ends_the_call_for_our_reason() -> None:
    office = Office()
    await office.registry.carry(a_call(), office.stream("MZ1"))
    office.pipelines[0].over.set_exception(RuntimeError("broken"))
    await office.registry.told("1")
    assert office.life.events == [ConversationEnded(1.0, "system", error="the pipeline failed")]


async def test_what_was_ended_from_outside_is_not_reported() -> None:
    office = Office()
    await office.registry.carry(a_call(), office.stream("MZ1"))
    await office.registry.end("1", EndReason.API)
    assert office.life.events == []
    assert "MZ1 closed" in office.log
    assert (office.registry.held, office.registry.talking) == (0, 0)


async def test_a_stream_of_a_live_call_is_carried_beyond_the_capacity() -> None:
    office = Office(capacity=1)
    await office.registry.carry(a_call("1"), office.stream("MZ1"))
    await office.registry.carry(a_call("2"), office.stream("MZ2"))
    assert office.registry.talking == 2
    assert not office.registry.reserve(a_call("3"))
    await office.registry.close()
    assert office.registry.talking == 0


async def test_a_call_is_carried_even_when_its_owner_cannot_be_noted() -> None:
    office = Office()

    async def broken(*_: str) -> None:
        raise ConnectionError("no Redis")

    office.live_calls.claim = office.live_calls.release = broken  # type: ignore[method-assign]
    await office.registry.carry(a_call(), office.stream("MZ1"))
    assert office.registry.talking == 1
    await office.registry.end("1", EndReason.API)
    assert office.registry.talking == 0


async def test_the_record_of_a_call_that_was_reserved_here_is_not_read_to_prepare_it() -> None:
    office = Office(warm=5)
    assert office.registry.reserve(a_call("1"))
    await office.registry.warm("1")
    assert (len(office.pipelines), office.read) == (1, [])
    await office.registry.warm("2")
    assert (len(office.pipelines), office.read) == (2, ["2"])
    await office.registry.close()


async def test_a_call_that_rings_is_prepared_and_its_first_stream_joins() -> None:
    office = Office(warm=5)
    await office.registry.warm("1")
    assert (len(office.pipelines), office.registry.carried) == (1, [])
    line = await office.registry.carry(a_call(), office.stream("MZ1"))
    assert line is office.pipelines[0].line
    assert (len(office.pipelines), office.registry.talking) == (1, 1)
    await office.registry.warm("1")
    assert len(office.pipelines) == 1
    assert office.warm_ups() == ["used"]
    await office.registry.close()


async def test_a_call_that_nobody_answers_gives_back_its_place_and_what_was_prepared() -> None:
    office = Office(warm=5)
    await office.registry.warm("1")
    await office.registry.release("1")
    assert (office.registry.held, office.log) == (0, ["pipeline ended"])
    assert office.warm_ups() == ["released"]
    assert office.life.events == []


async def test_a_call_that_was_answered_and_ends_before_its_stream_is_released_too() -> None:
    office = Office(warm=5)
    await office.registry.warm("1")
    await office.registry.end("1", EndReason.CALLER)
    assert (office.log, office.warm_ups()) == (["pipeline ended"], ["released"])


async def test_who_is_not_prepared_has_a_place_and_is_answered_cold() -> None:
    office = Office(capacity=5, warm=1)
    await office.registry.warm("1")
    await office.registry.warm("2")
    assert (len(office.pipelines), office.registry.held) == (1, 2)
    await office.registry.carry(a_call("2"), office.stream("MZ1"))
    assert len(office.pipelines) == 2
    assert office.warm_ups() == ["limit", "cold"]
    await office.registry.close()


async def test_what_cannot_be_prepared_is_no_failure_of_the_call() -> None:
    office = Office(warm=5)
    await office.registry.warm("1")
    office.pipelines[0].fails()
    await office.registry.until_prepared("1", 10)
    await office.registry.carry(a_call(), office.stream("MZ1"))
    await office.registry.close()
    assert len(office.pipelines) == 2
    assert office.warm_ups() == ["cold", "failed_no_model"]
    assert office.life.events == []


async def test_no_more_than_the_patience_is_waited_for_the_first_words() -> None:
    office = Office(warm=5, is_prepared=False)
    await office.registry.warm("1")
    await office.registry.until_prepared("1", 0.01)
    await office.registry.until_prepared("1", 0)
    await office.registry.until_prepared("unknown", 10)
    waiting = asyncio.create_task(office.registry.until_prepared("1", 10))
    await asyncio.sleep(0)
    assert not waiting.done(), "the words are not ready, and its patience is not over"
    office.pipelines[0].gets_ready()
    await waiting
    assert office.pipelines[0].is_prepared
    await office.registry.close()


async def test_a_process_that_stops_leaves_nothing_prepared_behind_and_prepares_nothing_more() -> (
    None
):
    office = Office(capacity=5, warm=5)
    await office.registry.warm("1")
    await office.registry.warm("2")
    await office.registry.close()
    await office.registry.warm("3")
    assert office.log == ["pipeline ended"] * 2
    assert office.warm_ups() == ["stopped"] * 2
    assert len(office.pipelines) == 2


async def test_the_lives_of_calls_that_are_cut_off_are_told_before_a_process_stops() -> None:
    office = Office(capacity=5)
    talks, lost, hung_up, over = (a_call(name) for name in ("talks", "lost", "hung up", "over"))
    for call in (talks, over):
        await office.registry.carry(call, office.stream(f"MZ of {call.id}"))
    for call in (lost, hung_up):
        stream = office.stream(f"MZ of {call.id}")
        line = await office.registry.carry(call, stream)
        if call is hung_up:
            assert not await line.receive('{"event": "stop", "stop": {}}')
        line.unbind(stream)
    office.pipelines[1].over.set_result(CallSummary(EndReason.AGENT))
    await office.registry.told("over")
    office.life.events.clear()
    office.life.told_of.clear()
    await office.registry.leave()
    assert office.life.told_of == ["talks", "lost"]
    assert office.life.events == [InstanceStopped(1.0)] * 2
    assert office.registry.talking == 4
    await office.registry.close()
    assert len(office.life.events) == 2


async def test_a_life_that_cannot_be_told_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk_module, "TELL_PATIENCE_SECS", 0.01)
    office = Office()
    office.life.there.clear()
    await office.registry.carry(a_call(), office.stream("MZ1"))
    await office.registry.leave()
    await office.registry.close()
    assert office.life.events == []


async def test_a_stream_is_expected_until_it_comes_or_the_call_is_over() -> None:
    office = Office()
    comes, never = a_call("1"), a_call("2")
    office.registry.expect(comes)
    office.registry.expect(never)
    assert office.registry.expected("1") is comes
    await office.registry.carry(comes, office.stream("MZ1"))
    await office.registry.end("2", EndReason.CALLER)
    assert office.registry.expected("1") is office.registry.expected("2") is None
    await office.registry.close()


@pytest.mark.parametrize("answered", [True, False])
async def test_nothing_of_a_call_is_kept_once_it_is_over(answered: bool) -> None:
    office = Office(warm=5)
    await office.registry.warm("1")
    if answered:
        await office.registry.carry(a_call(), office.stream("MZ1"))
    await office.registry.end("1", EndReason.API)
    await office.registry.told("1")
    pipeline = weakref.ref(office.pipelines.pop())
    await asyncio.sleep(0)
    gc.collect()
    assert pipeline() is None
