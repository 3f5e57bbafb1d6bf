"""`voice-ai dev`: both emulators and the server in one command, and somebody on the phone."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli.conversation_clock import ConversationClock
from server.cli.dial import read_metadata, warn_of_unfilled
from server.cli.environment import echo, exit_without_package

if TYPE_CHECKING:
    from server.emulators.twilio import Person


def dev(
    say: Annotated[
        list[str] | None,
        typer.Option(help="Call the agent and say this; may be repeated, one for each turn."),
    ] = None,
    wav: Annotated[
        Path | None, typer.Option(help="Call the agent and play this mono 16-bit WAV.")
    ] = None,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Call the agent and speak with it yourself.")
    ] = False,
    pipeline: Annotated[
        str | None,
        typer.Option(help="Of every call that names none: one of `voice-ai pipelines`."),
    ] = None,
    greeting: Annotated[str | None, typer.Option(help="The agent's first words.")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Fills $NAME in prompt and greeting."),
    ] = None,
    inbound: Annotated[
        bool, typer.Option("--inbound", help="The person calls in, as INBOUND_NUMBERS says.")
    ] = False,
    script: Annotated[
        Path | None, typer.Option(help="YAML: what the emulated model understands and says.")
    ] = None,
    gemini: Annotated[
        bool, typer.Option("--gemini", help="The real model answers, by GEMINI_API_KEY.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="End after the call; the exit code says how it went.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="The port; PORT or 8000 by default.")
    ] = None,
) -> None:
    """Serve with both vendors emulated, without any setting.

    The server starts anew when a file changes.
    """
    chosen = [bool(say), wav is not None, microphone]
    if sum(chosen) > 1:
        raise typer.BadParameter("choose one of --say, --wav and --microphone")
    if once and not any(chosen):
        raise typer.BadParameter("--once needs a call: add --say, --wav or --microphone")
    if (greeting or metadata) and (inbound or not any(chosen)):
        raise typer.BadParameter(
            "--greeting and --metadata are for a call that is placed here: add --say, --wav or "
            "--microphone, without --inbound; `voice-ai dial` has both, too"
        )
    if gemini and script:
        raise typer.BadParameter("the real model reads no --script")
    body = {"greeting": greeting, "metadata": read_metadata(metadata)}
    warn_of_unfilled(read_metadata(metadata), greeting=greeting)
    echo("Starting: the emulators, then the server, which takes some seconds.")
    try:
        from server.dev.run import DevError, DevOptions, run_dev
    except ModuleNotFoundError as error:
        exit_without_package("Development", error)

    options = DevOptions(
        person=_person(say, wav, microphone),
        port=port,
        script=script,
        real_model=gemini,
        calls=any(chosen),
        inbound=inbound,
        once=once,
        pipeline=pipeline,
        body={name: value for name, value in body.items() if value is not None},
    )
    try:
        code = asyncio.run(run_dev(options, ConversationClock()))
    except DevError as error:
        echo(str(error), err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(code)


def _person(say: list[str] | None, wav: Path | None, microphone: bool) -> "Person":
    from server.dev.emulated_people import who_plays, who_says
    from server.emulators.twilio import Person

    if microphone:
        return _who_speaks()
    if wav is not None:
        try:
            return who_plays(wav)
        except (ValueError, OSError) as error:
            raise typer.BadParameter(str(error), param_hint="--wav") from None
    return who_says(say) if say else Person.default()


def _who_speaks() -> "Person":
    from server.dev.microphone import NoMicrophone, who_speaks

    try:
        return who_speaks()
    except NoMicrophone as error:
        echo(str(error), err=True)
        raise typer.Exit(1) from None
