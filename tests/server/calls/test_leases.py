"""Fencing numbers that the loop and the thread that renews change at the same time."""

import threading

from agent.live_calls import LOST, NO_FENCE
from server.calls.leases import Leases

# How long a thread that nothing holds up would have had to end the call.
A_WHILE_SECS = 0.2


def test_a_call_that_ends_while_its_number_is_compared_does_not_come_back() -> None:
    leases = Leases()
    leases.begin("c1")
    ending = threading.Thread(target=leases.end, args=("c1",))

    class Compared(int):
        """The call ends right behind the comparison."""

        def __ne__(self, other: object) -> bool:
            differs = int(self) != other
            ending.start()
            ending.join(A_WHILE_SECS)
            return differs

        __hash__ = int.__hash__

    leases.claimed("c1", Compared(3))
    leases.renewed("c1", 3, 4)
    ending.join()
    assert leases.all() == {}


def test_a_renewal_changes_no_call_that_was_claimed_since_or_has_ended() -> None:
    leases = Leases()
    for call_id in ("stays", "claimed", "ended"):
        leases.begin(call_id)
    asked = leases.all()
    leases.claimed("claimed", 7)
    leases.end("ended")
    leases.claimed("ended", 8)
    changed = [leases.renewed(call_id, asked[call_id], LOST) for call_id in asked]
    assert changed == [True, False, False]
    assert leases.all() == {"stays": LOST, "claimed": 7}
    assert leases.of("ended") == NO_FENCE
