"""The ring of the caller's audio: what is sent again to a session that knows less."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gemini.unkept_audio import LEAD_PACKETS, MOST_REPLAYED_PACKETS, UnkeptAudio
from tests.pipelines.tone import pcm_tone

QUIET = bytes(640)
LOUD = pcm_tone(0.02, 16_000)


def ring(*runs: tuple[int, bytes]) -> UnkeptAudio:
    unkept = UnkeptAudio()
    for count, packet in runs:
        for _ in range(count):
            unkept.add(packet)
    return unkept


def test_speech_is_found_with_a_lead() -> None:
    unkept = ring((100, QUIET), (80, LOUD), (30, QUIET))
    assert unkept.speech_from(0) == 100 - LEAD_PACKETS
    assert unkept.speech_from(95) == 95
    assert unkept.speech_from(180) is None


def test_a_click_is_no_speech() -> None:
    assert ring((50, QUIET), (1, LOUD), (50, QUIET)).speech_from(0) is None


def test_an_answer_covers_what_was_said_before_it() -> None:
    unkept = ring((20, QUIET), (50, LOUD), (30, QUIET))
    unkept.answer_begins()
    assert (unkept.asked, unkept.answered) == (0, 100)
    assert unkept.speech_from(unkept.answered) is None
    assert unkept.speech_from(unkept.asked) == 20 - LEAD_PACKETS


def test_speech_that_goes_on_when_the_answer_begins_is_not_answered() -> None:
    unkept = ring((50, QUIET), (40, LOUD), (30, QUIET), (10, LOUD))
    unkept.answer_begins()
    assert unkept.answered == 120 - LEAD_PACKETS


def test_an_answer_in_two_parts_is_to_one_turn() -> None:
    unkept = ring((50, LOUD), (30, QUIET))
    unkept.answer_begins()
    for _ in range(100):
        unkept.add(QUIET)
    unkept.answer_begins()  # after a tool, say
    assert unkept.asked == 0


def test_the_turn_that_is_owed_is_replayed() -> None:
    unkept = ring((20, QUIET), (50, LOUD), (30, QUIET))
    assert unkept.replay_from(unfinished=False) == 20 - LEAD_PACKETS
    unkept.answer_begins()
    assert unkept.replay_from(unfinished=True) == 20 - LEAD_PACKETS
    assert unkept.replay_from(unfinished=False) is None, "it was answered"


def test_a_turn_that_is_too_long_is_not_replayed_if_it_is_answered() -> None:
    unkept = ring((MOST_REPLAYED_PACKETS, LOUD), (30, QUIET))
    assert unkept.replay_from(unfinished=False) == 0
    unkept.answer_begins()
    assert unkept.replay_from(unfinished=True) is None


def test_a_handle_drops_what_was_answered_and_nothing_else() -> None:
    unkept = ring((50, LOUD), (30, QUIET))
    unkept.answer_begins()
    unkept.add(LOUD)
    unkept.keep(unfinished=True)
    assert unkept.first == 0
    unkept.keep()
    assert (unkept.first, unkept.end) == (80, 81)


def test_a_packet_that_may_be_refused_becomes_silence() -> None:
    unkept = ring((3, LOUD))
    unkept.blank(2)
    unkept.blank(7)
    assert [unkept.take(number)[0] for number in range(3)] == [LOUD, LOUD, QUIET]


@given(st.lists(st.sampled_from(["quiet", "loud", "answer", "keep"]), max_size=300), st.data())
def test_what_was_not_answered_is_always_there(steps: list[str], data: st.DataObject) -> None:
    unkept = UnkeptAudio(most_packets=1_000)
    said: list[bytes] = []
    for step in steps:
        match step:
            case "quiet" | "loud":
                packet = QUIET if step == "quiet" else LOUD
                said.append(packet)
                unkept.add(packet)
            case "answer":
                unkept.answer_begins()
            case "keep":
                unkept.keep()
        assert unkept.first <= unkept.answered <= unkept.end == len(said)
    if unkept.first < unkept.end:
        number = data.draw(st.integers(unkept.first, unkept.end - 1))
        assert unkept.take(number) == (said[number], number + 1)


def test_of_too_much_the_oldest_is_dropped() -> None:
    unkept = UnkeptAudio(most_packets=10)
    for _ in range(25):
        unkept.add(LOUD)
    assert (unkept.first, unkept.end) == (15, 25)
    assert unkept.speech_from(0) == 15
