"""Words that come when their turn is over: they wait for the next reply, but not for long."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection

from pipelines.gemini.reply_output import LATE_WORDS_SECS, PIECE_BYTES, ReplyOutput, pieces
from pipelines.gemini.reply_state import ReplyState
from processors.direct import DirectProcessor, Sound
from tests.pipelines.call.test_run_call import scene
from tests.pipelines.gemini.test_reply_state import told


class Step(DirectProcessor):
    """Keeps what is pushed, and is in no pipeline."""

    def __init__(self) -> None:
        super().__init__()
        self.pushed: list[Frame] = []
        self.sounds: list[bytes] = []

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        self.pushed.append(frame)

    async def push_sound(self, frame: Sound) -> None:
        self.sounds.append(frame.audio)

    def create_task(
        self, coroutine: Coroutine[Any, Any, Any], name: str | None = None, context: object = None
    ) -> asyncio.Task[Any]:
        return asyncio.create_task(coroutine, name=name)


async def after_a_turn(step: Step) -> tuple[ReplyOutput, ReplyState]:
    """A turn is over, and words of it are late."""
    reply = ReplyState()
    output = ReplyOutput(step, reply)
    await output.words("Good")
    await output.push(reply.completed())
    step.pushed.clear()
    await output.words("morning.")
    return output, reply


@scene
async def test_late_words_belong_to_the_turn_that_is_over_after_a_while() -> None:
    step = Step()
    await after_a_turn(step)
    await asyncio.sleep(LATE_WORDS_SECS / 2)
    assert told(step.pushed) == []
    await asyncio.sleep(LATE_WORDS_SECS)
    assert told(step.pushed) == ["(morning.)"]


@scene
async def test_late_words_belong_to_a_reply_that_begins_before() -> None:
    step = Step()
    output, reply = await after_a_turn(step)
    reply.prompted()
    await output.words(" How are you?")
    await asyncio.sleep(2 * LATE_WORDS_SECS)
    assert told(step.pushed) == ["begin", "morning.", " How are you?"]


@scene
async def test_late_words_of_each_turn_wait_as_long() -> None:
    step = Step()
    output, reply = await after_a_turn(step)
    await asyncio.sleep(LATE_WORDS_SECS / 2)
    reply.prompted()
    await output.words("How are you")
    await output.push(reply.completed())
    await output.words("today?")
    step.pushed.clear()
    await asyncio.sleep(LATE_WORDS_SECS * 0.75)
    assert told(step.pushed) == []
    await asyncio.sleep(LATE_WORDS_SECS)
    assert told(step.pushed) == ["(today?)"]


@scene
async def test_a_sentence_of_no_session_is_a_reply_of_its_own() -> None:
    step = Step()
    output, reply = await after_a_turn(step)
    step.pushed.clear()
    await output.say_apart(bytes(PIECE_BYTES + 2), "One moment, please.")
    assert told(step.pushed) == ["begin", "One moment, please.", "sound", "silence", "end"]
    assert [len(pcm) for pcm in step.sounds] == [PIECE_BYTES, 2]
    assert reply.text == "Good", "the model has not said it"


def test_kept_speech_is_said_whole() -> None:
    pcm = bytes(range(256)) * 200
    assert b"".join(pieces(pcm)) == pcm
    assert list(pieces(b"")) == []
