"""The beats of a loop: how late they are, and that they end."""

import asyncio
import time

from server.loop_pulse import LoopPulse


async def until_beats(pulse: LoopPulse, count: int) -> None:
    until = pulse.number + count
    while pulse.number < until:  # noqa: ASYNC110 (a pulse tells nobody of each beat)
        await asyncio.sleep(0.001)


async def test_lateness_is_told_four_times_a_second_until_it_is_closed() -> None:
    told: list[float] = []
    pulse = LoopPulse(told.append, every_secs=0.125)
    pulse.open()
    await until_beats(pulse, 4)
    assert len(told) == 2
    assert min(told) >= 0
    pulse.close()
    number = pulse.number
    await asyncio.sleep(0.2)
    assert pulse.number == number


async def test_a_beat_that_the_loop_was_too_busy_for_is_kept() -> None:
    pulse = LoopPulse(lambda _: None, every_secs=0.01, late_after_secs=0.02)
    pulse.open()
    await until_beats(pulse, 1)
    pulse.late.clear()  # a busy machine makes some, too
    number = pulse.number
    time.sleep(0.1)  # noqa: ASYNC251 (that is what a pulse is for)
    await until_beats(pulse, 1)
    pulse.close()
    late = pulse.late.popleft()
    assert late.number == number
    assert late.late_secs >= 0.09


async def test_it_knows_how_deep_the_loop_itself_is() -> None:
    pulse = LoopPulse(lambda _: None, every_secs=0.001)
    pulse.open()
    await until_beats(pulse, 1)
    pulse.close()
    assert pulse.depth > 0
