"""Turns the JSON schema of a tool's parameters into one that the Live API takes, or refuses it.

The API refuses a whole setup, and so the call, for one schema that it does not know. What it is
reported to refuse is either put into words of the description here (`format: date`, defaults) or
refused when the tool is declared, with what to write instead.
Source: https://ai.google.dev/api/caching#Schema
"""

import json
import re
from collections.abc import Mapping
from typing import Any

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
# Of each schema; the vendor names no limit, but one of the whole setup.
DESCRIPTION_AT_MOST = 4_096

_TYPES = ("string", "number", "integer", "boolean", "array", "object")
_KEPT = (
    *("type", "format", "enum", "default", "required", "pattern", "minItems", "maxItems"),
    *("minLength", "maxLength", "minProperties", "maxProperties", "minimum", "maximum"),
)
_IN_WORDS = {
    "date": "a date, as 2026-01-31",
    "time": "a time of day, as 14:30:00",
    "duration": "a duration in ISO 8601, as PT90M",
}
# What a schema may hold that has no counterpart, and what to write instead.
_UNKNOWN = {
    "const": "a choice of one value: leave the parameter out",
    "exclusiveMinimum": "a bound that is not included: write ge= for gt=",
    "exclusiveMaximum": "a bound that is not included: write le= for lt=",
    "multipleOf": "a step between values: say it in the docstring",
    "prefixItems": "a list whose items differ: write a model with a field for each",
    "oneOf": "a choice of types: write one of them, or a parameter for each",
    "patternProperties": "names that are not known before: write a model with named fields",
    "propertyNames": "names that are not known before: write a model with named fields",
    "not": "what a value must not be: say it in the docstring",
}


class SchemaError(ValueError):
    """The Live API would refuse the schema; says where, why, and what to write instead."""


def live_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema of a function's parameters for the Live API; None: it has no parameters.

    Raises: SchemaError.
    """
    if not schema.get("properties"):
        return None
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    return _Reader(definitions).read(schema, "", ())


class _Reader:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions

    def read(self, node: Mapping[str, Any], path: str, within: tuple[str, ...]) -> dict[str, Any]:
        """The schema at `path`, inside the definitions `within`."""
        node, nullable, within = self._plain(node, path, within)
        for key, instead in _UNKNOWN.items():
            if key in node:
                raise SchemaError(f"{path}: {instead}")
        if "enum" in node:
            node, nullable = _choice(node, path, nullable)
        kind = node.get("type")
        if kind is None:
            raise SchemaError(f"{path}: any value: write its type, such as str or a model")
        if kind not in _TYPES:
            raise SchemaError(f"{path}: {kind} is no type of a value: leave the parameter out")
        told = {key: node[key] for key in _KEPT if key in node}
        if nullable:
            told["nullable"] = True
        if kind == "array":
            if not node.get("items"):
                raise SchemaError(f"{path}: a list of any values: write list[str] or list[a model]")
            told["items"] = self.read(node["items"], f"{path}[]", within)
        if kind == "object":
            told["properties"] = self._properties(node, path, within)
        if description := _description(told, node):
            if len(description) > DESCRIPTION_AT_MOST:
                raise SchemaError(
                    f"{path}: its description has more than {DESCRIPTION_AT_MOST} characters: "
                    "shorten the docstring"
                )
            told["description"] = description
        return told

    def _properties(
        self, node: Mapping[str, Any], path: str, within: tuple[str, ...]
    ) -> dict[str, Any]:
        properties: Mapping[str, Any] = node.get("properties", {})
        if not properties:
            raise SchemaError(
                f"{path}: an object whose fields are not known before, such as a dict: "
                "write a model with named fields, or a list of such models"
            )
        for name in properties:
            if not NAME.fullmatch(name):
                raise SchemaError(
                    f"{path + '.' if path else ''}{name}: its name must begin with a letter or an "
                    "underscore, and have only a-z, A-Z, 0-9 and underscores, 64 at most"
                )
        return {
            name: self.read(inner, f"{path}.{name}" if path else name, within)
            for name, inner in properties.items()
        }

    def _plain(
        self, node: Mapping[str, Any], path: str, within: tuple[str, ...]
    ) -> tuple[dict[str, Any], bool, tuple[str, ...]]:
        """The node without references and `X | None`; whether it may be null."""
        plain, nullable = dict(node), False
        while True:
            beside = {key: value for key, value in plain.items() if key not in ("$ref", "anyOf")}
            if reference := plain.get("$ref"):
                name = str(reference).rsplit("/", 1)[-1]
                if name in within:
                    raise SchemaError(f"{path}: the type {name!r} contains itself")
                within = (*within, name)
                # What a parameter says of itself goes before what its type says.
                plain = {**self._definitions[name], **beside}
            elif choices := plain.get("anyOf"):
                others = [choice for choice in choices if choice.get("type") != "null"]
                nullable = nullable or len(others) < len(choices)
                if len(others) != 1:
                    raise SchemaError(
                        f"{path}: a choice of types: write one of them, or a parameter for each"
                    )
                plain = {**others[0], **beside}
            else:
                return plain, nullable, within


def _choice(node: dict[str, Any], path: str, nullable: bool) -> tuple[dict[str, Any], bool]:
    values = [value for value in node["enum"] if value is not None]
    if not values or not all(isinstance(value, str) and value for value in values):
        raise SchemaError(
            f"{path}: a choice of values that are not all text, or empty: "
            'write strings, as in Literal["1", "2"]'
        )
    # Pydantic gives a choice with None in it no type.
    nullable = nullable or len(values) < len(node["enum"])
    return {**node, "enum": values, "type": "string"}, nullable


def _description(told: dict[str, Any], node: Mapping[str, Any]) -> str:
    """The description, with a format and a default that the API would refuse or ignore."""
    said = [str(node.get("description", "")).strip()]
    if told.get("format") not in (None, "date-time"):
        form = told.pop("format")
        said.append(f"Write {_IN_WORDS.get(form, form)}.")
    if told.get("default") is None:
        told.pop("default", None)
    else:
        said.append(f"Default: {json.dumps(told['default'], ensure_ascii=False)}.")
    return " ".join(filter(None, said))
