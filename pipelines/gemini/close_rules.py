"""Rules by close code: what the session after one that closed may be given.

    1000 1001 1006 1011 1012 1013   resume, and send again what may not have been kept
    1007 (invalid argument)         resume without the last packet, which may be what was refused;
                                    a second one in a row: the same with a fresh session;
                                    a third one: a fresh session, told by text alone
    1008 and the like               a set-up error: counted as hopeless, so that there is no loop

Source: https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1, and what Gemini was seen to do.
"""

from dataclasses import dataclass

INVALID = frozenset({"closed_1007", "refused_1007"})


@dataclass(frozen=True, slots=True)
class Replay:
    """What is sent again. `all_but` packets of what the closed session was sent are left out."""

    audio: bool = True
    fresh: bool = False
    all_but: int = 0


class CloseRules:
    """Counts a call's closes in a row; a turn that was answered ends the row."""

    def __init__(self) -> None:
        self._invalid = 0

    @property
    def has_another_way(self) -> bool:
        """Whether a close with 1007 is answered by something that was not tried before."""
        return 0 < self._invalid <= 3

    def answered(self) -> None:
        """The model has answered: what was sent was taken."""
        self._invalid = 0

    def closed(self, reason: str) -> Replay:
        """A session closed, or was refused, for this reason (`refusals.close_reason`)."""
        if reason not in INVALID:
            return Replay()
        self._invalid += 1
        if self._invalid == 1:
            return Replay(all_but=1)
        return Replay(audio=self._invalid == 2, fresh=True, all_but=1)
