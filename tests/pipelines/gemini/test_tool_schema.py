"""Types and names of tools: told as the Live API takes them, or refused when declared."""

import datetime
import decimal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from google.genai import types
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agent.ports import LiveCall
from pipelines.gemini.tools import ToolError, as_tool
from server.emulators.gemini_live.client_messages import check_client_message
from server.emulators.gemini_live.setup import Setup
from tests.pipelines.fakes import FakeCall


class Meal(StrEnum):
    """A meal."""

    LUNCH = "lunch"
    DINNER = "dinner"


class Colour(Enum):
    RED = "red"


class Stars(IntEnum):
    ONE = 1


class Guest(BaseModel):
    """Who comes."""

    name: str = Field(description="The surname.")
    age: int | None = None


class Party(BaseModel):
    """All who come."""

    guests: list[Guest]
    meal: Meal = Meal.LUNCH


class Nobody(BaseModel):
    pass


@dataclass
class Address:
    street: str


class Point(TypedDict):
    x: float


class Pair(NamedTuple):
    x: int
    y: str


class Umlaut(BaseModel):
    straße: str


def tool_with(kind: object, *default: object) -> Callable[..., Any]:
    async def look_up(value: object) -> str:
        """Look it up."""
        return repr(value)

    look_up.__annotations__["value"] = kind
    look_up.__defaults__ = default or None
    return look_up


