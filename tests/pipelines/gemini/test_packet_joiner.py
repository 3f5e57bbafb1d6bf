"""Packets that share a message: all of them, in order, few at a time, and never late."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.gemini.packet_joiner import MOST_HELD_SECS, MOST_PACKETS, PacketJoiner

# (seconds since the packet before, how many may share a message)
ARRIVALS = st.lists(
    st.tuples(st.floats(0, 0.2).map(lambda secs: round(secs, 3)), st.integers(1, 5)), max_size=40
)


def played(arrivals: list[tuple[float, int]]) -> list[tuple[float, list[tuple[float, bytes]]]]:
    """Each message: when it was sent, and its packets with when they came."""
    joiner = PacketJoiner()
    came: dict[bytes, float] = {}
    messages = []
    now = 0.0

    def send(at: float, packets: list[bytes]) -> None:
        messages.append((at, [(came[packet], packet) for packet in packets]))

    for number, (after, most) in enumerate(arrivals):
        now += after
        if joiner.held and now > joiner.due_at:
            due_at = joiner.due_at
            send(due_at, joiner.take())
        packet = bytes([number])
        came[packet] = now
        if packets := joiner.add(packet, now, most):
            send(now, packets)
    if joiner.held:
        due_at = joiner.due_at
        send(due_at, joiner.take())
    return messages


@given(ARRIVALS)
def test_every_packet_is_sent_once_in_order_few_at_a_time_and_in_time(
    arrivals: list[tuple[float, int]],
) -> None:
    messages = played(arrivals)

    sent = [packet for _, packets in messages for _, packet in packets]
    assert sent == [bytes([number]) for number in range(len(arrivals))]
    assert all(1 <= len(packets) <= MOST_PACKETS for _, packets in messages)
    for at, packets in messages:
        assert all(at - came <= MOST_HELD_SECS + 1e-9 for came, _ in packets)


@given(st.lists(st.binary(max_size=8), max_size=20))
def test_off_is_the_identity(packets: list[bytes]) -> None:
    joiner = PacketJoiner()

    assert [joiner.add(packet, 0.0, 1) for packet in packets] == [[packet] for packet in packets]
    assert not joiner.held


def test_packets_that_come_in_time_share_messages_of_three() -> None:
    messages = played([(0.02, 3)] * 9)

    assert [len(packets) for _, packets in messages] == [3, 3, 3]


def test_what_waits_goes_with_the_next_packet_once_joining_ends() -> None:
    joiner = PacketJoiner()

    assert joiner.add(b"1", 0.0, 3) == []
    assert joiner.add(b"2", 0.02, 1) == [b"1", b"2"]
