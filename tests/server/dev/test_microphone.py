"""Somebody at this computer on the phone; the sound card is a scripted one."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
from typer.testing import CliRunner

from server.cli.main import app
from server.dev.microphone import NoMicrophone, who_speaks
from server.emulators.twilio import HungUp
from server.emulators.twilio.mulaw import PACKET, decode, encode
from server.emulators.twilio.sound import first_sound, tone
from tests.server.replay.stands import Telephone, in_virtual_time


class Card:
    """Keeps the two functions that a sound card calls."""

    hear: Callable[[bytes], None]
    play: Callable[[int], bytes]

    def __call__(
        self, hear: Callable[[bytes], None], play: Callable[[int], bytes]
    ) -> nullcontext[None]:
        self.hear, self.play = hear, play
        return nullcontext()


def test_both_sides_hear_each_other() -> None:
    async def scene() -> None:
        card, telephone = Card(), Telephone()
        spoken, heard = tone(440, 0.2), tone(880, 0.2)
        async with telephone as phone:
            talking = asyncio.create_task(who_speaks(card).talk(phone))
            await phone.pause(0.1)
            assert telephone.line is not None
            telephone.line.hear(encode(heard))
            played = b""
            for start in range(0, len(spoken), PACKET):
                card.hear(spoken[start : start + PACKET].astype("<i2").tobytes())
                await phone.pause(0.02)
                played += card.play(2 * PACKET)
            await phone.pause(0.2)
            played += card.play(2 * 4 * PACKET)
            phone.hang_up()
            telephone.line.close()
            with pytest.raises(HungUp):
                await talking
        said = decode(bytes(telephone.line.spoken))
        assert spectrum_peak(said[first_sound(said) :][:1200]) == pytest.approx(440, abs=10)
        loud = np.frombuffer(played, dtype="<i2").astype(np.int16)
        assert spectrum_peak(loud[first_sound(loud) :][:800]) == pytest.approx(880, abs=12)

    in_virtual_time(scene)


def test_what_waits_too_long_is_dropped() -> None:
    async def scene() -> None:
        card, telephone = Card(), Telephone()
        async with telephone as phone:
            talking = asyncio.create_task(who_speaks(card).talk(phone))
            await phone.pause(0.1)
            block = tone(440, 0.02).astype("<i2").tobytes()
            for _ in range(100):
                card.hear(block)
            await phone.pause(1.0)
            assert telephone.line is not None
            said = np.abs(decode(bytes(telephone.line.spoken)).astype(int)) > 1000
            assert 0.15 * 8000 < np.count_nonzero(said) < 0.3 * 8000
            talking.cancel()

    in_virtual_time(scene)


def spectrum_peak(samples: np.ndarray) -> float:
    """The loudest frequency, Hz."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * 8000 / len(samples))


def test_a_missing_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(NoMicrophone, match=r"pip install 'voice-ai-system\[microphone\]'"):
        who_speaks()
    result = CliRunner().invoke(app, ["dev", "--microphone"])
    assert result.exit_code == 1
    assert "pip install 'voice-ai-system[microphone]'" in result.output


@pytest.mark.parametrize(
    "words",
    [
        "--say Hello --microphone",
        "--once",
        "--inbound --say Hello --greeting Hi",
        "--greeting Hi",
        "--metadata name=Lee",
        "--gemini --script model.yaml",
        "--wav nowhere.wav",
        "--say Hello --metadata nothing",
    ],
)
def test_options_that_do_not_fit_are_refused(words: str) -> None:
    result = CliRunner().invoke(app, ["dev", *words.split()])
    assert result.exit_code == 2
    assert "Invalid value" in result.output
