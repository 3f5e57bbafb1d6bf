"""Text and JSON as every database takes them.

What people say and vendors send may hold characters that PostgreSQL refuses and SQLite keeps, and
be longer than a column that only PostgreSQL measures. Both databases get the same: text is cleaned
in the values of a statement, JSON when the engine makes text of it (`json_text`).
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from enum import Enum as PythonEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, Enum, String, inspect
from sqlmodel import SQLModel

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# NUL, and halves of surrogate pairs, which have no form in UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# As JSON writes them, and what it writes otherwise: whole pairs, and backslashes before a "u".
_MAYBE_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f])")
_as_text = json.JSONEncoder(allow_nan=False).encode


def storable_text(text: str) -> str:
    """`text` with a replacement character for each one that cannot be stored."""
    return _UNSTORABLE.sub(REPLACEMENT, text)


def json_text(value: Any) -> str:
    """`value` as the text of its JSON: storable text in keys and values, and null for numbers that
    JSON does not know.

    Raises: TypeError for what is no JSON at all.
    """
    text = _clean_text(value)
    return _as_text(_cleaned(value)) if text is None else text


def _clean_text(value: Any) -> str | None:
    """The text of `value` as it is; None when something of it cannot be stored."""
    try:
        text = _as_text(value)
    except ValueError:
        return None
    # Nearly everything is clean, and its text says so far sooner than a look at each value.
    return None if _MAYBE_UNSTORABLE.search(text) else text


def _cleaned(value: Any) -> Any:
    match value:
        case str() if not isinstance(value, PythonEnum):
            return storable_text(value)
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {_cleaned(key): _cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
        case _:
            return value


def make_storable(row: SQLModel) -> None:
    """Clean every text and JSON of a row in place, and cut text to the length of its column."""
    for attribute, (_, clean) in _attributes(type(row)).items():
        value = getattr(row, attribute)
        if isinstance(value, dict):
            cleaned = _cleaned(value) if _clean_text(value) is None else value
        else:
            cleaned = _storable(value, clean)
        if cleaned != value:
            setattr(row, attribute, cleaned)


def storable_values(row: object, table: type[SQLModel]) -> dict[str, Any]:
    """What a new row is inserted with, by column: clean, and without what is not there yet.

    `row` has the attributes of the table's.
    """
    return {
        column: value if clean is None else clean(value)
        for attribute, (column, clean) in _attributes(table).items()
        if (value := getattr(row, attribute)) is not None
    }


def storable_changes(table: type[SQLModel], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What some attributes of a row become, by column: as `make_storable` leaves them."""
    known = _attributes(table)
    return {
        known[attribute][0]: _storable(value, known[attribute][1])
        for attribute, value in changes.items()
    }


_Clean = Callable[[Any], Any]


def _storable(value: Any, clean: _Clean | None) -> Any:
    return value if value is None or clean is None else clean(value)


@lru_cache
def _attributes(table: type[SQLModel]) -> dict[str, tuple[str, _Clean | None]]:
    """Each attribute's column, and what cleans its values where a statement has them unclean."""
    return {
        attribute.key: (attribute.columns[0].key, _cleaner(attribute.columns[0].type))
        for attribute in inspect(table).column_attrs
    }


def _cleaner(column_type: Any) -> _Clean | None:
    if isinstance(column_type, Enum | JSON):
        return None
    length = _length(column_type)
    return lambda value: storable_text(value)[:length] if isinstance(value, str) else value


def _length(column_type: Any) -> int | None:
    # SQLModel's own text type wraps the one that knows.
    inner = getattr(column_type, "impl", column_type)
    length: int | None = inner.length if isinstance(inner, String) else None
    return length
