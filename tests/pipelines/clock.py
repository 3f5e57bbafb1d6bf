"""A clock that a test moves by hand."""


class Clock:
    """Seconds, starting at 100."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_secs(self, secs: float) -> None:
        self.now += secs
