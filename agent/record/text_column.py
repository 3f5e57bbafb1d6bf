"""Column type and functions that clean text and JSON for the database.

Transcripts and vendors' messages may hold characters that PostgreSQL refuses and SQLite accepts
(NUL, lone surrogates), and exceed a column length that only PostgreSQL enforces.
"""

import json
import math
import re
from typing import Any

from sqlalchemy import Dialect, String, TypeDecorator

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# NUL, and halves of surrogate pairs, which have no form in UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable_text(text: str) -> str:
    """`text` with a replacement character for each one that cannot be stored."""
    return _UNSTORABLE.sub(REPLACEMENT, text)


def json_text(value: Any) -> str:
    """`value` as JSON: storable text in keys and values, and null for NaN and infinities.

    An engine's `json_serializer`. Raises: TypeError for what is no JSON at all.
    """
    return json.dumps(_cleaned(value), allow_nan=False)


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return storable_text(value)
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {_cleaned(key): _cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
        case _:
            return value


class StorableText(TypeDecorator[str]):
    """Text that is stored clean (`storable_text`) and cut to the length of its column."""

    impl = String
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean the text and cut it to `length` characters."""
        return None if value is None else storable_text(value)[: self.length]
