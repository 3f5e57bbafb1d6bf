"""`voice-ai scenarios`: make scenarios of calls that happened."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from server.cli.environment import exit_without_package, settings_or_exit

app = typer.Typer(no_args_is_help=True, help="Make scenarios of calls that happened.")


@app.command("from-call")
def from_call(
    call: Annotated[
        str, typer.Argument(help="The call's id, of which a cassette is kept, or a cassette file.")
    ],
    to: Annotated[Path, typer.Option(help="Make the scenario's folder in this one.")] = Path(
        "scenarios"
    ),
    name: Annotated[str | None, typer.Option(help="The scenario's name.")] = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Hide names and numbers, in texts and in the sound.")
    ] = False,
    redact_word: Annotated[
        list[str] | None, typer.Option(help="Hide this word, too; as often as there are some.")
    ] = None,
) -> None:
    """Make a scenario of a call, and play it once. The exit code is 0 when it holds."""
    import_module("server.replay.quiet")
    try:
        from server.replay.from_call import FromCallError, scenario_from_call
    except ModuleNotFoundError as error:
        exit_without_package("Making scenarios", error)
    settings = settings_or_exit()
    path = Path(call)
    if path.suffix != ".cassette":
        path = settings.cassettes_folder / f"{call}.cassette"
    key = settings.cassette_key
    words = redact_word or []
    try:
        held = scenario_from_call(
            path,
            to,
            name=name,
            key=None if key is None else key.get_secret_value(),
            redacted_words=words if redact or words else None,
            say=typer.echo,
            pipelines=settings.pipelines,
        )
    except FromCallError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if held else 1)


@app.command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the scenario and what the demo leaves.")] = (
        Path("demo-replay")
    ),
) -> None:
    """Record a call, and make a scenario of it.

    It is replayed 20 times, and broken in three ways.
    """
    import_module("server.replay.quiet")
    try:
        from server.replay.demo import replay_demo
    except ModuleNotFoundError as error:
        exit_without_package("The demo", error)
    from server.demo.stage import StageError

    try:
        held = replay_demo(out, typer.echo)
    except StageError as error:
        typer.echo(f"The server did not start:\n{error}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if held else 1)
