"""What the next session is given, by the code with which the last one was closed."""

import pytest

from pipelines.gemini.close_rules import CloseRules, Replay


@pytest.mark.parametrize("reason", ["connection_lost", "closed_1000", "closed_1011", "closed_1013"])
def test_audio_is_sent_again(reason: str) -> None:
    rules = CloseRules()
    assert rules.closed(reason) == rules.closed(reason) == Replay()


def test_a_row_of_1007_is_given_less_each_time() -> None:
    rules = CloseRules()
    given = [rules.closed("closed_1007") for _ in range(4)]
    assert given == [
        Replay(all_but=1),
        Replay(fresh=True, all_but=1),
        Replay(audio=False, fresh=True, all_but=1),
        Replay(audio=False, fresh=True, all_but=1),
    ]


def test_an_answer_ends_the_row() -> None:
    rules = CloseRules()
    rules.closed("closed_1007")
    rules.answered()
    assert rules.closed("closed_1007") == Replay(all_but=1)
