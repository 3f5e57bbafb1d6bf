"""A call of another instance that goes on here: the wait for its memory, and what is counted."""

import asyncio
from typing import Any

import pytest

import server.calls.call_handover as handover_module
from agent.call_memory import CallMemory
from agent.record.models import Call
from server.calls.call_handover import CallHandover
from tests.pipelines.scripted_pipeline import a_call

CARRIED = {"stream_sid": "MZ1"}
MOVED = {"stream_sid": None, "last_stream_sid": "MZ1"}


class SlowMemories:
    """Answers when it is told to."""

    def __init__(self, memory: CallMemory) -> None:
        self.may_answer = asyncio.Event()
        self._memory = memory

    async def recall(self, call_id: str) -> CallMemory:
        await self.may_answer.wait()
        return self._memory


def handover_of(memories: SlowMemories, counted: list[str]) -> CallHandover:
    def goes_on(_call: Call, memory: CallMemory) -> Any:
        return memory

    scripted: Any = memories
    return CallHandover(scripted, goes_on, dict, counted.append)


def call_with(life: dict[str, Any]) -> Call:
    call = a_call()
    call.life = life
    return call


@pytest.mark.parametrize("life", [CARRIED, MOVED])
async def test_the_memory_of_a_caller_who_has_talked_is_waited_for(
    life: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover_module, "RECALLED_WITHIN_SECS", 0.0)
    monkeypatch.setattr(handover_module, "RECALLED_AGAIN_WITHIN_SECS", 60.0)
    memories = SlowMemories(CallMemory(handle="h"))
    recalling = asyncio.create_task(handover_of(memories, []).recall(call_with(life)))
    # A wait of no time at all would be over by now.
    for _ in range(10):
        await asyncio.sleep(0)
    memories.may_answer.set()
    recalled: Any = await recalling
    assert recalled == CallMemory(handle="h")


async def test_the_first_stream_of_a_call_is_not_held_up_by_a_slow_redis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover_module, "RECALLED_WITHIN_SECS", 0.0)
    monkeypatch.setattr(handover_module, "RECALLED_AGAIN_WITHIN_SECS", 60.0)
    counted: list[str] = []
    fresh = call_with({"stream_sid": None, "last_stream_sid": None})
    assert await handover_of(SlowMemories(CallMemory()), counted).recall(fresh) is None
    assert counted == []


@pytest.mark.parametrize(
    ("memory", "how"),
    [
        (CallMemory(recorded=True, quiet=True), "quiet"),
        (CallMemory(recorded=True), "hurried"),
        (CallMemory(), "lost"),
    ],
)
async def test_how_the_other_instance_left_a_call_is_counted(memory: CallMemory, how: str) -> None:
    memories, counted = SlowMemories(memory), list[str]()
    memories.may_answer.set()
    await handover_of(memories, counted).recall(call_with(CARRIED))
    assert counted == [how]


class HangingMemories:
    """Keeps nothing before it may."""

    def __init__(self) -> None:
        self.may_keep = asyncio.Event()
        self.asked = asyncio.Event()
        self.done: list[str] = []

    async def keep(self, _memories: object) -> None:
        self.asked.set()
        await self.may_keep.wait()
        self.done.append("kept")

    async def forget(self, _call_id: str) -> None:
        self.done.append("forgotten")


async def test_a_call_that_is_over_is_forgotten_behind_what_is_being_kept_of_it() -> None:
    memories: Any = HangingMemories()
    handover = CallHandover(memories, lambda call, memory: memory, dict)  # type: ignore[arg-type,return-value]
    keeping = asyncio.create_task(handover.keep("1", CallMemory()))
    await memories.asked.wait()
    dropping = asyncio.create_task(handover.drop("1", is_over=True))
    await asyncio.sleep(0)
    memories.may_keep.set()
    await asyncio.gather(keeping, dropping)
    assert memories.done == ["kept", "forgotten"]
