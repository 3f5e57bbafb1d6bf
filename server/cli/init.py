"""`voice-ai init`: makes a project folder for an agent of your own."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from server.cli.environment import echo
from server.scaffold.new_repository import RepositoryError, make_repository


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder, such as my-agent.")],
) -> None:
    """Make a project folder for an agent of your own.

    It has a pipeline, a tool, a call that is a test, settings and CI.
    """
    try:
        written = make_repository(folder)
    except RepositoryError as error:
        echo(str(error), err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        echo(f"Cannot write to {folder}: {error.strerror or error}.", err=True)
        raise typer.Exit(1) from None
    for path in written:
        echo(f"  {path}")
    model = "--script scenarios/model.yaml"
    enter = "" if folder.resolve() == Path.cwd() else f"  cd {quote(str(folder))}\n"
    typer.echo(
        f"\nNext:\n{enter}  pytest\n"
        f'  voice-ai dev --pipeline restaurant {model} --say "When do you open?"'
    )
