"""PacketJoiner: which packets of a caller's sound share a message to the model. No I/O, no clock.

    packets    1    2    3    4    5    6    7         20 ms apart
    most = 1  (1)  (2)  (3)                            an idle loop: each is sent as it comes
    most = 3   └────┴──(1 2 3) └────┴──(4 5 6)         a busy loop: the first waits 40 ms

A message costs a TLS record and most of a system call, however much sound is in it.
"""

# More are never joined.
MOST_PACKETS = 3
PACKET_SECS = 0.02
# No packet waits longer for others, whether they come or not.
MOST_HELD_SECS = 0.06


class PacketJoiner:
    """Holds packets back until they are enough, or must not wait for another one."""

    def __init__(self) -> None:
        # The packets that wait.
        self.held: list[bytes] = []
        self._since = 0.0

    @property
    def due_at(self) -> float:
        """When those that wait have to be sent, in seconds."""
        return self._since + MOST_HELD_SECS

    def add(self, packet: bytes, now: float, most: int) -> list[bytes]:
        """The packets to send now, in order, with the new one; empty: it waits.

        At most `most` share a message: with 1, none waits.
        """
        held = self.held
        if not held:
            self._since = now
        held.append(packet)
        if len(held) < min(most, MOST_PACKETS) and now + PACKET_SECS < self.due_at:
            return []
        return self.take()

    def take(self) -> list[bytes]:
        """Remove and return the packets that wait."""
        held, self.held = self.held, []
        return held
