"""Function declarations that the Live API refuses, although their fields and types are known.

The rules and their sentences are those that clients report of the API (errors of code 400, with
`function_declarations[…]` in them); the schema itself is ai.google.dev/api/caching#Schema.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from server.emulators.gemini_live.proto_json import InvalidMessage

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
_PARAMETER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
_FUNCTIONS_AT_MOST = 512
_FORMATS = {
    "STRING": ("enum", "date-time"),
    "INTEGER": ("enum", "int32", "int64"),
    "NUMBER": ("float", "double"),
}


def check_declarations(tools: Sequence[Mapping[str, Any]]) -> None:
    """Check all functions of a setup.

    Raises: InvalidMessage with all that is wrong, as the API says it.
    """
    wrong: list[str] = []
    names: list[str] = []
    for number, tool in enumerate(tools):
        declarations = tool.get("functionDeclarations", [])
        where = f"tools[{number}].function_declarations"
        if len(declarations) > _FUNCTIONS_AT_MOST:
            wrong.append(f"{where}: At most {_FUNCTIONS_AT_MOST} function declarations")
        for index, declaration in enumerate(declarations):
            names.append(declaration.get("name", ""))
            wrong += _wrong_with(declaration, f"{where}[{index}]")
    wrong += [
        f"Duplicate function declaration found: {name}"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if wrong:
        raise InvalidMessage("* " + "\n* ".join(wrong))


def _wrong_with(declaration: Mapping[str, Any], where: str) -> Iterator[str]:
    if not _NAME.fullmatch(declaration.get("name", "")):
        yield (
            f"{where}.name: Invalid function name. Must start with a letter or an underscore. "
            "Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or "
            "dashes (-), with a maximum length of 64."
        )
    if "parameters" in declaration and "parametersJsonSchema" in declaration:
        yield f"{where}: parameters and parameters_json_schema must not both be set"
    for field in ("parameters", "response"):
        if field in declaration:
            schema = declaration[field]
            if field == "parameters" and schema.get("type") != "OBJECT":
                yield f"{where}.parameters: schema type should be OBJECT"
            yield from _wrong_in(schema, f"{where}.{field}")


def _wrong_in(schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if "anyOf" in schema:
        if len(schema) > 1:
            yield f"{where}.any_of: when using any_of, it must be the only field set"
        for index, choice in enumerate(schema["anyOf"]):
            yield from _wrong_in(choice, f"{where}.any_of[{index}]")
        return
    kind = schema.get("type", "TYPE_UNSPECIFIED")
    if kind == "TYPE_UNSPECIFIED":
        yield f"{where}.type: must be specified"
    if "items" in schema:
        if kind != "ARRAY":
            yield f"{where}.items: only allowed for ARRAY type"
        yield from _wrong_in(schema["items"], f"{where}.items")
    elif kind == "ARRAY":
        yield f"{where}.items: missing field."
    yield from _wrong_properties(schema, where, kind)
    yield from _wrong_values(schema, where, kind)


def _wrong_properties(schema: Mapping[str, Any], where: str, kind: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    if kind == "OBJECT" and not properties:
        yield f"{where}.properties: should be non-empty for OBJECT type"
    if kind != "OBJECT" and properties:
        yield f"{where}.properties: only allowed for OBJECT type"
    for index, name in enumerate(schema.get("required", [])):
        if name not in properties:
            yield f"{where}.required[{index}]: property is not defined"
    for name, inner in properties.items():
        if not _PARAMETER.fullmatch(name):
            yield f"{where}.properties: invalid property name {name!r}"
        yield from _wrong_in(inner, f"{where}.properties[{name}]")


def _wrong_values(schema: Mapping[str, Any], where: str, kind: str) -> Iterator[str]:
    if "enum" in schema:
        if kind != "STRING":
            yield f"{where}.enum: only allowed for STRING type"
        for index, value in enumerate(schema["enum"]):
            if not value:
                yield f"{where}.enum[{index}]: cannot be empty"
    form = schema.get("format")
    if form and form not in _FORMATS.get(kind, ()):
        known = " and ".join(f"'{known}'" for known in _FORMATS.get(kind, ())) or "none"
        yield f"{where}.format: only {known} are supported for {kind} type"
