"""Makes tools of typed async functions: declaration for Gemini, argument checks, execution.

The model is told the function's name, docstring and type hints:

    async def book_table(call: LiveCall, day: str, guests: int) -> str:
        \"\"\"Book a table.

        Args:
            day: The weekday, in English.
            guests: How many people come.
        \"\"\"
"""

import inspect
import json
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from docstring_parser import parse as parse_docstring
from google.genai import types
from loguru import logger
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from agent.ports import LiveCall
from pipelines.gemini.refusals import presentable
from pipelines.gemini.tool_schema import DESCRIPTION_AT_MOST, SchemaError, live_schema
from pipelines.gemini.tool_task import ToolFailed, run_apart

TIMEOUT_SECS = 10.0
# Source: the error that the API answers to other names.
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")

ToolFunction = Callable[..., Any]


class ToolError(ValueError):
    """A function that cannot be a tool; the message says why, and what to write instead."""


@dataclass(frozen=True)
class Answer:
    """A tool's answer to the model: `{"result": …}` or `{"error": sentence}`.

    `why` is what went wrong, for the record: it never reaches the model.
    """

    ok: bool
    response: dict[str, Any]
    why: str | None = None


def _count_nothing() -> None:
    pass


@dataclass(frozen=True)
class Tool:
    """A function that the model may call, with its declaration."""

    name: str
    description: str
    function: ToolFunction
    # Each field has the parameter's name as its alias.
    arguments: type[BaseModel]
    # The parameter that takes the LiveCall, if there is one.
    call_parameter: str | None
    timeout_secs: float = TIMEOUT_SECS

    @cached_property
    def declaration(self) -> types.FunctionDeclaration:
        """The declaration for Gemini's setup; the model waits for the answer (BLOCKING)."""
        schema = live_schema(self.arguments.model_json_schema())
        return types.FunctionDeclaration(
            name=self.name,
            description=self.description,
            parameters=None if schema is None else types.Schema.model_validate(schema),
            behavior=types.Behavior.BLOCKING,
        )

    async def run(
        self,
        call: LiveCall,
        arguments: Mapping[str, Any],
        let_go: Callable[[], None] = _count_nothing,
    ) -> Answer:
        """Validate the arguments, run the function, return its answer within `timeout_secs`.

        Whatever the function raises becomes an answer. `let_go` counts one that runs on although
        it was cancelled.
        """
        try:
            checked = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            wrong = f"Wrong arguments: {_in_words(error)}"
            return Answer(False, {"error": wrong}, wrong)
        values = {
            field.alias or name: getattr(checked, name)
            for name, field in self.arguments.model_fields.items()
        }
        if self.call_parameter:
            values[self.call_parameter] = call

        async def work() -> Any:
            # The result is read in the tool's task, too: it may be of any class.
            result = await self.function(**values)
            return json.loads(to_json(result, inf_nan_mode="null"))

        try:
            result = await run_apart(
                work, name=self.name, timeout_secs=self.timeout_secs, let_go=let_go
            )
        except TimeoutError:
            logger.warning("A tool took too long", tool=self.name, timeout_secs=self.timeout_secs)
            late = f"no answer within {self.timeout_secs:g} s"
            return Answer(False, {"error": "This takes too long at the moment."}, late)
        except ToolFailed as failed:
            cause = failed.__cause__
            told = logger.bind(tool=self.name, error=type(cause).__name__)
            told.opt(exception=cause).warning("A tool failed")
            return Answer(False, {"error": "This does not work at the moment."}, _why(cause))
        return Answer(True, {"result": result})


def as_tool(function: "ToolFunction | Tool") -> Tool:
    """Read a function's signature and docstring.

    Raises: ToolError when it is not an async function with a docstring and type hints, or has
    types or names that the Live API does not take.
    """
    if isinstance(function, Tool):
        return function
    name = getattr(function, "__name__", repr(function))
    if not inspect.iscoroutinefunction(function):
        raise ToolError(
            f"tool {name!r} is not an async function: write async def, and "
            "await asyncio.to_thread(…) for what blocks"
        )
    if not NAME.fullmatch(name):
        raise ToolError(
            f"tool {name!r}: its name must begin with a letter or an underscore, and have only "
            "a-z, A-Z, 0-9 and underscores, 64 at most: Gemini refuses others"
        )
    docs = parse_docstring(inspect.getdoc(function) or "")
    if not docs.description:
        raise ToolError(f"tool {name!r} has no docstring, so the model cannot know what it does")
    if len(docs.description) > DESCRIPTION_AT_MOST:
        raise ToolError(
            f"tool {name!r}: its docstring has more than {DESCRIPTION_AT_MOST} characters: "
            "put what is longer into the system prompt"
        )
    arguments, call_parameter = _read_parameters(
        name, function, {each.arg_name: each.description for each in docs.params}
    )
    tool = Tool(name, docs.description.strip(), function, arguments, call_parameter)
    try:
        _ = tool.declaration
    except (SchemaError, ValidationError) as error:
        why = _in_words(error) if isinstance(error, ValidationError) else str(error)
        raise ToolError(f"tool {name!r}: its types cannot be told to the model: {why}") from error
    return tool


def _read_parameters(
    name: str, function: ToolFunction, told: Mapping[str, str | None]
) -> tuple[type[BaseModel], str | None]:
    """The model of a function's parameters, and the name of the one that takes the LiveCall."""
    try:
        hints = get_type_hints(function, include_extras=True)
    # A hint is any expression, which may fail in any way.
    except Exception as error:
        raise ToolError(f"tool {name!r}: its type hints cannot be read: {error}") from error
    call_parameter: str | None = None
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolError(
                f"tool {name!r}: parameter {parameter.name!r} cannot be given by name: "
                "write one parameter for each value, without *, ** and /"
            )
        if parameter.name not in hints:
            raise ToolError(
                f"tool {name!r}: parameter {parameter.name!r} has no type: "
                f"write {parameter.name}: str, for one"
            )
        hint = hints[parameter.name]
        if hint is LiveCall:
            if call_parameter is not None:
                raise ToolError(f"tool {name!r}: only one parameter can be the LiveCall")
            call_parameter = parameter.name
            continue
        if isinstance(parameter.default, FieldInfo):
            raise ToolError(
                f"tool {name!r}: parameter {parameter.name!r} has a Field as its default: "
                "write Annotated[its type, Field(…)]"
            )
        known: dict[str, Any] = {"alias": parameter.name}
        if parameter.default is not parameter.empty:
            known["default"] = parameter.default
        if description := told.get(parameter.name):
            known["description"] = description
        # Pydantic's models take fewer names than functions do, so that only the alias is theirs.
        fields[f"argument_{len(fields)}"] = (hint, Field(**known))
    try:
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        arguments.model_json_schema()
    # A type may have a schema of its own making, which may fail in any way.
    except Exception as error:
        raise ToolError(f"tool {name!r}: its types cannot be told to the model: {error}") from error
    return arguments, call_parameter


def _why(error: BaseException | None) -> str:
    """The exception, its message, and the line of the tool that raised it."""
    said = traceback.format_exception_only(error)[-1] if error else ""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return presentable(said) + where


def _in_words(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_input=False)
    )
