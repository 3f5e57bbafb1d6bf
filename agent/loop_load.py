"""LoopLoad: how late an event loop is, and what follows: how many packets share a message.

It hears the lateness of a timer that beats 20 times a second, and only sums it up: what runs for
every packet reads an attribute.

    lateness ──▶ mean of a second ──▶ packets in a message: 1, 2 or 3
             └─▶ share of late beats in 5 s ──▶ overloaded: no new calls

Each step up is taken at another lateness than the step down, and a step down only after two quiet
seconds: joining packets makes the loop faster, which alone is no reason to stop.
"""

from collections import deque

# How often the timer beats.
BEAT_SECS = 0.05
# A beat counts for so much of the mean: 20 beats, which is one second.
_OF_MEAN = 1 / 20
# One long stall is not a busy loop.
_MOST_COUNTED_SECS = 0.1
# The mean lateness, in seconds, from which 2 and 3 packets share a message...
UP_SECS = (0.008, 0.016)
# ...and below which they do no more, after so many beats in a row.
DOWN_SECS = (0.003, 0.008)
_DOWN_AFTER_BEATS = 40
# Overload is judged by the beats of so many seconds, and not before so many have passed.
_WINDOW_SECS, _JUDGED_AFTER_SECS = 5.0, 4.0
# The 95th percentile is late when more beats are than one in so many.
_LATE_ONE_IN = 20


class LoopLoad:
    """What is known of one loop's lateness. Pure: `observe` is told each beat's."""

    def __init__(self, overloaded_secs: float | None = None) -> None:
        """`overloaded_secs`: the lateness at which the loop is overloaded; None: it never is."""
        # How many packets of a caller may share a message.
        self.packets = 1
        # The 95th percentile of the last seconds is late: no new calls.
        self.is_overloaded = False
        self._overloaded_secs = overloaded_secs
        self._mean_secs = 0.0
        self._quiet_beats = 0
        # The lateness of the beats of the last seconds, how many of them were late, and how long
        # they took.
        self._beats: deque[float] = deque()
        self._late_beats = 0
        self._beats_secs = 0.0

    def observe(self, late_secs: float) -> None:
        """Take the lateness of a beat."""
        counted = min(late_secs, _MOST_COUNTED_SECS)
        self._mean_secs += (counted - self._mean_secs) * _OF_MEAN
        self._choose_packets()
        if self._overloaded_secs is not None:
            self._judge(late_secs, self._overloaded_secs)

    def _judge(self, late_secs: float, limit_secs: float) -> None:
        self._beats.append(late_secs)
        self._late_beats += late_secs >= limit_secs
        self._beats_secs += BEAT_SECS + late_secs
        while self._beats_secs > _WINDOW_SECS and len(self._beats) > 1:
            oldest = self._beats.popleft()
            self._late_beats -= oldest >= limit_secs
            self._beats_secs -= BEAT_SECS + oldest
        judged = self._beats_secs >= _JUDGED_AFTER_SECS
        self.is_overloaded = judged and self._late_beats * _LATE_ONE_IN > len(self._beats)

    def _choose_packets(self) -> None:
        step = self.packets - 1
        if step < len(UP_SECS) and self._mean_secs >= UP_SECS[step]:
            self.packets += 1
            self._quiet_beats = 0
        elif step > 0 and self._mean_secs < DOWN_SECS[step - 1]:
            self._quiet_beats += 1
            if self._quiet_beats >= _DOWN_AFTER_BEATS:
                self.packets -= 1
                self._quiet_beats = 0
        else:
            self._quiet_beats = 0
