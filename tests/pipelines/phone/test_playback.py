"""The book of outgoing speech: what was sent, heard, and taken back."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pipelines.phone.playback import Playback, Reply
from tests.pipelines.clock import Clock

SECOND = 8000


def playback() -> tuple[Playback, Clock, list[Reply]]:
    clock = Clock()
    book = Playback(clock)
    heard: list[Reply] = []
    book.on_heard = heard.append
    return book, clock, heard


def test_a_reply_is_heard_when_its_last_mark_comes_back_and_its_turn_is_over() -> None:
    book, clock, heard = playback()
    book.said("One two ")
    book.sent(SECOND)
    book.said("three four.")
    last = book.mark()
    book.completed()
    book.closed()
    assert not book.idle
    clock.pass_secs(1)
    book.marked(last)
    assert book.idle
    assert [(reply.heard_text(), reply.start, reply.end) for reply in heard] == [
        ("One two three four.", 100.0, 101.0)
    ]


def test_a_queue_that_runs_empty_inside_a_reply_is_a_gap_and_between_replies_is_none() -> None:
    book, clock, _ = playback()
    gaps: list[float] = []
    book.on_gap = gaps.append
    book.sent(SECOND)
    clock.pass_secs(1.25)
    book.sent(SECOND)
    assert gaps == [0.25]
    clock.pass_secs(1.001)
    book.sent(SECOND)
    book.completed()
    clock.pass_secs(5)
    book.sent(SECOND)
    assert gaps == [0.25]


def test_words_that_come_after_the_sound_still_belong_to_it() -> None:
    book, _, heard = playback()
    book.sent(SECOND)
    last = book.mark()
    book.completed()
    book.said("Late words.")
    book.marked(last)
    assert heard == []
    book.closed()
    assert [reply.heard_text() for reply in heard] == ["Late words."]


def test_a_barge_in_keeps_only_the_words_before_it() -> None:
    book, clock, heard = playback()
    book.said("one two three four five six seven eight")
    book.sent(8 * SECOND)
    clock.pass_secs(4)
    book.take_back()
    assert [(reply.heard_text(), reply.interrupted) for reply in heard] == [
        ("one two three four", True)
    ]
    assert heard[0].end == 104.0
    assert book.idle
    assert not book.speaking


def test_a_barge_in_before_the_first_sound_was_heard_leaves_no_words() -> None:
    book, _, heard = playback()
    book.said("Hello there")
    book.sent(SECOND)
    book.take_back()
    assert [reply.heard_text() for reply in heard] == [""]


def test_marks_that_come_back_because_of_a_clear_say_nothing() -> None:
    book, clock, heard = playback()
    book.sent(2 * SECOND)
    mark = book.mark()
    clock.pass_secs(0.5)
    book.take_back()
    book.marked(mark)
    assert [reply.heard_ms for reply in heard] == [500.0]


def test_a_mark_knows_better_than_the_clock() -> None:
    book, clock, heard = playback()
    book.sent(SECOND)
    halfway = book.mark()
    book.sent(SECOND)
    clock.pass_secs(1.4)
    book.marked(halfway)  # the network is 400 ms behind
    clock.pass_secs(0.5)
    book.take_back()
    assert [round(reply.heard_ms) for reply in heard] == [1500]


def test_a_reply_behind_another_is_heard_after_it() -> None:
    book, _, _ = playback()
    book.sent(2 * SECOND)
    book.completed()
    second = book.sent(SECOND)
    assert second.start == 102.0
    assert book.last_sound == 103.0


def test_a_gap_inside_a_reply_moves_what_comes_after_it() -> None:
    book, clock, _ = playback()
    reply = book.sent(SECOND)
    clock.pass_secs(3)
    book.sent(SECOND)
    assert reply.end == 104.0


def test_a_turn_without_sound_or_words_is_nobodys_reply() -> None:
    book, _, heard = playback()
    book.completed()
    book.closed()
    assert heard == []
    assert book.idle


def test_an_unknown_mark_is_nobodys() -> None:
    book, _, heard = playback()
    book.sent(SECOND)
    book.marked("somebody else's")
    assert heard == []


@given(
    st.text(alphabet="ab cd", min_size=1),
    st.floats(min_value=0, max_value=1),
)
def test_the_words_heard_are_a_beginning_of_the_words_said(text: str, share: float) -> None:
    reply = Reply(1, 0.0, sent_ms=1000, heard_ms=1000 * share, text=text, interrupted=True)
    said, heard = text.split(), reply.heard_text().split()
    assert said[: len(heard)] == heard


class Book(RuleBasedStateMachine):
    """Anything may happen in any order: the book never claims what cannot be."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self.clock, self.heard = playback()
        self.sent_ms = 0.0
        self.waiting: list[str] = []

    @rule(packets=st.integers(1, 100))
    def send(self, packets: int) -> None:
        self.book.sent(160 * packets)
        self.sent_ms += 20 * packets

    @rule()
    def say(self) -> None:
        self.book.said("word ")

    @precondition(lambda self: self.book.current is not None)
    @rule()
    def mark(self) -> None:
        self.waiting.append(self.book.mark())

    @precondition(lambda self: self.book.current is not None and self.book.current.sent_ms)
    @rule()
    def complete(self) -> None:
        self.waiting.append(self.book.mark())
        self.book.completed()

    @rule()
    def close(self) -> None:
        self.book.closed()

    @precondition(lambda self: self.waiting)
    @rule()
    def come_back(self) -> None:
        self.book.marked(self.waiting.pop(0))

    @rule()
    def clear(self) -> None:
        self.book.take_back()

    @rule(secs=st.floats(0, 5))
    def wait(self, secs: float) -> None:
        self.clock.pass_secs(secs)

    @invariant()
    def nothing_is_heard_that_was_not_sent(self) -> None:
        assert all(0 <= reply.heard_ms <= reply.sent_ms for reply in self.heard)
        assert sum(reply.sent_ms for reply in self.heard) <= self.sent_ms + 1e-6

    @invariant()
    def each_reply_is_told_once_and_in_order(self) -> None:
        numbers = [reply.number for reply in self.heard]
        assert len(numbers) == len(set(numbers))

    @invariant()
    def a_whole_reply_was_heard_whole(self) -> None:
        assert all(r.interrupted or r.heard_ms == r.sent_ms for r in self.heard)


TestBook = Book.TestCase
TestBook.settings = settings(stateful_step_count=40)
