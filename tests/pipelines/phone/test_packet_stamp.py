"""Our share on the way in is measured for some packets, and for none that would tell untruth."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from google.genai import types
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from websockets.exceptions import ConnectionClosedError

from agent.measures import ModelDrop, UplinkShare
from agent.tools.hang_up import hang_up
from pipelines.definition import PipelineDefinition
from pipelines.gemini.client import ModelSession
from pipelines.phone.packet_stamp import STAMPED_EVERY, stamped, take_stamp
from pipelines.steps import custom, gemini_live, resample, transport_input, transport_output
from tests.pipelines.call.test_run_call import OnStage, call, scene
from tests.pipelines.model import PlayedModel, PlayedSession


def test_a_stamp_is_there_within_and_taken_once() -> None:
    assert take_stamp() is None
    with stamped(7.5):
        assert take_stamp() == 7.5
        assert take_stamp() is None
    with stamped(8.5):
        pass
    assert take_stamp() is None


async def test_a_task_that_outlives_its_packet_has_no_stamp() -> None:
    later = asyncio.Event()

    async def takes_later() -> float | None:
        await later.wait()
        return take_stamp()

    with stamped(7.5):
        task = asyncio.create_task(takes_later())
        await asyncio.sleep(0)
    later.set()
    assert await task is None


class Slow(FrameProcessor):
    """Holds the caller's sound up for a moment, with queues of its own or in direct mode."""

    def __init__(self, secs: float, *, direct: bool) -> None:
        super().__init__(enable_direct_mode=direct)
        self._secs = secs

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await asyncio.sleep(self._secs)
        await self.push_frame(frame, direction)


def with_slow_step(secs: float, *, direct: bool) -> PipelineDefinition:
    return PipelineDefinition(
        name="slow",
        tools=[hang_up],
        steps=[
            transport_input(),
            resample(to=16_000),
            custom("slow", lambda _: Slow(secs, direct=direct)),
            gemini_live(),
            transport_output(),
        ],
    )


class SlowSession(PlayedSession):
    """A session whose socket takes its time for each packet."""

    async def send_realtime_input(self, **what: Any) -> None:
        await asyncio.sleep(0.002)
        await super().send_realtime_input(**what)


class SlowModel(PlayedModel):
    """Hands out slow sessions."""

    @asynccontextmanager
    async def connect(self, config: types.LiveConnectConfig) -> AsyncIterator[ModelSession]:
        async with super().connect(config):
            self.sessions[-1] = SlowSession(config)
            yield self.sessions[-1]  # type: ignore[misc]


async def talk(stage: OnStage, secs: float) -> int:
    """Pick up and let the line run; returns how many packets came."""
    await stage.phone.pick_up()
    await asyncio.sleep(secs + 0.01)  # between two packets
    return stage.running.line.packets_received


@scene
async def test_each_fiftieth_packet_is_timed_from_the_phone_to_the_models_socket() -> None:
    slow = with_slow_step(0.003, direct=True)
    async with call(SlowModel(setup_secs=0), definition=slow) as stage:
        packets = await talk(stage, 5.5)
        shares = stage.of(UplinkShare)
    assert len(shares) == packets // STAMPED_EVERY >= 4
    assert [share.secs for share in shares] == pytest.approx([0.005] * len(shares), abs=1e-6)


@scene
async def test_behind_a_step_with_queues_nothing_is_said_rather_than_something_wrong() -> None:
    async with call(definition=with_slow_step(0.003, direct=False)) as stage:
        await talk(stage, 5.5)
        session = await stage.model.session()
        assert len(session.audio) > 3 * STAMPED_EVERY
        assert stage.of(UplinkShare) == []


@scene
async def test_waiting_for_a_session_is_not_our_share() -> None:
    async with call(PlayedModel(setup_secs=3.0)) as stage:
        packets = await talk(stage, 6.5)
        shares = stage.of(UplinkShare)
        session = await stage.model.session()
        # 20 ms at 16 kHz each. What came in one go while nothing was sent goes out as one message,
        # so that messages are fewer than packets.
        assert sum(map(len, session.audio)) == packets * 640
        assert {len(message) % 640 for message in session.audio} == {0}
        assert packets - 10 < len(session.audio) <= packets
    assert 1 <= len(shares) < packets // STAMPED_EVERY
    assert max(share.secs for share in shares) < 0.001


class BreakingModel(PlayedModel):
    """The first session breaks while the first packet with a stamp is sent."""

    @asynccontextmanager
    async def connect(self, config: types.LiveConnectConfig) -> AsyncIterator[ModelSession]:
        async with super().connect(config) as session:
            if len(self.sessions) == 1:
                self.sessions[0] = BreakingSession(config)
                session = self.sessions[0]  # type: ignore[assignment]
            yield session


class BreakingSession(PlayedSession):
    """Its socket takes packets until the one before the stamped one."""

    async def send_realtime_input(self, **what: Any) -> None:
        if len(self.audio) == STAMPED_EVERY - 1:
            await asyncio.sleep(1)
            raise ConnectionClosedError(None, None)
        await super().send_realtime_input(**what)


@scene
async def test_a_packet_that_was_sent_again_over_another_session_does_not_count() -> None:
    async with call(
        BreakingModel(setup_secs=0), definition=with_slow_step(0, direct=True)
    ) as stage:
        packets = await talk(stage, 8)
        again = await stage.model.session(2)
        assert len(stage.of(ModelDrop)) == 1
        before = len(stage.model.sessions[0].audio)
        assert before == STAMPED_EVERY - 1
        # Nobody spoke in the two seconds in which the session broke: those are not sent again.
        assert packets - before - len(again.audio) == pytest.approx(2 * STAMPED_EVERY, abs=1)
        shares = stage.of(UplinkShare)
    assert 1 <= len(shares) < packets // STAMPED_EVERY
    # One more may have waited for the broken session to let go; none of what waited is counted.
    assert max(share.secs for share in shares) < 0.001
