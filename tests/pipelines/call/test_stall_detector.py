"""When a model owes an answer, moment by moment."""

import pytest

from pipelines.call.stall_detector import StallDetector
from pipelines.phone.caller_speech import CallerSpeech, Stretch
from pipelines.phone.playback import Playback


class Line:
    """A caller and a model, by hand."""

    def __init__(self, turn_ends_after_secs: float = 0.0) -> None:
        self.now = 100.0
        self.speech, self.playback = CallerSpeech(), Playback(lambda: self.now)
        self.answer = StallDetector(
            self.speech, self.playback, turn_ends_after_secs=turn_ends_after_secs
        )
        self.answer.replied(self.now)

    def speaks(self, *seconds: float) -> None:
        """The caller says a word at each of these seconds."""
        for second in seconds:
            self.speech.stretches.append(Stretch(100 + second, 100.5 + second))

    def overdue(self, second: float) -> bool:
        self.now = 100 + second
        return self.answer.is_overdue(self.now)

    def gone(self, second: float) -> bool:
        self.now = 100 + second
        return self.answer.is_gone(self.now)


def test_nothing_is_owed_to_a_caller_who_said_nothing() -> None:
    line = Line()
    assert not line.overdue(1000)
    line.speaks(1)
    line.answer.replied(103)
    assert not line.overdue(1000)


def test_an_answer_is_owed_in_a_pause_and_not_before_its_time() -> None:
    line = Line()
    line.speaks(1, 10, 20.5)
    assert not line.overdue(20)
    assert not line.overdue(22)  # the caller has just spoken
    assert line.overdue(23)
    line.answer.reminded(123)
    assert not line.overdue(24)


def test_the_pause_is_longer_than_the_one_that_ends_a_turn() -> None:
    line = Line(turn_ends_after_secs=5.0)
    line.speaks(1, 20)
    assert not line.overdue(26)
    assert line.overdue(28)


def test_a_model_that_only_listens_is_given_longer() -> None:
    line = Line()
    line.speaks(*range(1, 60, 4))
    line.answer.listened(140)
    assert not line.overdue(43.5)
    line.answer.listened(158)
    assert line.overdue(60)


def test_a_model_that_speaks_owes_nothing() -> None:
    line = Line()
    line.speaks(1, 19)
    line.now = 121
    line.playback.sent(8000 * 30)
    assert not line.overdue(23)
    assert not line.overdue(160)


@pytest.mark.parametrize(("second", "gone"), [(25, False), (31.5, False), (34, True)])
def test_a_model_is_gone_when_a_reminder_helps_nothing(second: float, gone: bool) -> None:
    line = Line()
    line.speaks(1)
    line.answer.reminded(123)
    line.speaks(29)
    assert line.gone(second) is gone


def test_a_model_that_came_back_is_not_gone() -> None:
    line = Line()
    line.speaks(1)
    line.answer.reminded(123)
    line.answer.replied(125)
    assert not line.gone(200)
