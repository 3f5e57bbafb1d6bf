"""KnownCalls: the records of live calls as this process stored them last."""

from collections import OrderedDict

from agent.record.models import Call

# Calls whose end another process stored stay until others push them out.
_KNOWN_AT_MOST = 2_000


class KnownCalls:
    """What is known of live calls while the database cannot be used."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()

    def note(self, call: Call) -> None:
        """Remember a call as it was stored; forget one that has ended."""
        self._calls.pop(call.id, None)
        if not call.status.is_terminal:
            self._calls[call.id] = call
        if len(self._calls) > _KNOWN_AT_MOST:
            self._calls.popitem(last=False)

    def get(self, call_id: str) -> Call | None:
        """The call as it was stored last; None: it has ended, or is not known here."""
        return self._calls.get(call_id)
