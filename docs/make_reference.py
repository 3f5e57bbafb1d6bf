"""Writes docs/reference from docstrings, settings and commands: `make reference`.

With `--check` it writes nothing, and ends with 1 when a page is not what it would write.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from inspect import cleandoc
from pathlib import Path

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.cli import get_docs_for_click

from agent.profile import AgentProfile, VadConfig
from server.cli import emulate_gemini, emulate_twilio
from server.cli.main import app
from server.settings.settings import NEEDED_IN_PRODUCTION, Settings

REPO = Path(__file__).resolve().parents[1]
FOLDER = REPO / "docs" / "reference"
MADE = "<!-- Made by `make reference` from the code: change it there. -->\n\n"
LONGEST_DEFAULT = 60


def live_call() -> str:
    """The page of what tools and steps may do in their call."""
    intro = (
        "# LiveCall\n\nA tool whose parameter has the type `LiveCall` gets the call that it runs "
        "in; `custom(name, build)` hands it to `build`.\n\n```python\n"
        "from agent.ports import LiveCall\n```\n\n"
    )
    return intro + "\n".join(_class("agent/ports.py", "LiveCall"))


def agent_profile() -> str:
    """The page of an agent's profile, and of `vad_config`."""
    return (
        "# AgentProfile\n\nWhat a pipeline says of its agent, as `profile=AgentProfile(…)`; a "
        "request to `POST /calls` and INBOUND_NUMBERS override some of it.\n\n"
        "```python\nfrom agent.profile import AgentProfile, VadConfig\n```\n\n"
        f"{_fields(AgentProfile)}\n\n## vad_config\n\n{_first(VadConfig.__doc__)}\n\n"
        f"{_fields(VadConfig)}\n"
    )


def steps() -> str:
    """The page of the steps, and of the definition that they stand in."""
    intro = (
        "# Pipelines and steps\n\n```python\nfrom pipelines.definition import PipelineDefinition\n"
        "from pipelines.steps import …\n```\n\n"
    )
    definition = _class("pipelines/definition.py", "PipelineDefinition", ("__init__",))
    functions = [
        part
        for node in _tree("pipelines/steps.py").body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        for part in _function(node, "###")
    ]
    return intro + "\n".join([*definition, "## Steps\n", *functions])


def settings() -> str:
    """The page of every setting."""
    types = _types("server/settings/settings.py", "Settings")
    rows = [
        f"| `{name.upper()}` | {_code(types[name])} | "
        f"{'**P**' if name in NEEDED_IN_PRODUCTION else _default(field)} | {_limits(field)} |"
        for name, field in Settings.model_fields.items()
    ]
    return (
        "# Settings\n\nEach is an environment variable, or a line of `.env`. "
        "[settings.md](../settings.md) says what each one means. **P** is needed in production.\n\n"
        "| Variable | Type | Default | Limits |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def commands() -> str:
    """The page of every command."""
    whole = _commands(app, "voice-ai")
    # These two are only names there: they have their own options.
    whole = re.sub(r"### `voice-ai emulate \w+`\n.*?(?=\n##? |\Z)", "", whole, flags=re.DOTALL)
    pages = ["\n## " + whole.partition("\n## ")[2]]
    for name, function in (("gemini", emulate_gemini.gemini), ("twilio", emulate_twilio.twilio)):
        single = typer.Typer(add_completion=False)
        single.command()(function)
        pages.append("##" + _commands(single, f"voice-ai emulate {name}"))
    return "# Commands\n" + re.sub(r"\n{3,}", "\n\n", "\n".join(pages))


PAGES: dict[str, Callable[[], str]] = {
    "live-call.md": live_call,
    "agent-profile.md": agent_profile,
    "steps.md": steps,
    "settings.md": settings,
    "commands.md": commands,
}


def _commands(application: typer.Typer, name: str) -> str:
    command = typer.main.get_command(application)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name=name)
    # Its lists of commands cut their sentences off; each command has a heading.
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+\n?", "", text)
    text = re.sub(r"^\* `--help`.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", text)


def _tree(path: str) -> ast.Module:
    return ast.parse((REPO / path).read_text(encoding="utf-8"))


def _class(path: str, name: str, only: tuple[str, ...] | None = None) -> Iterator[str]:
    found = next(
        node for node in _tree(path).body if isinstance(node, ast.ClassDef) and node.name == name
    )
    yield f"{_doc(found)}\n"
    for node in found.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
            node.name in only if only else not node.name.startswith("_")
        ):
            yield from _function(node, "##", name if node.name == "__init__" else node.name)


def _function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, level: str, name: str | None = None
) -> Iterator[str]:
    name = name or node.name
    arguments = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and name == node.name else ""
    is_property = any(ast.unparse(one) == "property" for one in node.decorator_list)
    prefix = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    call = name if is_property else f"{name}({arguments})"
    yield f"{level} {name}\n\n```text\n{prefix}{call}{returns}\n```\n\n{_doc(node)}\n"


def _doc(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return cleandoc(ast.get_docstring(node) or "")


def _first(docstring: str | None) -> str:
    return cleandoc(docstring or "")


def _fields(model: type[BaseModel]) -> str:
    types = _types("agent/profile.py", model.__name__)
    rows = [
        f"| `{name}` | {_code(types[name])} | {_default(field)} | {_limits(field)} | "
        f"{' '.join((field.description or '').split())} |"
        for name, field in model.model_fields.items()
    ]
    return "| Field | Type | Default | Limits | |\n|---|---|---|---|---|\n" + "\n".join(rows)


class _Types(ast.NodeTransformer):
    """Types as a reader needs them: without what checks them, and with aliases spelled out."""

    def __init__(self, aliases: dict[str, ast.expr]) -> None:
        self._aliases = aliases

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """`Annotated[int, Field(…)]` is `int`."""
        if ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            return self.visit(node.slice.elts[0])
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """`Sensitivity` is the literals that it stands for."""
        return self._aliases.get(node.id, node)


def _types(path: str, name: str) -> dict[str, str]:
    """The type of each field of a class, from the source: the same for each Python."""
    tree = _tree(path)
    aliases = {
        ast.unparse(node.targets[0]): node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("Literal[")
    }
    found = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    return {
        ast.unparse(node.target): ast.unparse(_Types(aliases).visit(node.annotation))
        for node in found.body
        if isinstance(node, ast.AnnAssign)
    }


def _code(text: str) -> str:
    """Code in a cell of a table, in which a bar begins a column."""
    return f"`{text}`".replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value == ():
        return ""
    if isinstance(value, BaseModel):
        return "the model's own"
    if isinstance(value, dict):
        return "`*=phone_call`"
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{shown}`" if len(shown) <= LONGEST_DEFAULT else f"“{shown}”"


def _limits(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "max_length": "characters ≤"}
    return ", ".join(
        f"{sign} {getattr(limit, name):,}"
        for limit in field.metadata
        for name, sign in signs.items()
        if isinstance(getattr(limit, name, None), int | float)
    )


def main(words: list[str]) -> int:
    """Write the pages, or compare them with what is there."""
    made = {FOLDER / name: MADE + make().rstrip() + "\n" for name, make in PAGES.items()}
    if "--check" in words:
        stale = [
            path for path, text in made.items() if not path.exists() or path.read_text() != text
        ]
        for path in stale:
            sys.stderr.write(f"{path.relative_to(REPO)} is not up to date: make reference\n")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
