"""`voice-ai replay`: play calls from files through the real wire, and say what is wrong."""

import secrets
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from server.cli.environment import echo_lines, exit_without_package, settings_or_exit
from server.settings.settings import read_pipelines
from server.settings.written_values import read_key

if TYPE_CHECKING:
    from server.replay.player import PlayOptions
    from server.replay.stage import RemoteServer


def replay(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Scenario and cassette files, and folders of them."),
    ] = None,
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
    vary: Annotated[
        Literal["line"] | None,
        typer.Option(help="line: play each on lines in other conditions, too, and tell where."),
    ] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Play in a random order.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of that order.")] = None,
    judge: Annotated[
        bool, typer.Option("--judge", help="Have a Gemini text model judge `eval` sentences.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: replay what a change of files touches.")
    ] = False,
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
    save: Annotated[
        Path | None, typer.Option(help="Save the run in this folder, for --compare.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Play nothing: say what changed from one saved run to another."),
    ] = None,
    cassettes: Annotated[
        Path | None, typer.Option(help="Leave a cassette of each call in this folder.")
    ] = None,
    cassette_key: Annotated[
        str | None, typer.Option(help="Of encrypted cassettes.", envvar="CASSETTE_KEY")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page that shows it all.")] = None,
) -> None:
    """Replay scenarios. The exit code is 0 only when every one of them held."""
    import_module("server.replay.quiet")
    try:
        from server.replay.command import (
            Choice,
            Outputs,
            ReplayError,
            compare_and_report,
            replay_and_report,
        )
        from server.replay.runner import RunOptions
        from server.replay.watching import watch_and_replay
    except ModuleNotFoundError as error:
        exit_without_package("Replaying", error)

    play = replace(
        _play_options(against, server, twilio_port, api_key),
        cassettes=cassettes,
        cassette_key=_cassette_key(cassette_key),
    )
    if against == "gemini" or server is not None:
        speed = "real"  # what runs elsewhere lives in real time
    options = RunOptions(
        speed=speed,
        jobs=1 if server is not None else jobs,
        repeat=repeat,
        play=play,
    )
    try:
        if compare is not None:
            raise typer.Exit(0 if compare_and_report(*compare, html) else 1)
        if not paths:
            raise ReplayError("Say what to replay: scenario files, cassettes, or folders of them.")
        if watch:
            watch_and_replay(paths, sys.argv[2:])
            raise typer.Exit(0)
        choice = Choice(
            only,
            vary_line=vary == "line",
            judge_key=_gemini_key("--judge") if judge else None,
            shuffle_seed=_shuffle_seed(shuffle, seed),
        )
        held = replay_and_report(paths, choice, options, Outputs(junit, wav, html, save))
    except ReplayError as error:
        echo_lines(error, err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(0 if held else 1)


def _shuffle_seed(shuffle: bool, seed: int | None) -> int | None:
    if seed is not None or not shuffle:
        return seed
    return secrets.randbelow(1_000_000)


def _cassette_key(written: str | None) -> bytes | None:
    if not written:
        return None
    try:
        return read_key(written)
    except ValueError as error:
        typer.echo(f"CASSETTE_KEY {error}", err=True)
        raise typer.Exit(2) from None


def _play_options(
    against: str, server: str | None, twilio_port: int, api_key: str | None
) -> "PlayOptions":
    """Which model and which server the calls are played against."""
    from server.replay.player import PlayOptions

    if server is None:
        return PlayOptions(
            real_model_key=_gemini_key() if against == "gemini" else None,
            pipelines=read_pipelines(),
        )
    if against == "gemini":
        typer.echo("--server has a model of its own: leave --against out.", err=True)
        raise typer.Exit(2)
    return PlayOptions(server=_remote(server, twilio_port, api_key))


def _gemini_key(option: str = "--against gemini") -> str:
    settings = settings_or_exit()
    if settings.gemini_api_key is None:
        typer.echo(f"{option} needs GEMINI_API_KEY, in the environment or .env.", err=True)
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
