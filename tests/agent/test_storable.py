"""Text and JSON, cleaned the same way wherever they are cleaned."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calls import Call, CallStatus, Direction, new_call_record
from agent.storable import JsonText, json_text, make_storable, storable_text, storable_values

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

texts = st.text(st.characters(categories=None) | st.sampled_from("\x00\ud800\n\\u"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def cleaned(value: Any) -> Any:
    match value:
        case str():
            return re.sub("[\x00\ud800-\udfff]", REPLACEMENT, value)
        case float() if value != value or value in (float("inf"), float("-inf")):
            return None
        case dict():
            return {cleaned(key): cleaned(item) for key, item in value.items()}
        case list():
            return [cleaned(item) for item in value]
        case _:
            return value


@given(texts)
def test_what_has_no_form_in_a_database_is_replaced(text: str):
    assert storable_text(text) == cleaned(text)


@given(json_values)
def test_json_is_what_python_writes_of_the_cleaned_value(value: Any):
    text = json_text(value)
    assert text == json.dumps(cleaned(value), allow_nan=False)
    assert json_text(JsonText(text)) == text


@pytest.mark.parametrize("value", [{"at": object()}, {1: {2, 3}}, {(1, 2): 3}, b"", [json]])
def test_what_is_no_json_is_refused(value: Any):
    with pytest.raises(TypeError):
        json_text(value)


@given(extra=st.dictionaries(texts, json_values, max_size=3), words=texts)
def test_a_row_is_inserted_as_it_is_left(extra: dict[str, Any], words: str):
    call = new_call_record(
        direction=Direction.INBOUND,
        status=CallStatus.INITIATED,
        phone_number=words,
        our_number="+15550100",
        pipeline="phone_call",
        profile={"greeting": words},
        extra=extra,
    )
    values = make_storable(call)
    assert (call.phone_number, call.extra) == (cleaned(words)[:32], cleaned(extra))
    assert call.profile == {"greeting": cleaned(words)}
    there = {
        column: value.text if isinstance(value, JsonText) else value
        for column, value in values.items()
        if value is not None
    }
    left = storable_values(call, Call)
    told = {name: json_text(left[name]) for name in ("profile", "metadata", "life")}
    assert there == left | told
