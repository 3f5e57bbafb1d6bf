"""Tools: told to the model, validated, run; their errors become answers."""

import asyncio
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from loguru import logger
from pydantic import BaseModel, Field

from agent.ports import LiveCall
from pipelines.gemini.tools import Tool, ToolError, as_tool
from tests.pipelines.fakes import FakeCall


class Meal(StrEnum):
    """A meal."""

    LUNCH = "lunch"
    DINNER = "dinner"


class Table(BaseModel):
    """A table."""

    number: int


class Tree(BaseModel):
    """A tree."""

    branches: list["Tree"]


async def book(
    call: LiveCall, day: Literal["monday", "tuesday"], guests: int, meal: Meal = Meal.DINNER
) -> dict[str, object]:
    """Book a table.

    Args:
        day: The weekday.
        guests: How many people come.
    """
    return {"call": call.call_id, "day": day, "guests": guests, "meal": meal}


async def run(tool: Tool, **arguments: object) -> dict[str, object]:
    return (await tool.run(FakeCall(), arguments)).response


def test_a_function_is_told_by_its_signature_and_docstring() -> None:
    declaration = as_tool(book).declaration
    assert (declaration.name, declaration.description) == ("book", "Book a table.")
    assert declaration.parameters is not None
    told = declaration.parameters.model_dump(mode="json", exclude_none=True)
    assert told["required"] == ["day", "guests"]
    assert told["properties"]["guests"]["type"] == "INTEGER"
    assert told["properties"]["guests"]["description"] == "How many people come."
    assert told["properties"]["day"]["enum"] == ["monday", "tuesday"]
    assert told["properties"]["meal"]["enum"] == ["lunch", "dinner"]
    assert "call" not in told["properties"]


def test_a_model_is_told_without_references() -> None:
    async def seat(table: Table) -> str:
        """Seat."""
        return str(table.number)

    declaration = as_tool(seat).declaration
    assert declaration.parameters is not None
    assert declaration.parameters.properties is not None
    assert declaration.parameters.properties["table"].properties is not None


async def test_checked_arguments_reach_the_function() -> None:
    assert await run(as_tool(book), day="monday", guests="3") == {
        "result": {"call": "call-1", "day": "monday", "guests": 3, "meal": "dinner"}
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"day": "monday"},
        {"day": "sunday", "guests": 2},
        {"day": "monday", "guests": "many"},
        {"day": "monday", "guests": 2, "call": "mine"},
    ],
)
async def test_wrong_arguments_are_answered_not_run(arguments: dict[str, object]) -> None:
    answer = await run(as_tool(book), **arguments)
    assert str(answer["error"]).startswith("Wrong arguments:")


async def test_an_exception_becomes_an_answer_without_its_text() -> None:
    async def breaks() -> str:
        """Break."""
        raise RuntimeError("secret-dsn")

    answer = await run(as_tool(breaks))
    assert answer == {"error": "This does not work at the moment."}


async def test_why_a_tool_failed_is_for_the_record_and_the_log() -> None:
    async def breaks() -> str:
        """Break."""
        raise ConnectionError("db down, password=hunter2")

    records: list[Any] = []
    handler = logger.add(lambda message: records.append(message.record), level="WARNING")
    try:
        answer = await as_tool(breaks).run(FakeCall(), {})
    finally:
        logger.remove(handler)
    assert answer.why is not None
    assert answer.why.startswith("ConnectionError: db down, [secret]")
    assert "test_tools.py:" in answer.why
    assert "db down" not in str(answer.response)
    (record,) = records
    assert record["exception"].value.args == ("db down, password=hunter2",)
    assert record["exception"].traceback is not None


async def test_a_tool_that_takes_too_long_is_answered() -> None:
    async def hangs() -> str:
        """Hang."""
        await asyncio.Event().wait()
        return ""

    tool = as_tool(hangs)
    quick = Tool(tool.name, tool.description, hangs, tool.arguments, None, timeout_secs=0.01)
    assert await run(quick) == {"error": "This takes too long at the moment."}


async def test_a_result_that_is_not_json_becomes_an_answer() -> None:
    async def odd() -> object:
        """Odd."""
        return object()

    assert "error" in await run(as_tool(odd))


def test_a_tool_may_not_take_just_anything() -> None:
    async def variadic(*days: str) -> str:
        """Any."""
        return str(days)

    async def untold(what: asyncio.Event) -> str:
        """Untold."""
        return str(what)

    with pytest.raises(ToolError, match="cannot be given by name"):
        as_tool(variadic)
    with pytest.raises(ToolError, match="types cannot be told"):
        as_tool(untold)


@pytest.mark.parametrize(
    "kind", [Literal[1, 2], Literal["one"], Annotated[int, Field(gt=0)], tuple[int, str]]
)
def test_a_tool_may_not_take_what_geminis_schema_does_not_know(kind: object) -> None:
    async def rate(stars: object) -> str:
        """Rate."""
        return str(stars)

    rate.__annotations__["stars"] = kind
    with pytest.raises(ToolError, match=r"types cannot be told to the model: .*stars"):
        as_tool(rate)


def test_a_tool_may_not_take_a_type_that_contains_itself() -> None:
    async def plant(tree: Tree) -> str:
        """Plant."""
        return str(tree)

    with pytest.raises(ToolError, match="contains itself"):
        as_tool(plant)
