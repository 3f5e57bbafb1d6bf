"""What a phone without a buffer hears, chunk by chunk."""

import pytest

from server.bench.load.playout import Playout

CHUNK = 320  # samples: 40 ms
# A resampler's delay, as an onset shows it.
DELAY = 20


def reply(
    playout: Playout, at: float, chunks: int = 10, hold: dict[int, float] | None = None
) -> None:
    """A reply, 40 ms every 20 ms; `hold` delays chunks and all behind them by so many seconds."""
    playout_starts = playout.samples
    late = 0.0
    for number in range(chunks):
        late += (hold or {}).get(number, 0.0)
        playout.hear(CHUNK, at + number * 0.02 + late)
        if number == 0:
            playout.marker(playout_starts + DELAY, begins_reply=True)
        if number == chunks // 2:
            playout.marker(playout.samples - CHUNK + DELAY, begins_reply=False)


def test_a_pause_between_replies_is_no_gap() -> None:
    phone = Playout()
    for number in range(5):
        reply(phone, number * 0.5)
    assert phone.gaps == []


def test_a_chunk_that_is_a_little_late_is_no_gap() -> None:
    phone = Playout()
    reply(phone, 1.0, hold={1: 0.019})
    reply(phone, 2.0)
    assert phone.gaps == []


def test_a_chunk_that_comes_after_the_ear_is_a_gap() -> None:
    phone = Playout()
    reply(phone, 1.0, hold={1: 0.03})
    (gap,) = phone.gaps
    assert gap.ms == pytest.approx(10)
    assert gap.at == pytest.approx(1.05)


def test_a_gap_just_before_the_end_of_a_reply_is_not_taken_for_its_pause() -> None:
    phone = Playout()
    reply(phone, 1.0, chunks=10, hold={9: 0.25})
    reply(phone, 2.0)
    (gap,) = phone.gaps
    assert gap.ms == pytest.approx(70)


def test_two_gaps_are_two() -> None:
    phone = Playout()
    reply(phone, 1.0, hold={1: 0.05, 4: 0.2})
    assert [round(gap.ms) for gap in phone.gaps] == [30, 140]


def test_a_clear_ends_what_is_heard_at_once() -> None:
    phone = Playout()
    phone.hear(8_000, 1.0)
    phone.clear(1.2)
    assert phone.ends_at == 1.2
    phone.clear(1.3)
    assert phone.ends_at == 1.2
