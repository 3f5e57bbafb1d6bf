"""What a connection has missed is sent to it faster than the caller speaks, on a busy loop, too."""

import asyncio
from typing import Any

import pytest

from pipelines.gemini import leg as leg_module
from pipelines.gemini.leg import Leg
from pipelines.gemini.unkept_audio import UnkeptAudio
from pipelines.rates import GEMINI_HEARS_AT
from tests import virtual_time
from tests.pipelines.tone import pcm_tone

PACKET_SECS = 0.02
MISSED_SECS = 3.0


class TakesAll:
    """A session that takes each packet at once."""

    def __init__(self) -> None:
        self.packets = 0

    def hear(self, _pcm: bytes) -> bool:
        self.packets += 1
        return True


@pytest.mark.parametrize(("late_secs", "at_most_secs"), [(0.0, 1.0), (0.06, 1.2)])
def test_a_connection_catches_up_with_a_caller_who_goes_on(
    late_secs: float, at_most_secs: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = asyncio.sleep

    async def late(secs: float) -> None:
        await sleep(secs + late_secs)

    monkeypatch.setattr(leg_module.asyncio, "sleep", late)

    async def scene() -> None:
        unkept, session = UnkeptAudio(), TakesAll()
        tone = pcm_tone(PACKET_SECS, GEMINI_HEARS_AT)
        for _ in range(round(MISSED_SECS / PACKET_SECS)):
            unkept.add(tone)

        async def caller_goes_on() -> None:
            while True:
                await sleep(PACKET_SECS)
                unkept.add(tone)

        opened: Any = None
        leg = Leg(opened, session, None, 0.0, next_packet=unkept.first)  # type: ignore[arg-type]
        speaking = asyncio.create_task(caller_goes_on())
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(60):
            await leg.catch_up(unkept)
        took = asyncio.get_running_loop().time() - began
        speaking.cancel()
        # At four times the caller's pace, and no faster.
        assert MISSED_SECS / 4 <= took <= at_most_secs + PACKET_SECS
        assert session.packets == unkept.end

    virtual_time.run(scene())
