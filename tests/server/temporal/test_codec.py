"""Payloads are encrypted, and read with the same key alone."""

import base64

import pytest
from temporalio.converter import DataConverter

from agent.lifecycle.events import ConversationEnded
from agent.lifecycle.told import Told
from server.settings.settings import Settings
from server.temporal.codec import EncryptedPayloads
from server.temporal.connection import data_converter

KEY = base64.b64encode(b"k" * 32).decode()
TOLD = [Told("1", {"kind": "life.conversation_ended", "at": 1.0, "transfer_to": "+15550111"})]


async def test_a_number_is_not_in_the_history_and_is_read_back():
    converter = data_converter(Settings(temporal_codec_key=KEY))
    [payload] = await converter.encode([TOLD])
    assert b"+15550111" not in payload.SerializeToString()
    assert await converter.decode([payload], [list[Told]]) == [TOLD]


async def test_without_a_key_payloads_are_plain_and_are_read_once_there_is_one():
    [payload] = await data_converter(Settings()).encode([TOLD])
    assert b"+15550111" in payload.data
    converter = data_converter(Settings(temporal_codec_key=KEY))
    assert await converter.decode([payload], [list[Told]]) == [TOLD]


async def test_another_key_is_told_by_its_name():
    [payload] = await data_converter(Settings(temporal_codec_key=KEY)).encode([TOLD])
    other = EncryptedPayloads(base64.b64encode(b"o" * 32).decode())
    with pytest.raises(ValueError, match="TEMPORAL_CODEC_KEY"):
        await other.decode([payload])


async def test_the_same_payload_is_never_encrypted_the_same_way():
    codec = EncryptedPayloads(KEY)
    plain = await DataConverter.default.encode([TOLD])
    assert (await codec.encode(plain))[0].data != (await codec.encode(plain))[0].data


def test_what_is_no_key_stops_the_start():
    with pytest.raises(ValueError, match="openssl rand -base64 32"):
        Settings(temporal_codec_key="short")


def test_an_event_passes_as_json():
    event = ConversationEnded(1.0, "agent", transfer_to="+15550111")
    assert Told.of(event).event == event
