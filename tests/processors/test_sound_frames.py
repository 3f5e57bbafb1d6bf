"""Frames of sound are Pipecat's, though they name themselves only when they are asked."""

import copy
from dataclasses import fields, replace

import pytest
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame, TTSAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from processors.sound_frames import AgentSound, CallerSound

PCM = bytes(320)
PAIRS = [
    (CallerSound(PCM, 8000), InputAudioRawFrame(PCM, 8000, 1)),
    (AgentSound(PCM, 24000), TTSAudioRawFrame(PCM, 24000, 1)),
]


@pytest.mark.parametrize(("light", "pipecats"), PAIRS)
def test_all_that_pipecats_frame_has_is_there(light: Frame, pipecats: Frame) -> None:
    assert isinstance(light, type(pipecats))
    for field in fields(pipecats):
        if field.name not in ("id", "name"):
            assert getattr(light, field.name) == getattr(pipecats, field.name), field.name
    assert light.name.startswith(f"{type(light).__name__}#")
    assert light.name in str(light)


def test_names_and_numbers_are_given_once_and_to_one_frame() -> None:
    first, second = CallerSound(PCM, 8000), CallerSound(PCM, 8000)
    assert first.id == first.id
    assert first.name == first.name
    assert first.id != second.id
    assert first.name != second.name
    assert first.metadata is first.metadata
    assert first.metadata is not second.metadata


def test_what_was_set_stays_when_the_rest_is_asked_for() -> None:
    frame = AgentSound(PCM, 24000)
    frame.transport_destination = "the phone"
    frame.pts = 7
    assert frame.name
    assert (frame.transport_destination, frame.pts) == ("the phone", 7)


def test_a_copy_is_a_frame_too() -> None:
    for frame in (copy.copy(CallerSound(PCM, 8000)), copy.deepcopy(AgentSound(PCM, 24000))):
        assert isinstance(frame, InputAudioRawFrame | OutputAudioRawFrame)
        assert frame.audio == PCM
        assert frame.name


def test_what_no_frame_has_is_missing() -> None:
    with pytest.raises(AttributeError, match="colour"):
        _ = CallerSound(PCM, 8000).colour  # type: ignore[attr-defined]


@pytest.mark.parametrize("frame", [CallerSound(PCM, 8000), AgentSound(PCM, 24000)])
def test_a_step_may_make_another_like_it(frame: InputAudioRawFrame | TTSAudioRawFrame) -> None:
    other = replace(frame, audio=PCM * 2, num_channels=2)
    assert type(other) is type(frame)
    assert (other.audio, other.num_channels, other.num_frames) == (PCM * 2, 2, 160)
    assert other.sample_rate == frame.sample_rate
    assert other.id != frame.id


@pytest.mark.parametrize(
    "frame", [CallerSound(PCM, 8000), AgentSound(PCM, 24000, context_id="turn 1")]
)
async def test_a_step_may_broadcast_it_as_pipecat_does(
    frame: InputAudioRawFrame | TTSAudioRawFrame,
) -> None:
    class Keeps(FrameProcessor):
        async def push_frame(
            self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
        ) -> None:
            pushed.append(frame)

    pushed: list[Frame] = []
    frame.metadata["kept"] = True
    await Keeps(enable_direct_mode=True).broadcast_frame_instance(frame)
    down, up = pushed
    assert (down.broadcast_sibling_id, up.broadcast_sibling_id) == (up.id, down.id)
    for one in pushed:
        assert isinstance(one, type(frame))
        assert one.metadata == {"kept": True}
        assert vars(one)["audio"] == PCM
        assert getattr(one, "context_id", None) == getattr(frame, "context_id", None)
