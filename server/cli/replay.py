"""`voice-ai replay`: play calls from files through the real wire, and say what is wrong."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from server.cli.environment import echo_lines, exit_without_package, settings_or_exit

if TYPE_CHECKING:
    from server.replay.player import PlayOptions
    from server.replay.stage import RemoteServer


def replay(
    paths: Annotated[list[Path], typer.Argument(help="Scenario files, and folders of them.")],
    speed: Annotated[
        Literal["fast", "real"],
        typer.Option(
            help="fast: in virtual time; real: as it is heard, and always so with --server and "
            "--against gemini."
        ),
    ] = "fast",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Calls at once.")] = 1,
    repeat: Annotated[
        int, typer.Option(min=1, max=1000, help="Play each so often, and report flakes.")
    ] = 1,
    only: Annotated[
        str | None, typer.Option("--filter", help="Only scenarios with this in their name.")
    ] = None,
    against: Annotated[
        Literal["emulator", "gemini"], typer.Option(help="Which Gemini talks.")
    ] = "emulator",
    server: Annotated[
        str | None,
        typer.Option(help="An instance that runs, instead of one of our own; one call at a time."),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="The instance's API key.", envvar="VOICE_AI_API_KEY")
    ] = None,
    twilio_port: Annotated[
        int, typer.Option(help="With --server: where its TWILIO_API_BASE_URL points to.")
    ] = 8020,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit XML file.")] = None,
    wav: Annotated[
        Path | None, typer.Option(help="Write a stereo WAV of each call to this folder.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page that shows it all.")] = None,
) -> None:
    """Replay scenarios. The exit code is 0 only when every one of them held."""
    import_module("server.replay.quiet")
    try:
        from server.replay.command import Outputs, ReplayError, replay_and_report
        from server.replay.runner import RunOptions
    except ModuleNotFoundError as error:
        exit_without_package("Replaying", error)

    play = _play_options(against, server, twilio_port, api_key)
    if against == "gemini" or server is not None:
        speed = "real"  # what runs elsewhere lives in real time
    options = RunOptions(
        speed=speed,
        jobs=1 if server is not None else jobs,
        repeat=repeat,
        play=play,
    )
    try:
        held = replay_and_report(paths, only, options, Outputs(junit, wav, html))
    except ReplayError as error:
        echo_lines(error, err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if held else 1)


def _play_options(
    against: str, server: str | None, twilio_port: int, api_key: str | None
) -> "PlayOptions":
    """Which model and which server the calls are played against."""
    from server.replay.player import PlayOptions

    if server is None:
        return PlayOptions(real_model_key=_gemini_key() if against == "gemini" else None)
    if against == "gemini":
        typer.echo("--server has a model of its own: leave --against out.", err=True)
        raise typer.Exit(2)
    return PlayOptions(server=_remote(server, twilio_port, api_key))


def _gemini_key() -> str:
    settings = settings_or_exit()
    if settings.gemini_api_key is None:
        typer.echo("--against gemini needs GEMINI_API_KEY, in the environment or .env.", err=True)
        raise typer.Exit(2)
    return settings.gemini_api_key.get_secret_value()


def _remote(url: str, twilio_port: int, api_key: str | None) -> "RemoteServer":
    from server.replay.stage import RemoteServer

    settings = settings_or_exit()
    sid, token = settings.twilio_account_sid, settings.twilio_auth_token
    if sid is None or token is None:
        missing = "TWILIO_ACCOUNT_SID" if sid is None else "TWILIO_AUTH_TOKEN"
        typer.echo(f"--server needs the server's own {missing}, here, too.", err=True)
        raise typer.Exit(2)
    return RemoteServer(url.rstrip("/"), twilio_port, sid, token.get_secret_value(), api_key)
