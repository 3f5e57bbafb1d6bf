"""What happened on one call, for tests, reports and people."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.emulators.twilio import sound
from server.emulators.twilio.errors import CallError
from server.emulators.twilio.line import Line
from server.emulators.twilio.mulaw import RATE, decode
from server.emulators.twilio.playout import Gap
from server.emulators.twilio.sound import Span


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at `at` (the loop's time, seconds)."""

    at: float
    kind: str
    detail: dict[str, Any]


@dataclass(slots=True)
class Callback:
    """A status callback: what was told, and what the application answered.

    `answer` is the HTTP status of the last attempt; None when it was lost or nobody answered.
    """

    event: str
    url: str
    form: dict[str, str]
    lost: bool = False
    answers: list[int | None] = field(default_factory=list)

    @property
    def answer(self) -> int | None:
        """The HTTP status that came back last."""
        return self.answers[-1] if self.answers else None


@dataclass(frozen=True, slots=True)
class Said:
    """What the person on the phone said; an empty text is a recording. Seconds from answer."""

    text: str
    start_secs: float
    end_secs: float


@dataclass(frozen=True, slots=True)
class Transfer:
    """A `<Dial>`: who was rung, and how it went ("completed", "busy", "no-answer", "failed")."""

    number: str
    status: str
    secs: float


class CallRecord:
    """The timeline of one call, and its sound on both sides of the line."""

    def __init__(self, tell: Callable[[Moment], None]) -> None:
        self.moments: list[Moment] = []
        self.statuses: list[tuple[float, str]] = []
        self.callbacks: list[Callback] = []
        self.errors: list[CallError] = []
        self.said: list[Said] = []
        self.transfers: list[Transfer] = []
        self.line: Line | None = None
        self._tell = tell

    def note(self, kind: str, **detail: Any) -> None:
        """Put something on the timeline, now."""
        moment = Moment(asyncio.get_running_loop().time(), kind, detail)
        self.moments.append(moment)
        self._tell(moment)

    def error(self, code: int, message: str) -> None:
        """Note an error of Twilio's."""
        self.errors.append(CallError(code, message))
        self.note("error", code=int(code), message=message)

    def secs(self, moment: Moment) -> float:
        """Seconds from the answer (negative: before it); from the first moment without answer."""
        return moment.at - (self.line.answered_at if self.line else self.moments[0].at)

    def all(self, kind: str) -> list[Moment]:
        """Every moment of a kind, in order."""
        return [moment for moment in self.moments if moment.kind == kind]

    def first(self, kind: str) -> Moment | None:
        """The first moment of a kind."""
        return next((moment for moment in self.moments if moment.kind == kind), None)

    @property
    def caller_audio(self) -> bytes:
        """What the person said, PCM16 at 8 kHz from the answer on, through mu-law."""
        return self._audio()[0].tobytes()

    @property
    def agent_audio(self) -> bytes:
        """What the person heard, PCM16 at 8 kHz from the answer on, as long as the other."""
        return self._audio()[1].tobytes()

    @property
    def gaps(self) -> list[Gap]:
        """Holes in what the person heard: the playout buffer ran dry and then went on."""
        return list(self.line.ear.gaps) if self.line else []

    @property
    def first_sound_secs(self) -> float | None:
        """From the answer to the first thing the person heard."""
        at = sound.first_sound(self._audio()[1])
        return None if at is None else at / RATE

    def agent_speech(self, *, pause_secs: float = 0.3) -> list[Span]:
        """When the person heard something."""
        return sound.spans(self._audio()[1], pause_secs=pause_secs)

    def caller_speech(self) -> list[Span]:
        """When the person spoke, noise of the line left out."""
        return [Span(said.start_secs, said.end_secs) for said in self.said]

    def write_wav(self, path: str | Path) -> None:
        """A stereo WAV at 8 kHz: the caller left, the agent right, from the answer on."""
        sound.write_stereo(Path(path), *self._audio())

    def _audio(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        if self.line is None:
            return np.zeros(0, dtype=np.int16), np.zeros(0, dtype=np.int16)
        sides = decode(self.line.spoken), decode(self.line.ear.heard)
        length = max(len(side) for side in sides)
        caller, agent = (np.pad(side, (0, length - len(side))) for side in sides)
        return caller, agent
