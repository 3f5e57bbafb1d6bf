"""Limits failed attempts of each client address: a token bucket for each, in bounded memory."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

AT_ONCE = 50
EACH_SECS = 1.0
ADDRESSES_AT_MOST = 4_096


class AttemptLimit:
    """Allows 50 failed attempts at once and one a second after them, for each address.

    IPv6 addresses of one /64 network count as one: a client has all of them. At most 4,096
    addresses are remembered, the latest.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # When each address has all of its attempts again.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, address: str) -> int:
        """Count a failed attempt; return 0, or the seconds to wait when there were too many."""
        client, now = _network_of(address), self._clock()
        full_at = max(self._full_at.get(client, now), now) + EACH_SECS
        wait_secs = full_at - now - AT_ONCE * EACH_SECS
        if wait_secs > 0:
            return math.ceil(wait_secs)
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > ADDRESSES_AT_MOST:
            self._full_at.popitem(last=False)
        return 0


def _network_of(address: str) -> str:
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return str(int(ip) >> 64) if isinstance(ip, IPv6Address) else address
