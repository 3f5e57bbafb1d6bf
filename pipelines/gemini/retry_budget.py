"""RetryBudget: limits attempts to reach the model, with growing pauses between them.

trouble ─▶ pause 0.2 s ─▶ trouble ─▶ pause 0.4 s ─▶ … ─▶ total_secs are used up ─▶ None

While the phone rings nobody waits, and it goes on for longer. What was tried then counts when the
phone is answered: a caller waits for what is left of `total_secs`, which may be nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SessionPatience:
    """Limits of the attempts to open a session while a caller waits."""

    attempt_secs: float = 5.0
    total_secs: float = 8.0
    # When an attempt hangs while a caller waits, a second one begins beside it.
    second_attempt_secs: float = 1.5
    # While nobody waits: for how long, and with which pauses at most.
    ringing_secs: float = 60.0
    ringing_pause_secs: float = 2.0
    first_pause_secs: float = 0.2
    hopeless_attempts: int = 2
    # A shorter session counts as a refusal.
    short_session_secs: float = 2.0
    # Gemini ends connections after ten minutes: a quiet moment is looked for before that.
    connection_life_secs: float = 560.0


class RetryBudget:
    """Counts refused and short-lived sessions since the last one that lasted."""

    def __init__(self, patience: SessionPatience) -> None:
        self._patience = patience
        # False while the phone rings.
        self.somebody_waits = True
        self.reset()

    def reset(self) -> None:
        """Restore the whole budget: a session lasted."""
        self._trouble_since: float | None = None
        self._hopeless = 0
        self._pause = self._patience.first_pause_secs

    def is_spent(self, now: float) -> bool:
        """Whether the trouble has lasted for as long as it may."""
        return self._trouble_since is not None and now - self._trouble_since >= self._most_secs

    def next_pause(self, now: float, *, hopeless: bool, since: float | None = None) -> float | None:
        """Seconds to wait before the next attempt, twice as long each time; None: give up.

        `hopeless`: another attempt will hardly succeed. `since`: when the failed attempt began, if
        that is earlier than `now`.
        """
        if self._trouble_since is None:
            self._trouble_since = now if since is None else since
        self._hopeless += hopeless
        pause = self._pause
        if not self.somebody_waits:
            pause = min(pause, self._patience.ringing_pause_secs)
        if now - self._trouble_since + pause > self._most_secs:
            return None
        if self._hopeless >= self._patience.hopeless_attempts:
            return None
        self._pause = pause * 2
        return pause

    @property
    def _most_secs(self) -> float:
        patience = self._patience
        return patience.total_secs if self.somebody_waits else patience.ringing_secs
