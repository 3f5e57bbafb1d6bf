"""What the commands need from the environment, or a sentence that says why it cannot be used."""

import typer

from server.settings import Settings, SettingsError, read_settings


def settings_or_exit() -> Settings:
    """The settings; a wrong one ends the command with a sentence."""
    try:
        return read_settings()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
