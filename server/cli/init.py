"""`voice-ai init`: makes a project folder for an agent of your own."""

from pathlib import Path
from typing import Annotated

import typer

from server.cli.environment import echo
from server.scaffold.new_repository import RepositoryError, make_repository


def init(
    folder: Annotated[Path, typer.Argument(help="A new folder, such as my-agent.")],
) -> None:
    """Make a project folder: a pipeline, a tool, a call that is a test, settings, CI."""
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
    typer.echo(
        f"\nNext:\n  cd {folder}\n  pytest\n"
        f'  voice-ai dev --pipeline restaurant {model} --say "When do you open?"'
    )
