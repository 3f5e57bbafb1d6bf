"""Leases: fencing numbers of the calls that are carried here, shared by two threads.

loop     begin ── claimed (Redis' number) ──────────────▶ end
thread             renewed · renewed · renewed …              never brings one back that ended
"""

import threading

from agent.live_calls import NO_FENCE


class Leases:
    """The number of each call: NO_FENCE before Redis has given one, LOST when it is another's."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._changing = threading.Lock()

    def of(self, call_id: str) -> int:
        """The number of a call; asked for each packet, so without the lock."""
        return self._numbers.get(call_id, NO_FENCE)

    def all(self) -> dict[str, int]:
        """The numbers of all calls, as they are now."""
        with self._changing:
            return dict(self._numbers)

    def begin(self, call_id: str) -> None:
        """A call is carried here from now on."""
        with self._changing:
            self._numbers[call_id] = NO_FENCE

    def claimed(self, call_id: str, number: int) -> None:
        """Redis has given a call its number, unless it has ended meanwhile."""
        with self._changing:
            if call_id in self._numbers:
                self._numbers[call_id] = number

    def end(self, call_id: str) -> None:
        """A call is carried here no more."""
        with self._changing:
            self._numbers.pop(call_id, None)

    def renewed(self, call_id: str, asked: int, number: int) -> bool:
        """A renewal that was asked for with one number has brought another one.

        False, and nothing changes, when the call has ended or was claimed since it was asked.
        """
        with self._changing:
            if self._numbers.get(call_id) != asked:
                return False
            self._numbers[call_id] = number
            return True
