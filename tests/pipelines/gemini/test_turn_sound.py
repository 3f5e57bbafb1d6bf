"""What the caller got from a turn of the model: its speech goes in, how it ended comes out."""

import pytest

from pipelines.gemini.turn_sound import TurnEnd, TurnSound
from tests.pipelines.tone import pcm_tone

AUDIBLE = pcm_tone(0.04, 24_000)
NEAR_SILENT = pcm_tone(0.04, 24_000, level=10.0)


@pytest.mark.parametrize(
    ("pieces", "without_reason", "with_reason"),
    [
        ([], TurnEnd.EMPTY, TurnEnd.EXPLAINED),
        ([NEAR_SILENT], TurnEnd.NEAR_SILENT, TurnEnd.EXPLAINED),
        ([AUDIBLE, NEAR_SILENT], TurnEnd.HEARD, TurnEnd.HEARD),
        ([NEAR_SILENT, AUDIBLE], TurnEnd.HEARD, TurnEnd.HEARD),
    ],
)
def test_a_turn_ends_as_its_speech_and_its_reasons_say(
    pieces: list[bytes], without_reason: TurnEnd, with_reason: TurnEnd
) -> None:
    turn, cut, called = TurnSound(), TurnSound(), TurnSound()
    for each in (turn, cut, called):
        for pcm in pieces:
            each.add(pcm, None)
    cut.interrupted()
    called.called_tool()
    assert turn.end() is without_reason
    assert cut.end() is called.end() is with_reason


def test_a_piece_is_audible_from_the_first_one_on_that_is() -> None:
    turn = TurnSound()
    assert [turn.add(pcm, None) for pcm in (NEAR_SILENT, AUDIBLE, NEAR_SILENT)] == [
        False,
        True,
        True,
    ]


def test_what_nobody_can_hear_does_not_count_as_heard() -> None:
    turn = TurnSound()
    assert turn.last_heard(2.0) == 2.0
    turn.add(NEAR_SILENT, 2.0)
    turn.add(NEAR_SILENT, 3.0)
    assert turn.is_near_silent
    assert turn.last_heard(4.0) == 2.0
    turn.filled(5.0)
    assert turn.last_heard(5.0) == 5.0
    turn.add(AUDIBLE, 6.0)
    assert not turn.is_near_silent
    assert turn.last_heard(7.0) == 7.0
