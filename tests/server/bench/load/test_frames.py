"""Frames, checked against the websockets package at the other end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from server.bench.load.frames import FrameError, FrameReader

PAYLOADS = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]).map(
    lambda size: bytes(index * 7 % 256 for index in range(size))
)


@settings(deadline=None, max_examples=40)
@given(st.lists(PAYLOADS, max_size=4), st.integers(1, 4_000), st.booleans())
def test_frames_are_read_however_they_are_cut(
    payloads: list[bytes], size: int, masked: bool
) -> None:
    sent = b"".join(Frame(Opcode.BINARY, one).serialize(mask=masked) for one in payloads)
    reader = FrameReader()
    got = [
        frame.payload
        for at in range(0, len(sent), size)
        for frame in reader.feed(sent[at : at + size])
    ]
    assert got == payloads


def test_a_ping_between_messages_is_read_as_one() -> None:
    reader = FrameReader()
    sent = (Frame(Opcode.PING, b"?"), Frame(Opcode.TEXT, b"{}"))
    frames = list(reader.feed(b"".join(one.serialize(mask=False) for one in sent)))
    assert frames == [(Opcode.PING, b"?"), (Opcode.TEXT, b"{}")]


def test_a_message_in_pieces_is_refused() -> None:
    piece = Frame(Opcode.TEXT, b"{", fin=False).serialize(mask=False)
    with pytest.raises(FrameError):
        list(FrameReader().feed(piece))
