"""Text and JSON, cleaned the same way wherever they are cleaned."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from agent.record.text_column import StorableText, json_text, storable_text

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
    assert json_text(value) == json.dumps(cleaned(value), allow_nan=False)


@pytest.mark.parametrize("value", [{"at": object()}, {1: {2, 3}}, {(1, 2): 3}, b"", [json]])
def test_what_is_no_json_is_refused(value: Any):
    with pytest.raises(TypeError):
        json_text(value)


@pytest.mark.parametrize("dialect", [sqlite.dialect(), postgresql.dialect()])  # type: ignore[no-untyped-call]
@given(text=st.none() | texts)
def test_a_text_column_is_given_clean_text_of_its_length(dialect: Any, text: str | None):
    for length in (None, 3):
        keep = StorableText(length).dialect_impl(dialect).bind_processor(dialect)
        assert keep is not None
        assert keep(text) == (None if text is None else cleaned(text)[:length])
