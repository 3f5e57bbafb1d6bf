"""Detects a stalled model: the caller has spoken and no answer comes.

    caller   |==speaks==|     |=hello?=|       |==are you there?==|
    model    . no sign ........................................... reminded ... still nothing: gone
             |<--- REMIND_AFTER_SECS, and until a pause in which it would answer --->|

A caller who tells a long story is not interrupted: transcription shows that the model hears, and
the model is reminded only in a pause longer than the one that ends a turn for it.
"""

from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.playback import Playback

# Counted from the caller's first unanswered words: without any sign, or with transcription only.
REMIND_AFTER_SECS = 20.0
REMIND_LISTENER_AFTER_SECS = 45.0
# How long a model takes to begin its answer once a turn is over, and a little more.
ANSWERS_WITHIN_SECS = 2.0
# A model that has not answered so long after the reminder, in such a pause, is gone.
GONE_AFTER_SECS = 8.0
GONE_IN_PAUSE_SECS = 2 * ANSWERS_WITHIN_SECS


class StallDetector:
    """Watches one call's caller and model. Times are seconds on the call's clock."""

    def __init__(
        self, speech: CallerSpeech, playback: Playback, *, turn_ends_after_secs: float = 0.0
    ) -> None:
        """`turn_ends_after_secs`: the pause that ends a turn, as configured for the model."""
        self._speech = speech
        self._playback = playback
        self._turn_ends_after_secs = turn_ends_after_secs
        self._listened = 0.0
        self._replied = 0.0
        self._reminded: float | None = None

    def listened(self, now: float) -> None:
        """The model showed that it hears the caller."""
        self._listened = now

    def replied(self, now: float) -> None:
        """The model spoke, used a tool or let itself be interrupted; or the line is new."""
        self._replied = now
        self._reminded = None

    def reminded(self, now: float) -> None:
        """The model was told that the caller waits."""
        self._reminded = now

    def is_overdue(self, now: float) -> bool:
        """Whether the model should be reminded: once, and in a pause."""
        if self._reminded is not None or not self._paused(now, ANSWERS_WITHIN_SECS):
            return False
        replied = self._last_reply()
        return (
            self._waited(max(replied, self._listened), now) >= REMIND_AFTER_SECS
            or self._waited(replied, now) >= REMIND_LISTENER_AFTER_SECS
        )

    def is_gone(self, now: float) -> bool:
        """Whether the model has ignored the reminder."""
        return (
            self._reminded is not None
            and self._last_reply() <= self._reminded
            and now - self._reminded >= GONE_AFTER_SECS
            and self._paused(now, GONE_IN_PAUSE_SECS)
        )

    def _last_reply(self) -> float:
        return max(self._replied, self._playback.last_sound or 0.0)

    def _waited(self, since: float, now: float) -> float:
        """Seconds since the caller's first words after `since`; 0 when nothing was said."""
        unanswered = self._speech.since(since)
        return now - max(unanswered[0].start, since) if unanswered else 0.0

    def _paused(self, now: float, secs: float) -> bool:
        last_sound = self._speech.last_sound
        quiet = last_sound is None or now - last_sound >= self._turn_ends_after_secs + secs
        return quiet and not self._playback.speaking
