"""AssumedStates: what this process has told workflows of, until the record shows it.

A signal returns before its workflow has decided, and the record follows later. Twilio wants its
TwiML at once: it is computed from the record and the events that are on their way.

    record ── told, not in the record yet ── the new events ──▶ assumed state
"""

from collections import OrderedDict
from collections.abc import Sequence

from agent.lifecycle.decision import decide_all
from agent.lifecycle.state import CallState
from agent.lifecycle.told import REMEMBERED, Told

# Calls that nothing is heard of any more stay until others push them out.
_CALLS_AT_MOST = 5_000


class AssumedStates:
    """The last events that were told of each call."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, list[Told]] = OrderedDict()

    def after(self, call_id: str, recorded: CallState, told: Sequence[Told]) -> CallState:
        """The state after events that are told now; they are remembered."""
        waiting = [one for one in self._told.pop(call_id, []) if not one.is_in(recorded)]
        on_the_way = [*waiting, *told][-REMEMBERED:]
        self._told[call_id] = on_the_way
        if len(self._told) > _CALLS_AT_MOST:
            self._told.popitem(last=False)
        return decide_all(recorded, [one.event for one in on_the_way]).state

    def forget(self, call_id: str) -> None:
        """The call has ended."""
        self._told.pop(call_id, None)