def told(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a function, as the emulated Live API took them in a setup."""
    declaration = as_tool(function).declaration
    tool = types.Tool(function_declarations=[declaration])
    tools = [tool.model_dump(mode="json", exclude_none=True, by_alias=True)]
    setup = {"setup": {"model": "models/gemini-3.8-live", "tools": tools}}
    _, checked = check_client_message(setup)
    Setup(checked)
    parameters: dict[str, Any] = checked["tools"][0]["functionDeclarations"][0]["parameters"]
    return parameters


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (str, {"type": "STRING"}),
        (float, {"type": "NUMBER"}),
        (bool, {"type": "BOOLEAN"}),
        (int | None, {"type": "INTEGER", "nullable": True}),
        (Literal["a", "b"], {"type": "STRING", "enum": ["a", "b"]}),
        (Literal["a", None], {"type": "STRING", "enum": ["a"], "nullable": True}),
        (Colour, {"type": "STRING", "enum": ["red"]}),
        (
            datetime.date,
            {"type": "STRING", "description": "Write a date, as 2026-01-31."},
        ),
        (datetime.datetime, {"type": "STRING", "format": "date-time"}),
        (
            datetime.time,
            {"type": "STRING", "description": "Write a time of day, as 14:30:00."},
        ),
        (uuid.UUID, {"type": "STRING", "description": "Write uuid."}),
        (set[str], {"type": "ARRAY", "items": {"type": "STRING"}}),
        (tuple[int, ...], {"type": "ARRAY", "items": {"type": "INTEGER"}}),
        (Annotated[int, Field(ge=1, le=5)], {"type": "INTEGER", "minimum": 1, "maximum": 5}),
        (
            Address,
            {
                "type": "OBJECT",
                "properties": {"street": {"type": "STRING"}},
                "required": ["street"],
            },
        ),
        (
            Point,
            {"type": "OBJECT", "properties": {"x": {"type": "NUMBER"}}, "required": ["x"]},
        ),
    ],
)
def test_a_type_is_told_as_the_live_api_takes_it(kind: object, schema: dict[str, Any]) -> None:
    assert told(tool_with(kind))["properties"]["value"] == schema


@pytest.mark.parametrize(
    ("kind", "instead"),
    [
        (dict[str, str], "a model with named fields"),
        (dict, "a model with named fields"),
        (Nobody, "a model with named fields"),
        (list[dict[str, int]], r"value\[\]: .*a model with named fields"),
        (list, r"list\[str\]"),
        (list[Any], r"value\[\]: any value|list\[str\]"),
        (Any, "write its type"),
        (object, "write its type"),
        (None, "leave the parameter out"),
        (int | str, "write one of them"),
        (Guest | Address, "write one of them"),
        (decimal.Decimal, "write one of them"),
        (Literal["a", 1], "write strings"),
        (Literal[1, 2], "write strings"),
        (Literal[""], "leave the parameter out"),
        (Literal["", "a"], "write strings"),
        (Stars, "leave the parameter out|write strings"),
        (Annotated[int, Field(gt=0)], "write ge="),
        (Annotated[int, Field(multiple_of=5)], "say it in the docstring"),
        (Pair, "a model with a field for each"),
        (tuple[int, str], "a model with a field for each"),
        (Umlaut, r"value\.straße: its name"),
        (Callable[[], None], "its types cannot be told"),
        ("Undefined", "its type hints cannot be read"),
    ],
)
def test_a_type_that_the_live_api_refuses_is_refused_with_what_to_write(
    kind: object, instead: str
) -> None:
    with pytest.raises(ToolError, match=f"tool 'look_up': .*(?:{instead})"):
        as_tool(tool_with(kind))


def test_descriptions_and_defaults_of_enums_and_models_are_told() -> None:
    async def book(
        call: LiveCall,
        party: Party,
        meal: Meal = Meal.DINNER,
        host: Guest | None = None,
        day: datetime.date = datetime.date(2026, 1, 31),
        note: Annotated[str, Field(description="Anything else.")] = "",
    ) -> str:
        """Book a table.

        Args:
            party: Everybody.
            meal: Which meal it is.
            host: Who pays.
            day: The day.
        """
        return f"{call.call_id} {party.guests[0].name} {meal!r} {host} {day} {note}"

    schema = told(book)
    assert schema["required"] == ["party"]
    properties = schema["properties"]
    assert "call" not in properties
    assert properties["meal"] == {
        "type": "STRING",
        "enum": ["lunch", "dinner"],
        "default": "dinner",
        "description": 'Which meal it is. Default: "dinner".',
    }
    assert properties["party"]["description"] == "Everybody."
    assert properties["host"]["description"] == "Who pays."
    assert properties["host"]["nullable"] is True
    assert properties["day"]["description"] == (
        'The day. Write a date, as 2026-01-31. Default: "2026-01-31".'
    )
    assert properties["note"]["description"] == 'Anything else. Default: "".'
    guest = properties["party"]["properties"]["guests"]["items"]
    assert guest["description"] == "Who comes."
    assert guest["properties"]["name"]["description"] == "The surname."
    inner = properties["party"]["properties"]["meal"]
    assert inner["description"] == 'A meal. Default: "lunch".'


async def test_what_was_told_is_what_the_function_gets() -> None:
    async def book(day: datetime.date, party: Party, meal: Meal = Meal.DINNER) -> str:
        """Book a table."""
        return f"{day!r} {party.guests[0].name} {meal!r}"

    answer = await as_tool(book).run(
        FakeCall(), {"day": "2026-01-31", "party": {"guests": [{"name": "Lee"}]}}
    )
    assert answer.response == {"result": "datetime.date(2026, 1, 31) Lee <Meal.DINNER: 'dinner'>"}


async def test_a_parameter_may_have_any_name_that_the_live_api_takes() -> None:
    async def look_up(_hidden: str, schema: str, model_config: str, copy: str = "c") -> str:
        """Look it up."""
        return _hidden + schema + model_config + copy

    assert list(told(look_up)["properties"]) == ["_hidden", "schema", "model_config", "copy"]
    arguments = {"_hidden": "a", "schema": "b", "model_config": "-"}
    assert (await as_tool(look_up).run(FakeCall(), arguments)).response == {"result": "ab-c"}
    wrong = await as_tool(look_up).run(FakeCall(), {"argument_0": "a"})
    assert "_hidden" in str(wrong.response["error"])


async def prüfe() -> str:
    """Check."""
    return ""


async def sized(größe: str) -> str:
    """Check."""
    return größe


async def any_number(*numbers: int) -> str:
    """Check."""
    return str(numbers)


async def any_names(**names: str) -> str:
    """Check."""
    return str(names)


async def by_place(number: int, /) -> str:
    """Check."""
    return str(number)


async def untyped(number) -> str:  # type: ignore[no-untyped-def]
    """Check."""
    return str(number)


async def with_two_calls(call: LiveCall, other: LiveCall) -> str:
    """Check."""
    return call.call_id + other.call_id


async def with_a_field(number: int = Field(ge=1)) -> str:
    """Check."""
    return str(number)


async def too_long_a_name() -> str:
    """Check."""
    return ""


async def too_much_to_say() -> str:
    return ""


async def too_much_to_say_of_one(number: str) -> str:
    return number


def blocks() -> str:
    """Check."""
    return ""


too_long_a_name.__name__ = "n" * 65
too_much_to_say.__doc__ = "Check. " * 1000
too_much_to_say_of_one.__doc__ = f"Check.\n\nArgs:\n    number: {'Say it. ' * 1000}"


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (prüfe, "'prüfe': its name must begin with a letter"),
        (too_long_a_name, "its name must begin .* 64 at most"),
        (sized, "größe: its name must begin with a letter"),
        (any_number, "one parameter for each value"),
        (any_names, "one parameter for each value"),
        (by_place, r"without \*, \*\* and /"),
        (untyped, "has no type: write number: str"),
        (with_two_calls, "only one parameter can be the LiveCall"),
        (with_a_field, r"write Annotated\["),
        (too_much_to_say, "its docstring has more than 4096 characters"),
        (too_much_to_say_of_one, "number: its description has more than 4096 characters"),
        (blocks, r"write async def, and await asyncio\.to_thread"),
    ],
)
def test_a_function_that_the_live_api_refuses_is_refused_with_what_to_write(
    function: Callable[..., Any], why: str
) -> None:
    with pytest.raises(ToolError, match=why):
        as_tool(function)
