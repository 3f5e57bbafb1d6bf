"""Sound by the short way: to who hears it, around everybody else, and never past an error."""

from pipecat.frames.frames import (
    CancelFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InputTextRawFrame,
    InterruptionFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.worker import PipelineParams
from pipecat.processors.frame_processor import FrameDirection

from processors.direct import AudioBypass, DirectProcessor, Sound
from tests.pipelines.stage import Recorder, on_stage


class Hears(DirectProcessor):
    """Keeps the caller's sound, and passes it on."""

    hears = InputAudioRawFrame

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.heard: list[Sound] = []
        self.processed: list[Frame] = []
        self._error = error

    async def hear(self, frame: Sound) -> None:
        self.heard.append(frame)
        if self._error is not None:
            raise self._error
        await self.push_sound(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.processed.append(frame)
        await self.push_frame(frame, direction)


def packet() -> InputAudioRawFrame:
    return InputAudioRawFrame(bytes(320), 8000, 1)


async def test_sound_comes_by_hear_and_all_else_as_pipecat_has_it() -> None:
    step = Hears()
    async with on_stage(step) as stage:
        sound, text = packet(), InputTextRawFrame("hello")
        await stage.down(sound, text)
        await stage.after.until(lambda r: r.of(InputTextRawFrame))
        assert step.heard == [sound]
        assert text in step.processed
        assert sound not in step.processed
        assert stage.after.of(InputAudioRawFrame) == [sound]


async def test_a_kind_of_sound_that_a_step_does_not_hear_passes_it() -> None:
    step = Hears()
    async with on_stage(step) as stage:
        speech = TTSAudioRawFrame(bytes(960), 24000, 1)
        await stage.down(speech)
        await stage.after.until(lambda r: r.of(OutputAudioRawFrame))
        assert step.heard == []
        assert speech in step.processed


async def test_an_error_while_hearing_is_reported_and_the_next_packet_comes() -> None:
    step = Hears(ValueError("cannot"))
    async with on_stage(step) as stage:
        await stage.down(packet(), packet())
        await stage.before.until(lambda r: len(r.of(ErrorFrame)) == 2)
        assert len(step.heard) == 2
        error = stage.before.of(ErrorFrame)[0]
        assert isinstance(error, ErrorFrame)
        assert "cannot" in error.error


async def test_sound_goes_around_what_does_not_hear_it() -> None:
    unhearing, beyond = Recorder(), Hears()
    async with on_stage(AudioBypass(InputAudioRawFrame, beyond), unhearing, beyond) as stage:
        sound, text = packet(), InputTextRawFrame("hello")
        await stage.down(sound, text)
        await stage.after.until(lambda r: r.of(InputTextRawFrame))
        assert unhearing.of(InputAudioRawFrame) == []
        assert unhearing.of(InputTextRawFrame) == [text]
        assert beyond.heard == [sound]


async def test_a_call_that_is_over_hears_no_more() -> None:
    step = Hears()
    async with on_stage(step) as stage:
        await stage.down(CancelFrame())
        await stage.down(packet())
        await step.push_sound(packet())
        assert step.heard == []
        assert stage.after.of(InputAudioRawFrame) == []


async def test_a_step_is_not_measured_by_pipecat_and_no_other_is_held_up() -> None:
    first, second = Hears(), Hears()
    params = PipelineParams(enable_metrics=True, enable_usage_metrics=True)
    async with on_stage(first, second, params=params) as stage:
        await stage.down(InterruptionFrame(), InputTextRawFrame("hello"))
        await stage.after.until(lambda r: r.of(InputTextRawFrame))
        measured = [data for frame in stage.after.of(MetricsFrame) for data in frame.data]
        assert measured == []
        assert stage.after.of(ErrorFrame) == stage.before.of(ErrorFrame) == []
