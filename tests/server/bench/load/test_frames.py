"""Frames, checked against the websockets package at the other end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import SERVER, Protocol
from websockets.uri import parse_uri

from server.bench.load.frames import (
    BINARY,
    PING,
    TEXT,
    FrameError,
    FrameReader,
    accept_of,
    client_frame,
    server_frame,
)

PAYLOADS = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]).map(
    lambda size: bytes(index * 7 % 256 for index in range(size))
)


@settings(deadline=None)
@given(PAYLOADS, st.sampled_from([TEXT, BINARY]))
def test_what_a_client_sends_is_read_by_a_server(payload: bytes, opcode: int) -> None:
    server = Protocol(SERVER, max_size=None)
    text = payload if opcode == BINARY else payload.hex().encode()
    server.receive_data(client_frame(opcode, text))
    (frame,) = server.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, bytes(frame.data)) == (Opcode(opcode), text)


@settings(deadline=None, max_examples=40)
@given(st.lists(PAYLOADS, max_size=4), st.integers(1, 4_000), st.booleans())
def test_frames_are_read_however_they_are_cut(
    payloads: list[bytes], size: int, masked: bool
) -> None:
    sent = b"".join(
        Frame(Opcode.BINARY, one).serialize(mask=masked) if masked else server_frame(BINARY, one)
        for one in payloads
    )
    reader = FrameReader()
    got = [
        frame.payload
        for at in range(0, len(sent), size)
        for frame in reader.feed(sent[at : at + size])
    ]
    assert got == payloads


def test_a_ping_between_messages_is_read_as_one() -> None:
    reader = FrameReader()
    frames = list(reader.feed(server_frame(PING, b"?") + server_frame(TEXT, b"{}")))
    assert [(one.opcode, one.payload) for one in frames] == [(PING, b"?"), (TEXT, b"{}")]


def test_a_message_in_pieces_is_refused() -> None:
    piece = Frame(Opcode.TEXT, b"{", fin=False).serialize(mask=False)
    with pytest.raises(FrameError):
        list(FrameReader().feed(piece))


def test_a_client_believes_the_handshake() -> None:
    client = ClientProtocol(parse_uri("ws://127.0.0.1/"))
    request = client.connect()
    client.send_request(request)
    accept = accept_of(request.headers["Sec-WebSocket-Key"].encode())
    client.receive_data(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    (response,) = client.events_received()
    assert isinstance(response, Response)
    assert client.handshake_exc is None
