"""SilenceWatch: decides when a silent caller is asked, and when the call ends for silence."""

from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.playback import Playback


class SilenceWatch:
    """Measures how long both sides were silent. Times are seconds of the loop's clock."""

    def __init__(
        self, speech: CallerSpeech, playback: Playback, *, silent_after_secs: float
    ) -> None:
        self._speech = speech
        self._playback = playback
        self._silent_after_secs = silent_after_secs
        self._last_activity = 0.0
        self._asked_at: float | None = None

    def sign_of_life(self, now: float) -> None:
        """Restart the silence: something was heard or done."""
        self._last_activity = now

    def caller_is_there(self, now: float) -> None:
        """The caller was heard: after the next silence, ask again."""
        self._asked_at = None
        self._last_activity = now

    def asked(self, now: float) -> None:
        """The model was told to ask whether the caller is there."""
        self._asked_at = self._last_activity = now

    def take_question_back(self) -> None:
        """Forget the question: after the next silence, ask again."""
        self._asked_at = None

    @property
    def waits_for_caller(self) -> bool:
        """Whether the caller was asked, and has said nothing since."""
        return self._asked_at is not None and (self._speech.last_sound or 0.0) <= self._asked_at

    def silent_in(self, now: float) -> float:
        """Seconds until it has been silent for too long; 0 or less: it has."""
        times = (self._last_activity, self._speech.last_sound, self._playback.last_sound)
        last = max(time for time in times if time is not None)
        return last + self._silent_after_secs - now
