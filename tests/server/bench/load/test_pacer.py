"""The beats of many speakers, on one clock."""

import asyncio
from time import monotonic

from server.bench.load.pacer import STALL_MS, Pacer


async def test_each_has_a_beat_every_20_ms_and_misses_none() -> None:
    pacer = Pacer()
    beats: dict[int, list[float]] = {0: [], 7: [], 13: []}
    done = asyncio.Event()

    def beat(slot: int) -> None:
        beats[slot].append(monotonic())
        if all(len(times) >= 20 for times in beats.values()):
            done.set()

    for slot in beats:
        pacer.add(lambda slot=slot: beat(slot), slot)  # type: ignore[misc]
    with pacer:
        await asyncio.wait_for(done.wait(), 10)
    counts = [len(times) for times in beats.values()]
    assert max(counts) - min(counts) <= 1
    # On the whole in time: what comes late is made up for.
    for times in beats.values():
        assert (times[19] - times[0]) / 19 <= 0.03


async def test_a_stall_is_noticed_and_made_up_for() -> None:
    pacer = Pacer()
    beats: list[float] = []
    done = asyncio.Event()

    def beat() -> None:
        beats.append(monotonic())
        if len(beats) == 3:
            while monotonic() < beats[2] + 0.1:  # a loop that is blocked
                pass
        if len(beats) == 10:
            done.set()

    pacer.add(beat, 3)
    with pacer:
        await asyncio.wait_for(done.wait(), 10)
    assert any(ms > 75 for _, ms in pacer.stalls)
    assert all(ms > STALL_MS for _, ms in pacer.stalls)
    # The five beats of the stall came at once behind it.
    assert beats[7] - beats[3] < 0.05
    pacer.forget()
    assert (pacer.late_ms, pacer.stalls) == ([], [])


async def test_who_left_has_no_beat() -> None:
    pacer = Pacer()
    left: list[float] = []
    stays = asyncio.Event()
    beats = 0

    def leave() -> None:
        left.append(monotonic())
        pacer.remove(leave)

    def stay() -> None:
        nonlocal beats
        beats += 1
        if beats == 4:
            stays.set()

    pacer.add(leave, 0)
    pacer.add(stay, 0)
    with pacer:
        await asyncio.wait_for(stays.wait(), 10)
    assert len(left) == 1
