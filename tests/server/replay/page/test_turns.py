"""Which words a response time belongs to."""

from server.replay.page.turns import Answered, answers
from tests.server.replay import samples


def test_each_response_time_finds_the_words_that_it_answers() -> None:
    assert answers(samples.barge_in()) == [
        Answered(880, 7.6, "What should I bring with me?"),
        Answered(1_400, 12.7, "Sorry, can I come on Friday instead?"),
        Answered(900, 19.5, "Thank you, goodbye."),
    ]


def test_words_that_were_not_answered_are_passed_over() -> None:
    call = samples.barge_in()
    call.response_ms = [880, 900]
    assert [answer.said for answer in answers(call)] == [
        "What should I bring with me?",
        "Thank you, goodbye.",
    ]


def test_a_time_that_fits_nowhere_is_kept_without_a_place() -> None:
    call = samples.barge_in()
    call.response_ms = [5_000, 900]
    assert answers(call) == [Answered(5_000), Answered(900, 19.5, "Thank you, goodbye.")]
