"""`voice-ai pipelines`: which pipelines there are, and how each is put together."""

from types import ModuleType
from typing import Annotated

import typer
from loguru import logger

from server.cli.environment import echo, echo_lines

app = typer.Typer(help="List the pipelines, or draw one.", invoke_without_command=True)


@app.callback()
def list_pipelines(context: typer.Context) -> None:
    """List the pipelines."""
    if context.invoked_subcommand is not None:
        return
    catalogue = _catalogue_or_exit()
    for name in catalogue.names():
        echo(f"{name:<24} {catalogue.find(name).description}".rstrip())


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name from `voice-ai pipelines`.")],
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Only the Mermaid drawing, to be pasted.")
    ] = False,
) -> None:
    """Draw one pipeline, as text and as Mermaid."""
    catalogue = _catalogue_or_exit()
    try:
        definition = catalogue.find(name)
    except catalogue.UnknownPipeline as error:
        echo_lines(error, err=True)
        raise typer.Exit(1) from None
    if not mermaid:
        typer.echo(definition.as_text())
        typer.echo()
    typer.echo(definition.as_mermaid())


def _catalogue_or_exit() -> ModuleType:
    """The catalogue, loaded; a file that cannot be used ends the command with a sentence."""
    # Pipecat introduces itself on import.
    logger.disable("pipecat")
    # It takes seconds to import, which other commands need not wait for.
    from pipelines.call import catalogue

    try:
        catalogue.names()
    except catalogue.BrokenPipeline as error:
        echo_lines(error, err=True)
        raise typer.Exit(1) from None
    return catalogue
