"""Keys become one line of text for the model."""

import asyncio

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputDTMFFrame, InputTextRawFrame

from processors.keypad import Keypad
from tests import virtual_time
from tests.pipelines.stage import Stage, on_stage


def texts(stage: Stage) -> list[str]:
    return [frame.text for frame in stage.after.of(InputTextRawFrame)]  # type: ignore[attr-defined]


async def press(stage: Stage, digits: str) -> None:
    for digit in digits:
        await stage.down(InputDTMFFrame(button=KeypadEntry(digit)))


def test_digits_are_one_line_after_a_pause() -> None:
    async def scene() -> None:
        async with on_stage(Keypad(pause_secs=1.5)) as stage:
            await press(stage, "1")
            await asyncio.sleep(1.4)
            await press(stage, "2")
            await asyncio.sleep(1.4)
            assert texts(stage) == []
            await asyncio.sleep(0.2)
            assert texts(stage) == ["[The caller pressed 1 2 on the keypad.]"]
            assert len(stage.after.of(InputDTMFFrame)) == 2

    virtual_time.run(scene())


def test_a_hash_ends_the_line_at_once() -> None:
    async def scene() -> None:
        async with on_stage(Keypad()) as stage:
            await press(stage, "42#")
            assert texts(stage) == ["[The caller pressed 4 2 # on the keypad.]"]
            await asyncio.sleep(5)
            assert len(texts(stage)) == 1

    virtual_time.run(scene())


def test_a_stuck_key_is_many_lines_not_one_endless_one() -> None:
    async def scene() -> None:
        async with on_stage(Keypad(most=4)) as stage:
            await press(stage, "9" * 9)
            assert len(texts(stage)) == 2

    virtual_time.run(scene())
