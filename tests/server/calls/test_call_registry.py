"""The registry: places, pipelines that outlive their streams, and who is told of the end first."""

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest

import server.calls.call_registry as registry_module
from agent.call_memory import CallMemory
from agent.lifecycle.events import ConversationEnded, Event, InstanceStopped
from agent.live_calls import LiveCallsInMemory
from agent.measures import Measure, WarmUp
from agent.record.models import Call, EndReason
from pipelines.call.prewarming import Prewarming
from pipelines.call.run_call import CallSummary
from server.calls.admission import Places
from server.calls.call_registry import CallRegistry, ConversationOver
from tests import virtual_time
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


class ScriptedHandover:
    """Remembers nothing of any call."""

    def watch(self, call_id: str, running: object) -> None: ...

    def take(self, call_id: str, *, quiet: bool) -> None: ...

    async def recall(self, call: Call) -> None: ...

    async def drop(self, call_id: str, *, is_over: bool) -> None: ...

    async def close(self) -> None: ...


class NotingLiveCalls(LiveCallsInMemory):
    """Notes what others see of a call that is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    async def rescue(self, call_id: str) -> bool:
        self.noted.append("rescued")
        return await super().rescue(call_id)

    async def release(self, call_id: str, instance: str) -> None:
        self.noted.append("released")
        await super().release(call_id, instance)


class RegistryStage:
    """A registry with scripted parts."""

    def __init__(
        self,
        capacity: int = 2,
        warm: int | None = None,
        *,
        is_prepared: bool = True,
        live_calls: LiveCallsInMemory | None = None,
        handover: "ScriptedHandover | None" = None,
    ) -> None:
        self._is_prepared = is_prepared
        self.log: list[str] = []
        self.measures: list[Measure] = []
        self.pipelines: list[ScriptedPipeline] = []
        self.live_calls = live_calls or LiveCallsInMemory()
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
            Places(self.live_calls, instance="here", capacity=capacity),
            clock=lambda: 1.0,
            prewarming=warming,
            handover=handover,  # type: ignore[arg-type]
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
    registry = RegistryStage(capacity=2).registry
    asked = [registry.places.reserve(a_call(call)) for call in ("1", "1", "2", "3")]
    assert asked == [True, True, True, False]
    await registry.warm("1")
    assert registry.places.held == 2
    registry.places.give_back("2")
    assert registry.places.reserve(a_call("3"))
    await registry.release("1")
    await registry.end("3", EndReason.API)
    await registry.end("3", EndReason.API)
    assert registry.places.held == 0


async def test_one_pipeline_carries_a_call_over_all_of_its_streams() -> None:
    stage = RegistryStage()
    first, second = stage.stream("MZ1"), stage.stream("MZ2")
    line = await stage.registry.carry(a_call(), first)
    line.unbind(first)
    assert await stage.registry.carry(a_call(), second) is line
    assert len(stage.pipelines) == 1
    await asyncio.sleep(0)  # the claim is made beside the audio
    assert await stage.live_calls.owner("1") == "here"
    assert stage.registry.talking == 1
    await stage.registry.close()


async def test_a_registry_that_hangs_holds_up_no_audio_and_is_let_go_at_the_end() -> None:
    stage = RegistryStage()
    claims, released = asyncio.Event(), asyncio.Event()

    async def hangs(call_id: str, instance: str) -> None:
        await claims.wait()

    async def releases(call_id: str, instance: str) -> None:
        assert claims.is_set(), "a claim that comes after its release would stay"
        released.set()

    stage.live_calls.claim, stage.live_calls.release = hangs, releases  # type: ignore[method-assign]
    line = await stage.registry.carry(a_call(), stage.stream("MZ1"))
    assert line.bound
    ending = asyncio.create_task(stage.registry.end("1", EndReason.API))
    await asyncio.sleep(0)
    claims.set()
    await ending
    assert released.is_set()
    await stage.registry.close()


async def test_the_life_is_told_before_the_stream_closes() -> None:
    stage = RegistryStage()
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    stage.pipelines[0].over.set_result(CallSummary(EndReason.AGENT, transfer_to="+3"))
    await stage.registry.until_reported("1")
    assert stage.log == ["life told", "pipeline ended", "MZ1 closed"]
    assert stage.life.events == [ConversationEnded(1.0, "agent", transfer_to="+3")]
    with pytest.raises(ConversationOver):
        await stage.registry.carry(a_call(), stage.stream("MZ2"))
    await stage.registry.end("1", EndReason.AGENT)
    assert stage.registry.talking == 0
    assert await stage.live_calls.owner("1") is None


async def test_a_life_that_cannot_be_told_yet_still_frees_the_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry_module, "TELL_TIMEOUT_SECS", 0.01)
    stage = RegistryStage()
    stage.life.there.clear()
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    stage.pipelines[0].over.set_result(CallSummary(EndReason.AGENT))
    await stage.registry.until_reported("1")
    assert stage.log[-1] == "MZ1 closed"
    # It is told as soon as it can be.
    assert stage.life.events == []
    stage.life.there.set()
    await stage.life.told.wait()
    assert stage.life.events == [ConversationEnded(1.0, "agent")]
    await stage.registry.close()


async def test_a_pipeline_that_fails_ends_the_call_for_our_reason() -> None:
    stage = RegistryStage()
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    stage.pipelines[0].over.set_exception(RuntimeError("broken"))
    await stage.registry.until_reported("1")
    assert stage.life.events == [ConversationEnded(1.0, "system", error="the pipeline failed")]


async def test_what_was_ended_from_outside_is_not_reported() -> None:
    stage = RegistryStage()
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    await stage.registry.end("1", EndReason.API)
    assert stage.life.events == []
    assert "MZ1 closed" in stage.log
    assert (stage.registry.places.held, stage.registry.talking) == (0, 0)


async def test_a_stream_of_a_live_call_is_carried_beyond_the_capacity() -> None:
    stage = RegistryStage(capacity=1)
    await stage.registry.carry(a_call("1"), stage.stream("MZ1"))
    await stage.registry.carry(a_call("2"), stage.stream("MZ2"))
    assert stage.registry.talking == 2
    assert not stage.registry.places.reserve(a_call("3"))
    await stage.registry.close()
    assert stage.registry.talking == 0


async def test_a_call_is_carried_even_when_its_owner_cannot_be_noted() -> None:
    stage = RegistryStage()

    async def broken(*_: str) -> None:
        raise ConnectionError("no Redis")

    stage.live_calls.claim = stage.live_calls.release = broken  # type: ignore[method-assign]
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    assert stage.registry.talking == 1
    await stage.registry.end("1", EndReason.API)
    assert stage.registry.talking == 0


async def test_the_record_of_a_call_that_was_reserved_here_is_not_read_to_prepare_it() -> None:
    stage = RegistryStage(warm=5)
    assert stage.registry.places.reserve(a_call("1"))
    await stage.registry.warm("1")
    assert (len(stage.pipelines), stage.read) == (1, [])
    await stage.registry.warm("2")
    assert (len(stage.pipelines), stage.read) == (2, ["2"])
    await stage.registry.close()


async def test_a_call_that_rings_is_prepared_and_its_first_stream_joins() -> None:
    stage = RegistryStage(warm=5)
    await stage.registry.warm("1")
    assert (len(stage.pipelines), stage.registry.carried) == (1, [])
    line = await stage.registry.carry(a_call(), stage.stream("MZ1"))
    assert line is stage.pipelines[0].line
    assert (len(stage.pipelines), stage.registry.talking) == (1, 1)
    await stage.registry.warm("1")
    assert len(stage.pipelines) == 1
    assert stage.warm_ups() == ["used"]
    await stage.registry.close()


async def test_a_call_that_nobody_answers_gives_back_its_place_and_what_was_prepared() -> None:
    stage = RegistryStage(warm=5)
    await stage.registry.warm("1")
    await stage.registry.release("1")
    assert (stage.registry.places.held, stage.log) == (0, ["pipeline ended"])
    assert stage.warm_ups() == ["released"]
    assert stage.life.events == []


async def test_a_call_that_was_answered_and_ends_before_its_stream_is_released_too() -> None:
    stage = RegistryStage(warm=5)
    await stage.registry.warm("1")
    await stage.registry.end("1", EndReason.CALLER)
    assert (stage.log, stage.warm_ups()) == (["pipeline ended"], ["released"])


async def test_who_is_not_prepared_has_a_place_and_is_answered_cold() -> None:
    stage = RegistryStage(capacity=5, warm=1)
    await stage.registry.warm("1")
    await stage.registry.warm("2")
    assert (len(stage.pipelines), stage.registry.places.held) == (1, 2)
    await stage.registry.carry(a_call("2"), stage.stream("MZ1"))
    assert len(stage.pipelines) == 2
    assert stage.warm_ups() == ["limit", "cold"]
    await stage.registry.close()


async def test_what_cannot_be_prepared_is_no_failure_of_the_call() -> None:
    stage = RegistryStage(warm=5)
    await stage.registry.warm("1")
    stage.pipelines[0].fails(EndReason.SYSTEM)
    await stage.registry.until_prepared("1", 10)
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    await stage.registry.close()
    assert len(stage.pipelines) == 2
    assert stage.warm_ups() == ["cold", "failed_system"]
    assert stage.life.events == []


async def test_a_model_that_was_not_there_while_it_rang_is_told_when_it_is_answered() -> None:
    stage = RegistryStage(warm=5)
    await stage.registry.warm("1")
    stage.pipelines[0].fails()
    await stage.registry.until_prepared("1", 10)
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    await stage.registry.until_reported("1")
    assert stage.life.events == [ConversationEnded(1.0, "no_model", error="refused")]
    assert len(stage.pipelines) == 1
    assert stage.warm_ups() == ["failed_no_model"]
    await stage.registry.close()


async def test_no_more_than_the_patience_is_waited_for_the_first_words() -> None:
    stage = RegistryStage(warm=5, is_prepared=False)
    await stage.registry.warm("1")
    await stage.registry.until_prepared("1", 0.01)
    await stage.registry.until_prepared("1", 0)
    await stage.registry.until_prepared("unknown", 10)
    waiting = asyncio.create_task(stage.registry.until_prepared("1", 10))
    await asyncio.sleep(0)
    assert not waiting.done(), "the words are not ready, and its patience is not over"
    stage.pipelines[0].gets_ready()
    await waiting
    assert stage.pipelines[0].is_prepared
    await stage.registry.close()


async def test_a_process_that_stops_leaves_nothing_prepared_behind_and_prepares_nothing_more() -> (
    None
):
    stage = RegistryStage(capacity=5, warm=5)
    await stage.registry.warm("1")
    await stage.registry.warm("2")
    await stage.registry.close()
    await stage.registry.warm("3")
    assert stage.log == ["pipeline ended"] * 2
    assert stage.warm_ups() == ["stopped"] * 2
    assert len(stage.pipelines) == 2


async def test_the_lives_of_calls_that_are_cut_off_are_told_before_a_process_stops() -> None:
    stage = RegistryStage(capacity=5)
    talks, lost, hung_up, over = (a_call(name) for name in ("talks", "lost", "hung up", "over"))
    for call in (talks, over):
        await stage.registry.carry(call, stage.stream(f"MZ of {call.id}"))
    for call in (lost, hung_up):
        stream = stage.stream(f"MZ of {call.id}")
        line = await stage.registry.carry(call, stream)
        if call is hung_up:
            assert not await line.receive('{"event": "stop", "stop": {}}')
        line.unbind(stream)
    stage.pipelines[1].over.set_result(CallSummary(EndReason.AGENT))
    await stage.registry.until_reported("over")
    stage.life.events.clear()
    stage.life.told_of.clear()
    await stage.registry.report_shutdown()
    assert stage.life.told_of == ["talks", "lost"]
    assert stage.life.events == [InstanceStopped(1.0)] * 2
    assert stage.registry.talking == 4
    await stage.registry.close()
    assert len(stage.life.events) == 2


async def test_nobody_rescues_a_call_that_is_let_go() -> None:
    """While nobody carries it, its TwiML is being fetched: another fetch would end its stream."""
    live_calls = NotingLiveCalls()
    stage = RegistryStage(live_calls=live_calls, handover=ScriptedHandover())
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    assert await stage.registry.let_go("1", within_secs=1.0)
    assert live_calls.noted == ["rescued", "released"]
    await stage.registry.close()


@pytest.mark.parametrize("hangs", ["memories", "live calls"])
def test_a_redis_that_hangs_is_waited_for_once_when_a_call_is_let_go(hangs: str) -> None:
    async def late(*_: Any) -> None:
        # As long as the client tries.
        await asyncio.sleep(1.9)

    class Handover(ScriptedHandover):
        def take(self, call_id: str, *, quiet: bool) -> Any:
            return CallMemory()

        async def keep(self, call_id: str, memory: CallMemory) -> None:
            if hangs == "memories":
                await asyncio.Event().wait()

    async def scene() -> None:
        stage = RegistryStage(handover=Handover())
        if hangs == "live calls":
            stage.live_calls.rescue = stage.live_calls.release = late  # type: ignore[assignment,method-assign]
        await stage.registry.carry(a_call(), stage.stream("MZ1"))
        (pipeline,), loop = stage.pipelines, asyncio.get_running_loop()
        end, renewed = pipeline.end, list[dict[str, int]]()

        async def ends() -> None:
            renewed.append(stage.registry.leases.all())
            await end()

        pipeline.end = ends  # type: ignore[method-assign]
        began = loop.time()
        assert await stage.registry.let_go("1", within_secs=1.0)
        assert loop.time() - began <= registry_module.LET_GO_WITHIN_SECS
        assert "MZ1 closed" in stage.log
        assert renewed == [{}], "while its pipeline ends"
        assert stage.registry.talking == stage.registry.places.held == 0
        await stage.registry.close()

    virtual_time.run(scene())


async def test_the_calls_that_a_stop_moves_are_counted() -> None:
    stage = RegistryStage(handover=ScriptedHandover())
    for call_id in ("1", "2"):
        await stage.registry.carry(a_call(call_id), stage.stream(f"MZ{call_id}"))
    assert await stage.registry.report_shutdown() == 2
    await stage.registry.close()


async def test_a_call_that_cannot_be_let_go_keeps_no_other_one_from_moving() -> None:
    class Handover(ScriptedHandover):
        def take(self, call_id: str, *, quiet: bool) -> None:
            if call_id == "1":
                raise ValueError("a pipeline of somebody's own")

    stage = RegistryStage(handover=Handover())
    for call_id in ("1", "2"):
        await stage.registry.carry(a_call(call_id), stage.stream(f"MZ{call_id}"))
    assert await stage.registry.report_shutdown() == 1
    assert stage.life.told_of.count("1") == 1, "it is cut off"
    await stage.registry.close()


async def test_a_stop_waits_for_the_moment_of_a_call_that_moves_already() -> None:
    stage = RegistryStage(handover=ScriptedHandover())
    await stage.registry.carry(a_call("1"), stage.stream("MZ1"))
    (pipeline,) = stage.pipelines
    pipeline.is_quiet = False
    moving = asyncio.create_task(stage.registry.let_go("1", within_secs=5.0))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(stage.registry.report_shutdown())
    for _ in range(20):
        await asyncio.sleep(0)
    assert stage.life.told_of == [], "it is not cut off"
    pipeline.is_quiet = True
    assert await moving
    assert await stopping == 0, "it is counted as a move that somebody asked for"
    assert stage.life.told_of == ["1"]
    assert stage.registry.talking == 0
    await stage.registry.close()


async def test_a_life_that_cannot_be_told_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "TELL_TIMEOUT_SECS", 0.01)
    stage = RegistryStage()
    stage.life.there.clear()
    await stage.registry.carry(a_call(), stage.stream("MZ1"))
    await stage.registry.report_shutdown()
    await stage.registry.close()
    assert stage.life.events == []


async def test_a_call_is_passed_on_until_its_newest_stream_has_ended() -> None:
    stage = RegistryStage()
    await stage.registry.carry(a_call("1"), stage.stream("MZ1"))
    with contextlib.ExitStack() as second:
        with stage.registry.passed_on("1", "MZ1"):
            await stage.registry.carry(a_call("1"), stage.stream("MZ2"))
            second.enter_context(stage.registry.passed_on("1", "MZ2"))
        assert stage.registry.packets_passed_on() == {"1": 0}
    assert stage.registry.packets_passed_on() == {}
    await stage.registry.close()


async def test_a_stream_is_expected_until_it_comes_or_the_call_is_over() -> None:
    stage = RegistryStage()
    comes, never = a_call("1"), a_call("2")
    stage.registry.expect(comes)
    stage.registry.expect(never)
    assert stage.registry.expected("1") is comes
    await stage.registry.carry(comes, stage.stream("MZ1"))
    await stage.registry.end("2", EndReason.CALLER)
    assert stage.registry.expected("1") is stage.registry.expected("2") is None
    await stage.registry.close()


@pytest.mark.parametrize("answered", [True, False])
async def test_nothing_of_a_call_is_kept_once_it_is_over(answered: bool) -> None:
    stage = RegistryStage(warm=5)
    await stage.registry.warm("1")
    if answered:
        await stage.registry.carry(a_call(), stage.stream("MZ1"))
    await stage.registry.end("1", EndReason.API)
    await stage.registry.until_reported("1")
    pipeline = weakref.ref(stage.pipelines.pop())
    await asyncio.sleep(0)
    gc.collect()
    assert pipeline() is None
