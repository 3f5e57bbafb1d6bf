"""What happened in a session, in order, and waiting for it to happen."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["in", "out", "note"]


@dataclass(frozen=True, slots=True)
class Event:
    """One message or happening. `at` is loop time in seconds.

    `kind` is the message's ("setup", "audio", "serverContent", …). Audio is counted in bytes and
    left out of `message`.
    """

    at: float
    direction: Direction
    kind: str
    message: Any = None
    audio_bytes: int = 0


@dataclass(slots=True)
class Reply:
    """Something the model said, as far as it got. `secs` of speech were sent, in `voice`."""

    text: str
    started_at: float
    voice: str = ""
    secs: float = 0.0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """How the connection ended; 1006 is without a close frame."""

    code: int
    reason: str
    by: Literal["client", "emulator"]


class Changes:
    """Wakes those who wait until something is true."""

    def __init__(self) -> None:
        # In the order in which they began to wait.
        self._waiting: dict[asyncio.Future[None], None] = {}

    def happened(self) -> None:
        """Something changed: whoever waits looks again."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def until(self, true: Callable[[], bool], timeout_secs: float) -> None:
        """Return when `true()`; it is asked after every change.

        Raises: TimeoutError.
        """
        async with asyncio.timeout(timeout_secs):
            while not true():
                waiting = asyncio.get_running_loop().create_future()
                self._waiting[waiting] = None
                try:
                    await waiting
                finally:
                    self._waiting.pop(waiting, None)


@dataclass(slots=True)
class SessionLog:
    """Everything a test or a report asks of a session."""

    changes: Changes = field(default_factory=Changes)
    told: Callable[[Event], None] | None = None
    keeps: Callable[[], bool] = lambda: True
    events: list[Event] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    heard: list[str | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    tool_responses: list[dict[str, Any]] = field(default_factory=list)
    interruptions: int = 0
    turns_complete: int = 0
    closed: Closed | None = None

    def note(
        self, direction: Direction, kind: str, message: Any = None, audio_bytes: int = 0
    ) -> None:
        """Add an event, and wake who waits."""
        now = asyncio.get_running_loop().time()
        event = Event(now, direction, kind, message, audio_bytes)
        if self.keeps():
            self.events.append(event)
        if self.told is not None:
            self.told(event)
        self.changes.happened()

    def kinds(self, direction: Direction | None = None) -> list[str]:
        """The kinds of events in order, repeated ones (audio) once per run."""
        kinds: list[str] = []
        for event in self.events:
            if direction in (None, event.direction) and (not kinds or kinds[-1] != event.kind):
                kinds.append(event.kind)
        return kinds
