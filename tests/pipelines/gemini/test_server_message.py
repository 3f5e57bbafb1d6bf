"""Messages of the model's are used as far as they are known, whatever else is in them."""

import json
import warnings
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from pipelines.gemini.server_message import LeftOut, opens_session, read_message

TURN = {"serverContent": {"turnComplete": True}}
KNOWN = {"server_content": {"turn_complete": True}}


def read(message: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """What is used of a message, and the names of what is not."""
    raw = message if isinstance(message, str | bytes) else json.dumps(message)
    used: dict[str, Any] | None = None
    left_out = []
    for one in read_message(raw):
        if isinstance(one, LeftOut):
            left_out.append(one.name)
        else:
            used = one.model_dump(exclude_none=True)
    return used, left_out


@pytest.mark.parametrize(
    ("message", "used", "left_out"),
    [
        (TURN, KNOWN, []),
        ({"server_content": {"turn_complete": True}}, KNOWN, []),
        (TURN | {"somethingNew": {"state": "x"}}, KNOWN, ["somethingNew"]),
        ({"serverContent": {"turnComplete": True, "mood": 1}}, KNOWN, ["serverContent.mood"]),
        (TURN | {"toolCall": "x"}, KNOWN, ["toolCall"]),
        (TURN | {"usageMetadata": [1]}, KNOWN, ["usageMetadata"]),
        (TURN | {"goAway": None}, KNOWN, []),
        (
            {"serverContent": {"turnComplete": True, "interrupted": {}}},
            KNOWN,
            ["serverContent.interrupted"],
        ),
        (
            {"serverContent": {"turnComplete": True, "turnCompleteReason": 5}},
            KNOWN,
            ["serverContent.turnCompleteReason"],
        ),
        (
            {"toolCall": {"functionCalls": [7, {"id": "a", "name": "b", "args": [1]}], "x": 1}},
            {"tool_call": {"function_calls": [{"id": "a", "name": "b"}]}},
            ["toolCall.x", "toolCall.functionCalls.args", "toolCall.functionCalls"],
        ),
        (
            {"usageMetadata": {"totalTokenCount": 7, "carbonGrams": 1.5}},
            {"usage_metadata": {"total_token_count": 7}},
            ["usageMetadata.carbonGrams"],
        ),
        (
            {"sessionResumptionUpdate": {"newHandle": "h", "resumable": True, "until": "noon"}},
            {"session_resumption_update": {"new_handle": "h", "resumable": True}},
            ["sessionResumptionUpdate.until"],
        ),
        ({"goAway": {"timeLeft": {"seconds": 5}}}, {"go_away": {}}, ["goAway.timeLeft"]),
        ({"voiceActivity": {"type": "ACTIVITY_START"}}, {}, []),
        ({}, {}, []),
    ],
)
def test_what_is_known_of_a_message_is_used(
    message: Any, used: dict[str, Any], left_out: list[str]
) -> None:
    assert read(message) == (used, left_out)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ({"somethingNew": {"state": "x"}}, "somethingNew"),
        ({"serverContent": "x"}, "serverContent"),
        ({"serverContent": TURN["serverContent"], "server_content": {}}, None),
        ([TURN], "list"),
        ("5", "int"),
        ("null", "NoneType"),
        ('"text"', "str"),
        ("true", "bool"),
        ("", "not_json"),
        ("{", "not_json"),
        ("<html>", "not_json"),
        (b"\xff\xfe{}", "not_json"),
        (b"\x00\x01\x02", "not_json"),
        ("9" * 5000, "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"a":' * 100_000, "not_json"),
        ('{"a":' * 400 + "1" + "}" * 400, "a"),
    ],
)
def test_of_what_is_not_known_nothing_is_used(message: Any, name: str | None) -> None:
    used, left_out = read(message)
    if name is not None:
        assert (used, left_out) == (None, [name])
    else:
        assert len(left_out) == 1


def test_a_value_that_is_no_member_of_its_enumeration_is_taken_without_a_warning() -> None:
    message = {"serverContent": {"turnComplete": True, "turnCompleteReason": "BORED"}}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        used, left_out = read(message)
    assert used is not None
    assert used["server_content"]["turn_complete_reason"].value == "BORED"
    assert (left_out, warned) == ([], [])


def test_a_name_has_no_characters_that_could_do_harm() -> None:
    used, (name,) = read({"\x1b[31mred\n\u202e" + "x" * 500: 1})
    assert used is None
    assert name.startswith("??31mred??xxx")
    assert len(name) == 80


def test_an_error_in_a_session_is_left_out_with_its_sentence() -> None:
    message = {"error": {"code": 429, "message": "Too many tokens."}}
    assert list(read_message(json.dumps(message))) == [
        LeftOut("message", "error", "Too many tokens.")
    ]


def test_a_message_with_many_strange_parts_names_some() -> None:
    used, left_out = read(TURN | {f"new{number}": number for number in range(500)})
    assert used == KNOWN
    assert len(left_out) == 20


def test_the_answer_to_the_setup_is_known_whatever_it_holds() -> None:
    assert opens_session(b'{"setupComplete": {"sessionId": 7, "new": []}}')
    assert opens_session('{"somethingNew": 1, "setupComplete": true}')
    assert not opens_session(b'["setupComplete"]')
    assert not opens_session(b"{")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("serverContent", "modelTurn", "parts", "inlineData", "data", "mimeType"),
                    *("turnComplete", "turnCompleteReason", "toolCall", "functionCalls", "args"),
                    *("usageMetadata", "responseTokensDetails", "modality", "tokenCount", "x"),
                    *("goAway", "timeLeft", "sessionResumptionUpdate", "newHandle", "text"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read(message: Any) -> None:
    read_parts = list(read_message(json.dumps(message)))
    assert read_parts
    assert all(isinstance(part, LeftOut | types.LiveServerMessage) for part in read_parts)
    assert sum(isinstance(part, types.LiveServerMessage) for part in read_parts) <= 1
