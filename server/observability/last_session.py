"""LastModelSession: what became of the last attempt to open a session with the model, and when."""

from dataclasses import dataclass
from datetime import datetime

from agent.clock import Clock, utc_datetime
from agent.measures import Measure, ModelConnect


@dataclass(frozen=True, slots=True)
class SessionAttempt:
    """One attempt: `ok`, or why it failed and what was said of it."""

    outcome: str
    said: str
    at: datetime

    @property
    def failure(self) -> str | None:
        """The failure in a sentence; None: the session was opened."""
        if self.outcome == "ok":
            return None
        said = f": {self.said}" if self.said else ""
        return (
            f"the last session was refused at {self.at:%Y-%m-%dT%H:%M:%SZ} ({self.outcome}){said}"
        )


class LastModelSession:
    """Remembers the last `ModelConnect` that it is shown."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.attempt: SessionAttempt | None = None

    def observe(self, measure: Measure) -> None:
        """Take a measure of any kind."""
        if isinstance(measure, ModelConnect):
            at = utc_datetime(self._clock())
            self.attempt = SessionAttempt(measure.outcome, measure.said, at)
