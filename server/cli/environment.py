"""Helpers of the commands: read settings and folders, or exit with a sentence that says why."""

import os
import sys
from pathlib import Path
from typing import NoReturn, TextIO

import typer

from server.observability.printable import printable
from server.settings.settings import Settings, SettingsError, read_settings

# A text is not squeezed into less, however narrow the terminal is.
NARROWEST = 20


def echo(line: str, *, err: bool = False) -> None:
    """Print a line that may quote anybody; control characters in it are escaped."""
    typer.echo(printable(line), err=err)


def echo_entry(head: str, text: str, *, err: bool = False) -> None:
    """Print `head` and a text that may quote anybody, on one line where nobody looks.

    On a terminal, or where COLUMNS is set, the text is wrapped between words, beside the head.
    """
    columns = _columns(sys.stderr if err else sys.stdout)
    lines = [printable(text)]
    if columns is not None:
        from rich.console import Console
        from rich.text import Text

        room = max(NARROWEST, columns - len(head))
        wrapped = Text(lines[0]).wrap(Console(width=room), room)
        lines = [line.plain.rstrip() for line in wrapped] or [""]
    typer.echo(head + f"\n{' ' * len(head)}".join(lines), err=err)


def _columns(stream: TextIO) -> int | None:
    """How wide the terminal is; None: it is none."""
    if os.environ.get("COLUMNS", "").isdecimal():
        return int(os.environ["COLUMNS"])
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return None


def echo_lines(lines: object, *, err: bool = False) -> None:
    """Print text of several lines that may quote anybody; only its line ends are obeyed."""
    for line in str(lines).splitlines():
        echo(line, err=err)


def settings_or_exit(port: int | None = None, env_file: Path = Path(".env")) -> Settings:
    """The settings; a wrong one ends the command with a sentence. `port` wins over PORT."""
    try:
        return read_settings(env_file, port=port)
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
