"""Functions that the emulator refuses in a setup, as the Live API does."""

from typing import Any

import pytest

from server.emulators.gemini_live import GeminiLiveEmulator
from server.emulators.gemini_live.declarations import check_declarations
from server.emulators.gemini_live.proto_json import InvalidMessage
from tests.server.emulators.gemini_live.test_wire import SETUP, closed_after, dialled


def tools(parameter: dict[str, Any], **declaration: Any) -> list[dict[str, Any]]:
    parameters = {"type": "OBJECT", "properties": {"value": parameter}, "required": ["value"]}
    return [{"functionDeclarations": [{"name": "book", "parameters": parameters, **declaration}]}]


@pytest.mark.parametrize(
    "parameter",
    [
        {"type": "STRING", "format": "date-time"},
        {"type": "STRING", "enum": ["a", "b"], "format": "enum", "nullable": True},
        {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}},
        {"anyOf": [{"type": "STRING"}, {"type": "NUMBER", "format": "double"}]},
        {"type": "OBJECT", "properties": {"x": {"type": "BOOLEAN"}}, "required": ["x"]},
    ],
)
@pytest.mark.parametrize("name", ["book", "_b", "a.b:c-d", "b" * 64])
def test_what_the_api_takes_is_taken(parameter: dict[str, Any], name: str) -> None:
    check_declarations(tools(parameter, name=name))


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ({}, "properties[value].type: must be specified"),
        ({"type": "ARRAY"}, "properties[value].items: missing field."),
        ({"type": "ARRAY", "items": {}}, "properties[value].items.type: must be specified"),
        ({"type": "OBJECT"}, "properties[value].properties: should be non-empty for OBJECT type"),
        (
            {"type": "STRING", "format": "date"},
            "format: only 'enum' and 'date-time' are supported for STRING type",
        ),
        ({"type": "INTEGER", "enum": ["1"]}, "enum: only allowed for STRING type"),
        ({"type": "STRING", "enum": [""]}, "enum[0]: cannot be empty"),
        (
            {"type": "OBJECT", "properties": {"x": {"type": "STRING"}}, "required": ["y"]},
            "required[0]: property is not defined",
        ),
        (
            {"anyOf": [{"type": "STRING"}], "description": "x"},
            "any_of: when using any_of, it must be the only field set",
        ),
    ],
)
def test_a_schema_that_the_api_refuses_is_refused(parameter: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        check_declarations(tools(parameter))
    assert says in str(refused.value)


@pytest.mark.parametrize("name", ["", "prüfe", "1st", "look up", "b" * 65])
def test_a_name_that_the_api_refuses_is_refused(name: str) -> None:
    with pytest.raises(InvalidMessage, match="Invalid function name"):
        check_declarations(tools({"type": "STRING"}, name=name))


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidMessage, match="Duplicate function declaration found: book"):
        check_declarations(tools({"type": "STRING"}) * 2)


async def test_a_setup_with_such_a_function_is_closed_with_the_reason(
    emulator: GeminiLiveEmulator,
) -> None:
    setup = {"setup": {**SETUP["setup"], "tools": tools({"type": "ARRAY"})}}
    async with dialled(emulator) as websocket:
        code, reason = await closed_after(websocket, setup)
    assert code == 1007
    assert "items: missing field" in reason


async def test_additional_properties_are_no_field_of_a_schema(
    emulator: GeminiLiveEmulator,
) -> None:
    declared = tools({"type": "OBJECT", "additionalProperties": {"type": "STRING"}})
    setup = {"setup": {**SETUP["setup"], "tools": declared}}
    async with dialled(emulator) as websocket:
        code, reason = await closed_after(websocket, setup)
    assert code == 1007
    assert "additionalProperties" in reason
