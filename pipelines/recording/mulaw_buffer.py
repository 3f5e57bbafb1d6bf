"""A telephone's sound in a buffer: it grows behind, and is taken from in front."""

from pipelines.rates import MULAW_SILENCE

SILENCE = bytes((MULAW_SILENCE,))


def take_front(sound: bytearray, count: int) -> bytes:
    """Cut `count` bytes of mu-law off; those that are not there yet are silence."""
    taken = bytes(sound[:count]).ljust(count, SILENCE)
    del sound[:count]
    return taken
