"""Frames cut by hand mean what websockets reads in them, however the bytes come in."""

from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from pipelines.gemini.websocket_frames import (
    BINARY,
    OTHER,
    TEXT,
    FrameCutter,
    masked_text_frame,
    text_frame,
)

MOST_BYTES = 70_000
OPCODES = {TEXT: Opcode.TEXT, BINARY: Opcode.BINARY}

payloads = st.binary(max_size=40) | st.sampled_from(
    [bytes(125), bytes(126), bytes(127), bytes(65_535), bytes(65_536), bytes(MOST_BYTES + 1)]
)
frames = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    payloads,
    st.booleans(),
) | st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG]), st.binary(max_size=125))
cuts = st.lists(st.integers(0, 400_000), max_size=12)


def reader(*, masked: bool) -> Protocol:
    """websockets, reading what a client (masked) or a server sent."""
    if masked:
        return ServerProtocol(state=State.OPEN, max_size=MOST_BYTES)
    return ClientProtocol(parse_uri("ws://phone"), state=State.OPEN, max_size=MOST_BYTES)


def in_parts(stream: bytes, where: Sequence[int]) -> Iterator[bytes]:
    ends = sorted({min(end, len(stream)) for end in where} | {len(stream)})
    for begin, end in zip([0, *ends], ends, strict=False):
        yield stream[begin:end]


def kept(protocol: Protocol) -> list[tuple[Opcode, bytes, bool]]:
    events = [event for event in protocol.events_received() if isinstance(event, Frame)]
    return [(event.opcode, bytes(event.data), event.fin) for event in events]


@given(st.lists(frames, max_size=6), cuts, st.booleans())
def test_nothing_is_read_in_another_way_than_websockets_does(
    sent: list[Frame], where: list[int], masked: bool
) -> None:
    stream = b"".join(bytes(frame.serialize(mask=masked)) for frame in sent)
    alone, beside = reader(masked=masked), reader(masked=masked)
    alone.receive_data(stream)
    expected = kept(alone)
    cutter = FrameCutter(masked=masked, most_bytes=MOST_BYTES)
    came: list[tuple[Opcode, bytes, bool]] = []
    for data in in_parts(stream, where):
        for kind, payload, raw in cutter.cut(data):
            if kind != OTHER and beside.state is State.OPEN and beside.current_size is None:
                came.append((OPCODES[kind], payload, True))
            else:
                beside.receive_data(raw)
                came += kept(beside)
    assert came == expected
    assert beside.state is alone.state
    assert beside.close_sent == alone.close_sent


@given(st.lists(payloads, max_size=5), cuts, st.booleans())
def test_a_cutter_loses_and_adds_no_byte(
    texts: list[bytes], where: list[int], masked: bool
) -> None:
    write = masked_text_frame if masked else text_frame
    stream = b"".join(write(text) for text in texts)
    cutter = FrameCutter(masked=masked, most_bytes=MOST_BYTES)
    pieces = [piece for data in in_parts(stream, where) for piece in cutter.cut(data)]
    assert b"".join(piece.raw for piece in pieces) == stream


@given(st.lists(payloads, max_size=5), st.booleans())
def test_frames_that_are_written_are_read_by_websockets(texts: list[bytes], masked: bool) -> None:
    write = masked_text_frame if masked else text_frame
    fitting = [text for text in texts if len(text) <= MOST_BYTES]
    protocol = reader(masked=masked)
    protocol.receive_data(b"".join(write(text) for text in fitting))
    assert kept(protocol) == [(Opcode.TEXT, text, True) for text in fitting]
    assert protocol.state is State.OPEN


@given(st.binary(max_size=300), cuts, st.booleans())
def test_noise_is_left_to_websockets_whole(noise: bytes, where: list[int], masked: bool) -> None:
    cutter = FrameCutter(masked=masked, most_bytes=MOST_BYTES)
    pieces = [piece for data in in_parts(noise, where) for piece in cutter.cut(data)]
    raw = b"".join(piece.raw for piece in pieces)
    assert noise.startswith(raw)
    assert len(noise) - len(raw) < 14  # of a head that is not all there


def test_a_frame_with_the_wrong_mask_is_no_message() -> None:
    assert FrameCutter(masked=True, most_bytes=99).cut(text_frame(b"hi"))[0].kind == OTHER
    assert FrameCutter(masked=False, most_bytes=99).cut(masked_text_frame(b"hi"))[0].kind == OTHER


def test_every_frame_of_a_client_has_a_mask_of_its_own() -> None:
    masks = {masked_text_frame(b"hi")[2:6] for _ in range(50)}
    assert len(masks) == 50
