"""What a place is called, and who is answerable for it."""

import sys

import pytest

from server.code_places import CodePlace, depth_of, frames_within, stack_of, who

JSON = CodePlace("json.decoder", "JSONDecoder.decode", 337)
OURS = CodePlace("pipelines.twilio_stream", "decode", 60)
CALLER = CodePlace("pipelines.phone_line", "PhoneLine.receive", 130)
LIBRARY = CodePlace("pipecat.processors.frame_processor", "FrameProcessor.push_frame", 9)


@pytest.mark.parametrize(
    ("stack", "name"),
    [
        ((OURS, CALLER), "pipelines.twilio_stream:decode"),
        ((JSON, OURS, CALLER), "pipelines.twilio_stream:decode in json"),
        ((JSON, LIBRARY), "json.decoder:JSONDecoder.decode"),
    ],
)
def test_the_innermost_function_of_ours_is_answerable(
    stack: tuple[CodePlace, ...], name: str
) -> None:
    assert who(stack) == name


def test_nobody_is_on_an_empty_stack() -> None:
    with pytest.raises(ValueError, match="nobody"):
        who(())


def test_a_name_has_no_line_and_a_place_has_one() -> None:
    assert OURS.name == "pipelines.twilio_stream:decode"
    assert str(OURS) == "pipelines.twilio_stream:decode:60"


def test_a_stack_begins_within_what_called_the_callback() -> None:
    depth = depth_of(sys._getframe())

    def callback() -> tuple[CodePlace, ...]:
        return inner()

    def inner() -> tuple[CodePlace, ...]:
        return stack_of(frames_within(sys._getframe(), depth))

    functions = [place.function.rpartition(".")[2] for place in callback()]
    assert functions == ["inner", "callback"]
    assert frames_within(sys._getframe(), depth) == []
    assert frames_within(sys._getframe(), depth + 5) == []
