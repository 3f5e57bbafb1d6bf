"""Helpers of the commands: read settings and folders, or exit with a sentence that says why."""

from pathlib import Path
from typing import NoReturn

import typer

from server.observability.printable import printable
from server.settings.settings import Settings, SettingsError, read_settings


def echo(line: str, *, err: bool = False) -> None:
    """Print a line that may quote anybody; control characters in it are escaped."""
    typer.echo(printable(line), err=err)


def echo_lines(lines: object, *, err: bool = False) -> None:
    """Print text of several lines that may quote anybody; only its line ends are obeyed."""
    for line in str(lines).splitlines():
        echo(line, err=err)


def settings_or_exit(port: int | None = None) -> Settings:
    """The settings; a wrong one ends the command with a sentence. `port` wins over PORT."""
    try:
        return read_settings(port=port)
    except SettingsError as error:
        echo_lines(error, err=True)
        raise typer.Exit(2) from None


def make_folder_or_exit(folder: Path) -> None:
    """Have this folder there; one that cannot be made ends the command with a sentence."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        echo(f"Cannot write to {folder}: {error.strerror or error}.", err=True)
        raise typer.Exit(1) from None


def exit_without_package(what: str, error: ModuleNotFoundError) -> NoReturn:
    """End the command: `what` needs a package of the extra `emulators`, and it is not there."""
    typer.echo(
        f"{what} needs the package {error.name!r}. Install it with: "
        "pip install 'voice-ai-system[emulators]'",
        err=True,
    )
    raise typer.Exit(1) from None
