from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.playout import LONGEST_BUFFER, LONGEST_GAP, PlayoutBuffer

SPEECH = b"\x10" * 800


def test_plays_from_arrival_to_the_sample_and_silence_around_it() -> None:
    buffer = PlayoutBuffer()
    buffer.advance(100)
    assert buffer.append(SPEECH, 100)
    buffer.advance(1_000)
    assert bytes(buffer.heard) == b"\xff" * 100 + SPEECH + b"\xff" * 100
    assert buffer.gaps == []


def test_any_length_of_payload_is_one_stream_of_sound() -> None:
    buffer = PlayoutBuffer()
    for length in (1, 7, 160, 333, 299):
        buffer.append(SPEECH[:length], 0)
    for to in range(0, 801, 53):
        buffer.advance(to)
    buffer.advance(800)
    assert bytes(buffer.heard) == SPEECH
    assert buffer.waiting == 0


def test_a_mark_is_reached_when_what_came_before_it_was_played() -> None:
    buffer = PlayoutBuffer()
    buffer.append(SPEECH, 0)
    assert not buffer.mark("middle")
    buffer.append(SPEECH, 0)
    assert not buffer.mark("end")
    assert buffer.advance(799) == []
    assert buffer.advance(800) == ["middle"]
    assert buffer.advance(1_599) == []
    assert buffer.advance(5_000) == ["end"]


def test_a_mark_on_an_empty_buffer_is_reached_at_once() -> None:
    assert PlayoutBuffer().mark("now")


def test_clear_drops_what_waits_and_gives_its_marks_back() -> None:
    buffer = PlayoutBuffer()
    buffer.append(SPEECH, 0)
    buffer.mark("first")
    buffer.append(SPEECH, 0)
    buffer.mark("second")
    buffer.advance(300)
    assert buffer.clear() == (1_300, ["first", "second"])
    buffer.advance(600)
    assert bytes(buffer.heard) == SPEECH[:300] + b"\xff" * 300


def test_an_underrun_is_a_gap_with_its_place_and_length() -> None:
    buffer = PlayoutBuffer()
    buffer.append(SPEECH, 0)
    buffer.advance(960)
    buffer.append(SPEECH, 960)
    (gap,) = buffer.gaps
    assert (gap.start_secs * RATE, round(gap.secs * RATE), gap.after_mark) == (800, 160, False)


def test_a_gap_behind_a_mark_says_so() -> None:
    buffer = PlayoutBuffer()
    buffer.append(SPEECH, 0)
    buffer.mark("end of sentence")
    buffer.advance(960)
    buffer.append(SPEECH, 960)
    assert [gap.after_mark for gap in buffer.gaps] == [True]


def test_silence_after_clear_or_a_long_pause_is_no_gap() -> None:
    buffer = PlayoutBuffer()
    buffer.append(SPEECH, 0)
    buffer.advance(400)
    buffer.clear()
    buffer.advance(600)
    buffer.append(SPEECH, 600)
    buffer.advance(1_400 + LONGEST_GAP + 1)
    buffer.append(SPEECH, 1_400 + LONGEST_GAP + 1)
    assert buffer.gaps == []


def test_more_than_ten_minutes_are_dropped() -> None:
    buffer = PlayoutBuffer()
    assert buffer.append(b"\x10" * LONGEST_BUFFER, 0)
    assert not buffer.append(b"\x10", 0)
    buffer.advance(1)
    assert buffer.append(b"\x10", 1)
