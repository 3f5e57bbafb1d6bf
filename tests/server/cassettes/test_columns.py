"""Blocks of messages are stored without loss, whatever is in them."""

import json
from base64 import b64encode
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.phone.twilio_serializer import around_payload, encode_media
from pipelines.recording.tape import AroundAudio, Entry, Kind, TapedMessage
from server.cassettes.audio_planes import pack_mulaw, pack_pcm, unpack_mulaw, unpack_pcm
from server.cassettes.columns import SentSound, decode, encode

TIMES = st.floats(0, 4000).map(lambda secs: round(secs, 6))


def media(payload: bytes) -> str:
    return json.dumps({"event": "media", "media": {"payload": b64encode(payload).decode()}})


def heard(payload: bytes) -> AroundAudio:
    before, behind = around_payload("MZ1")
    return before, payload, behind


def said(pcm: bytes) -> TapedMessage:
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": b64encode(pcm).decode()}}
    message = TapedMessage(json.dumps({"serverContent": {"modelTurn": {"parts": [part]}}}).encode())
    if len(pcm) % 2:
        message.decoded(pcm)
    return message


def text_of(content: Any) -> Any:
    """The text of a message, whichever way it is on the tape."""
    if isinstance(content, TapedMessage):
        content = content.content
    if isinstance(content, bytes):
        return content.decode()
    if isinstance(content, tuple):
        before, audio, behind = content
        return before + b64encode(audio).decode() + behind
    return content


def speech(pcm: bytes) -> bytes:
    part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": b64encode(pcm).decode()}}
    return json.dumps({"serverContent": {"modelTurn": {"parts": [part, part]}}}).encode()


CONTENTS: st.SearchStrategy[Entry] = st.one_of(
    st.tuples(TIMES, st.sampled_from([Kind.PHONE_IN, Kind.PHONE_OUT]), st.just(1), st.text()),
    st.tuples(TIMES, st.just(Kind.PHONE_IN), st.just(2), st.binary(max_size=400).map(media)),
    st.tuples(
        TIMES,
        st.sampled_from([Kind.PHONE_IN, Kind.PHONE_OUT]),
        st.just(2),
        st.binary(min_size=1, max_size=400).map(heard),
    ),
    st.tuples(TIMES, st.just(Kind.MODEL_IN), st.just(1), st.binary(max_size=999).map(speech)),
    st.tuples(TIMES, st.just(Kind.MODEL_IN), st.just(70_000), st.binary(max_size=999).map(said)),
    st.tuples(TIMES, st.just(Kind.GREETING), st.just(0), st.binary(max_size=99)),
    st.tuples(TIMES, st.just(Kind.RECORD), st.just(0), st.just(["event", {"kind": "a.b"}])),
)


@given(st.binary(max_size=5_000))
def test_pcm_comes_back_as_it_was(pcm: bytes) -> None:
    assert unpack_pcm(pack_pcm(pcm)) == pcm


@given(st.binary(max_size=5_000))
def test_mulaw_comes_back_as_it_was(mulaw: bytes) -> None:
    assert unpack_mulaw(pack_mulaw(mulaw)) == mulaw


@pytest.mark.parametrize("peak", [0, 20, 300, 3_000, 32_767])
@pytest.mark.parametrize("samples", [1, 2, 3, 4_799, 24_000])
def test_pcm_of_any_loudness_comes_back_as_it_was(peak: int, samples: int) -> None:
    noise = np.random.default_rng(peak).integers(-peak, peak + 1, samples).astype("<i2")
    noise[::1000] = -32_768  # clicks, whose high bytes need more bits than all others

    assert unpack_pcm(pack_pcm(noise.tobytes())) == noise.tobytes()


@pytest.mark.parametrize("last", ["AB==", "ABC=", "ABCD", "A===", "AB-_"])
def test_base64_that_no_encoder_writes_comes_back_as_it_was(last: str) -> None:
    text = '{"event":"media","media":{"payload":"' + "f39/" * 53 + last + '"}}'
    speech = '{"serverContent":{"data":"' + "f39/" * 53 + last + '"}}'
    entries: list[Entry] = [(0.0, Kind.PHONE_IN, 1, text), (0.1, Kind.MODEL_IN, 1, speech.encode())]

    assert [message.content for message in decode(encode(entries, 0.0))] == [text, speech]


def test_payloads_that_were_decoded_already_are_put_back_where_they_were() -> None:
    payloads = [bytes([number]) * 160 for number in range(50)]
    entries: list[Entry] = [
        (number / 50, Kind.PHONE_OUT, 1, heard(payload)) for number, payload in enumerate(payloads)
    ]

    kept = decode(encode(entries, 0.0))

    assert [message.content for message in kept] == [encode_media("MZ1", one) for one in payloads]


@given(st.lists(CONTENTS, max_size=30))
def test_messages_come_back_as_they_were(entries: list[Entry]) -> None:
    messages = decode(encode(entries, began=0.0))

    assert [(m.kind, m.wire) for m in messages] == [(kind, wire) for _, kind, wire, _ in entries]
    for message, (at, _, _, content) in zip(messages, entries, strict=True):
        assert abs(message.at - at) <= 1e-6
        assert message.content == (content if message.kind is Kind.GREETING else text_of(content))


def test_sound_to_the_model_is_kept_as_a_checksum_however_it_was_sent() -> None:
    pcm = bytes(range(256)) * 3
    data = b64encode(pcm, altchars=b"-_").decode()
    by_sdk = json.dumps({"realtime_input": {"audio": {"data": data, "mime_type": "audio/pcm"}}})
    entries: list[Entry] = [(0.0, Kind.MODEL_HEARS, 1, pcm), (0.1, Kind.MODEL_OUT, 1, by_sdk)]

    kept = decode(encode(entries, began=0.0))

    assert [message.kind for message in kept] == [Kind.MODEL_HEARS, Kind.MODEL_HEARS]
    assert [message.content for message in kept] == [SentSound.of(pcm)] * 2


def test_a_minute_of_quiet_speech_takes_less_than_half_of_its_raw_size() -> None:
    samples = [round(900 * ((i * 7) % 50 - 25) / 25) for i in range(24_000)]
    pcm = b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)

    assert len(pack_pcm(pcm)) < len(pcm) / 2
