"""FIFO of mu-law bytes."""

from pipelines.rates import MULAW_SILENCE

SILENCE = bytes((MULAW_SILENCE,))


def take_front(sound: bytearray, count: int) -> bytes:
    """Remove and return the first `count` bytes, filled with silence when there are fewer."""
    taken = bytes(sound[:count]).ljust(count, SILENCE)
    del sound[:count]
    return taken
