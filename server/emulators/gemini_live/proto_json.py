"""Protobuf's JSON mapping, as much of it as one checks a message by.

A schema is declared as data (`message({"turns": list_of(CONTENT)})`); checking a value gives it
back with every field name in camelCase, or raises what the real API answers.

Source: protobuf.dev, "ProtoJSON format": names in lowerCamelCase or as in the .proto file, null as
absent, numbers also as strings, enums by name or number, bytes in base64.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], Any]

_UNDERSCORE = re.compile(r"_([a-z0-9])")
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")


class InvalidMessage(ValueError):
    """The message is not of its schema. Says where, in the API's words."""


def camel_case(name: str) -> str:
    """The JSON name of a .proto field: `response_modalities` is `responseModalities`."""
    return _UNDERSCORE.sub(lambda match: match.group(1).upper(), name)


def _wrong(path: str, value: Any, kind: str) -> InvalidMessage:
    return InvalidMessage(f"Invalid value at '{path}' ({kind}), {str(value)[:60]!r}")


def text(value: Any, path: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise _wrong(path, value, "TYPE_STRING")
    return value


def boolean(value: Any, path: str) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise _wrong(path, value, "TYPE_BOOL")
    return value


def integer(value: Any, path: str) -> int:
    """A whole number, also as 5.0 or "5"."""
    try:
        number = int(value) if isinstance(value, str) else value
        if isinstance(number, bool) or int(number) != number:
            raise ValueError
        return int(number)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(path, value, "TYPE_INT32") from None


def number(value: Any, path: str) -> float:
    """A number, also as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _wrong(path, value, "TYPE_FLOAT")
    try:
        return float(value)
    except ValueError:
        raise _wrong(path, value, "TYPE_FLOAT") from None


def data(value: Any, path: str) -> bytes:
    """Bytes, in standard or URL-safe base64."""
    if not isinstance(value, str):
        raise _wrong(path, value, "TYPE_BYTES")
    standard = value.replace("-", "+").replace("_", "/")
    try:
        padded = standard + "=" * (-len(standard) % 4)
        return base64.b64decode(padded, validate=True)
    except binascii.Error:
        raise InvalidMessage(
            f"Invalid value at '{path}' (TYPE_BYTES), Base64 decoding failed"
        ) from None


def duration(value: Any, path: str) -> str:
    """A google.protobuf.Duration: "3.5s"."""
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise _wrong(path, value, "type.googleapis.com/google.protobuf.Duration")
    return value


def anything(value: Any, path: str) -> Any:
    """Any JSON value."""
    return value


def struct(value: Any, path: str) -> dict[str, Any]:
    """A google.protobuf.Struct: a JSON object whose names are data."""
    if not isinstance(value, dict):
        raise _wrong(path, value, "type.googleapis.com/google.protobuf.Struct")
    return value


def enum(type_name: str, *names: str) -> Check:
    """One of these names, or its number."""

    def check(value: Any, path: str) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
            return names[value]
        if value not in names:
            raise _wrong(path, value, f"type.googleapis.com/google.ai.{type_name}")
        return value

    return check


def list_of(item: Check) -> Check:
    """A repeated field. A single value that is not a list is refused."""

    def check(value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong(path, value, "repeated field")
        return [item(entry, f"{path}[{index}]") for index, entry in enumerate(value)]

    return check


def map_of(item: Check) -> Check:
    """A map field: its keys are data."""

    def check(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(path, value, "map field")
        return {key: item(entry, f"{path}[{key!r}]") for key, entry in value.items()}

    return check


def message(fields: Mapping[str, Check]) -> Check:
    """A message of these fields (camelCase). They may be added later: a schema may hold itself."""

    def check(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(path or "message", value, "message")
        checked: dict[str, Any] = {}
        for given, entry in value.items():
            name = camel_case(given)
            if name not in fields:
                where = f" at '{path}'" if path else ""
                raise InvalidMessage(
                    "Invalid JSON payload received. "
                    f"Unknown name {str(given)[:60]!r}{where}: Cannot find field."
                )
            if name in checked:
                raise InvalidMessage(f"Field {name!r} is given twice at '{path}'")
            if entry is not None:
                checked[name] = fields[name](entry, f"{path}.{name}" if path else name)
        return checked

    return check
