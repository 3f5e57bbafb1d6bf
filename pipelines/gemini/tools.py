"""Makes tools of typed async functions: declaration for Gemini, argument checks, execution.

The model is told the function's name, docstring and type hints:

    async def book_table(call: LiveCall, day: str, guests: int) -> str:
        \"\"\"Book a table.

        Args:
            day: The weekday, in English.
            guests: How many people come.
        \"\"\"
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_type_hints

from docstring_parser import parse as parse_docstring
from google.genai import types
from loguru import logger
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from agent.ports import LiveCall

TIMEOUT_SECS = 10.0

ToolFunction = Callable[..., Any]


class ToolError(ValueError):
    """A function that cannot be a tool; the message says why."""


@dataclass(frozen=True)
class Answer:
    """A tool's answer to the model: `{"result": …}` or `{"error": sentence}`."""

    ok: bool
    response: dict[str, Any]


@dataclass(frozen=True)
class Tool:
    """A function that the model may call, with its declaration."""

    name: str
    description: str
    function: ToolFunction
    arguments: type[BaseModel]
    # The parameter that takes the LiveCall, if there is one.
    call_parameter: str | None
    timeout_secs: float = TIMEOUT_SECS

    @cached_property
    def declaration(self) -> types.FunctionDeclaration:
        """The declaration for Gemini's setup; the model waits for the answer (BLOCKING)."""
        schema = _without_references(self.arguments.model_json_schema())
        parameters = None
        if schema.get("properties"):
            parameters = types.Schema.from_json_schema(json_schema=types.JSONSchema(**schema))
        return types.FunctionDeclaration(
            name=self.name,
            description=self.description,
            parameters=parameters,
            behavior=types.Behavior.BLOCKING,
        )

    async def run(self, call: LiveCall, arguments: Mapping[str, Any]) -> Answer:
        """Validate the arguments, run the function, return its answer; errors become answers."""
        try:
            checked = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            return Answer(False, {"error": f"Wrong arguments: {_in_words(error)}"})
        values = {name: getattr(checked, name) for name in self.arguments.model_fields}
        if self.call_parameter:
            values[self.call_parameter] = call
        try:
            async with asyncio.timeout(self.timeout_secs):
                result = await self.function(**values)
            return Answer(True, {"result": TypeAdapter(Any).dump_python(result, mode="json")})
        except TimeoutError:
            logger.warning("A tool took too long", tool=self.name, timeout_secs=self.timeout_secs)
            return Answer(False, {"error": "This takes too long at the moment."})
        except Exception as error:
            logger.bind(tool=self.name, error=type(error).__name__).warning("A tool failed")
            return Answer(False, {"error": "This does not work at the moment."})


def as_tool(function: "ToolFunction | Tool") -> Tool:
    """Read a function's signature and docstring.

    Raises: ToolError when it is not an async function with a docstring and type hints, or has
    types that Gemini's schema does not know.
    """
    if isinstance(function, Tool):
        return function
    name = getattr(function, "__name__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise ToolError(f"tool {name!r} is not an async function")
    docs = parse_docstring(inspect.getdoc(function) or "")
    if not docs.description:
        raise ToolError(f"tool {name!r} has no docstring, so the model cannot know what it does")
    hints = get_type_hints(function, include_extras=True)
    told = {parameter.arg_name: parameter.description for parameter in docs.params}
    call_parameter: str | None = None
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolError(f"tool {name!r}: parameter {parameter.name!r} cannot be given by name")
        if parameter.name not in hints:
            raise ToolError(f"tool {name!r}: parameter {parameter.name!r} has no type")
        hint = hints[parameter.name]
        if hint is LiveCall:
            call_parameter = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        description = told.get(parameter.name)
        fields[parameter.name] = (hint, Field(default=default, description=description))
    try:
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        arguments.model_json_schema()
    except (PydanticUserError, PydanticSchemaGenerationError) as error:
        raise ToolError(f"tool {name!r}: its types cannot be told to the model: {error}") from error
    tool = Tool(name, docs.description.strip(), function, arguments, call_parameter)
    try:
        # The SDK does not check the schema that it makes: it lets a choice of numbers in, for one.
        declared = tool.declaration.model_dump(exclude_none=True, warnings=False)
        types.FunctionDeclaration.model_validate(declared)
    except ValidationError as error:
        why = _in_words(error)
        raise ToolError(f"tool {name!r}: its types cannot be told to the model: {why}") from error
    return tool


def _in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_input=False)
    )


def _without_references(schema: dict[str, Any]) -> dict[str, Any]:
    """Inline the `$defs` of a JSON schema: Gemini's schema has no references."""
    definitions = schema.get("$defs", {})

    def resolve(node: Any, within: tuple[str, ...] = ()) -> Any:
        if isinstance(node, list):
            return [resolve(item, within) for item in node]
        if not isinstance(node, dict):
            return node
        if reference := node.get("$ref"):
            name = str(reference).rsplit("/", 1)[-1]
            if name in within:
                raise ToolError(f"the type {name!r} contains itself")
            return resolve(definitions[name], (*within, name))
        return {
            key: resolve(value, within)
            for key, value in node.items()
            if key not in ("$defs", "additionalProperties")
        }

    resolved: dict[str, Any] = resolve(schema)
    return resolved
