"""Text and JSON as every database takes them.

What people say and vendors send may hold characters that PostgreSQL refuses and SQLite keeps, and
be longer than a column that only PostgreSQL measures. Both databases get the same: text is cleaned
in the values of a statement, JSON when the engine makes text of it (`json_text`).
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum as PythonEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import JSON, Column, Enum, String, inspect
from sqlmodel import SQLModel

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# NUL, and halves of surrogate pairs, which have no form in UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# As JSON writes them, and what it writes otherwise: whole pairs, and backslashes before a "u".
_MAYBE_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f])")

Clean = Callable[[Any], Any]


def _encoder() -> Callable[[Any], str]:
    """`JSONEncoder.encode`, which makes an encoder anew each time, by one that is made once."""
    told = json.JSONEncoder(allow_nan=False)
    make: Callable[..., Any] | None = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return told.encode
    encode = make(
        None,  # it looks for no circles: they are too deep sooner or later
        told.default,
        json.encoder.encode_basestring_ascii,
        told.indent,
        told.key_separator,
        told.item_separator,
        told.sort_keys,
        told.skipkeys,
        told.allow_nan,
    )
    return lambda value: "".join(encode(value, 0))


_as_text = _encoder()


def storable_text(text: str) -> str:
    """`text` with a replacement character for each one that cannot be stored."""
    # None of those can be printed; nearly every text can.
    return text if text.isprintable() else _UNSTORABLE.sub(REPLACEMENT, text)


@dataclass(frozen=True, slots=True)
class JsonText:
    """A value that `json_text` has made text of already."""

    text: str


def json_text(value: Any) -> str:
    """`value` as the text of its JSON: storable text in keys and values, and null for numbers that
    JSON does not know.

    Raises: TypeError for what is no JSON at all.
    """
    if type(value) is JsonText:
        return value.text
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


def make_storable(row: SQLModel) -> dict[str, Any]:
    """Clean every text and JSON of a row in place, and cut text to the length of its column.

    Returns what it is inserted with, by column; its JSON is text already.
    """
    values = {}
    there = vars(row)
    for attribute, (column, clean) in _attributes(type(row)).items():
        value = there.get(attribute)
        if isinstance(value, dict):
            text = _clean_text(value)
            if text is None:
                value = _cleaned(value)
                setattr(row, attribute, value)
                text = _as_text(value)
            value = JsonText(text)
        elif clean is not None and value is not None:
            cleaned = clean(value)
            if cleaned != value:
                setattr(row, attribute, cleaned)
            value = cleaned
        values[column] = value
    return values


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
    changed = {}
    for attribute, value in changes.items():
        column, clean = known[attribute]
        changed[column] = value if clean is None or value is None else clean(value)
    return changed


@lru_cache
def _attributes(table: type[SQLModel]) -> dict[str, tuple[str, Clean | None]]:
    """Each attribute's column, and what cleans its values where a statement has them unclean."""
    columns = columns_of(table)
    return {name: (column.key, cleaner(column.type)) for name, column in columns.items()}


def columns_of(table: type[SQLModel]) -> dict[str, Column[Any]]:
    """The columns of a table, in their order, by the attributes that have their values."""
    return {attribute.key: attribute.columns[0] for attribute in inspect(table).column_attrs}


def cleaner(column_type: Any) -> Clean | None:
    """What cleans a text for a column of this type, where there is something to clean."""
    # SQLModel's own text type wraps the one that knows.
    inner = getattr(column_type, "impl", column_type)
    if isinstance(inner, Enum | JSON) or not isinstance(inner, String):
        return None
    length: int | None = inner.length

    def clean(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        # As `storable_text`, which would be one more function for each of many values.
        return (value if value.isprintable() else storable_text(value))[:length]

    return clean
