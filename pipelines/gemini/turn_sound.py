"""TurnSound: whether one turn of the model could be heard over a telephone.

speech         a tool was called,
in the turn    or the caller interrupted     the turn's end
audible        -                             HEARD
near silence   no                            NEAR_SILENT
none           no                            EMPTY
not audible    yes                           EXPLAINED
"""

from enum import Enum, auto

from pipelines.gemini.audible import is_audible


class TurnEnd(Enum):
    """What the caller got from a turn that is over."""

    HEARD = auto()
    # Speech came, too quiet for a telephone.
    NEAR_SILENT = auto()
    # Nothing came.
    EMPTY = auto()
    # Nothing was heard, and nothing is missing.
    EXPLAINED = auto()


class TurnSound:
    """One turn of the model; the next turn has another object."""

    def __init__(self) -> None:
        # The caller hears something of it.
        self.is_audible = False
        self._has_speech = False
        self._is_explained = False
        # When the agent was heard last before this turn's speech.
        self._heard_before: float | None = None

    @property
    def is_near_silent(self) -> bool:
        """Speech came, and all of it was too quiet."""
        return self._has_speech and not self.is_audible

    def add(self, pcm: bytes, last_sound: float | None) -> bool:
        """Add a piece of speech (PCM16); returns whether it can be heard.

        `last_sound`: when the speech that was sent before it is heard last, as in `Playback`.
        """
        if not self._has_speech:
            self._has_speech = True
            self._heard_before = last_sound
        self.is_audible = self.is_audible or is_audible(pcm)
        return self.is_audible

    def interrupted(self) -> None:
        """The caller cut the turn short."""
        self._is_explained = True

    def called_tool(self) -> None:
        """The model calls a tool before it answers."""
        self._is_explained = True

    def filled(self, last_sound: float | None) -> None:
        """Another sentence was said meanwhile, and is heard until `last_sound`."""
        self._heard_before = last_sound

    def last_heard(self, last_sound: float | None) -> float | None:
        """When the agent is heard last, where `last_sound` is of all speech that was sent."""
        return self._heard_before if self.is_near_silent else last_sound

    def end(self) -> TurnEnd:
        """What the caller got, if the turn is over now."""
        if self.is_audible:
            return TurnEnd.HEARD
        if self._is_explained:
            return TurnEnd.EXPLAINED
        return TurnEnd.NEAR_SILENT if self._has_speech else TurnEnd.EMPTY
