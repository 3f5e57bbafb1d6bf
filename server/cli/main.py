"""`voice-ai`: everything a person types, one file per command."""

from importlib import import_module
from typing import Annotated

import typer

from server.about import own_version
from server.cli import (
    bench,
    calls,
    demo,
    demo_cluster,
    demo_temporal,
    dev,
    dial,
    doctor,
    init,
    instances,
    migrate,
    pipelines,
    replay,
    scenarios,
    serve,
    worker,
)

app = typer.Typer(
    name="voice-ai",
    help="A phone agent: Twilio on one side, Gemini Live on the other.",
    no_args_is_help=True,
    # Rich's tables show the type of a flag, too, and leave little room for the text.
    rich_markup_mode=None,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def voice_ai(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """A phone agent: Twilio on one side, Gemini Live on the other."""
    if version:
        typer.echo(f"voice-ai {own_version()}")
        raise typer.Exit


app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("migrate")(migrate.migrate)
app.command("dev")(dev.dev)
app.command("init")(init.init)
app.command("dial")(dial.dial)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("demo-cluster")(demo_cluster.demo_cluster)
app.command("demo-temporal")(demo_temporal.demo_temporal)
app.command("instances")(instances.instances)
app.command("replay")(replay.replay)
app.add_typer(bench.app, name="bench")
app.add_typer(calls.app, name="calls")
app.add_typer(pipelines.app, name="pipelines")
app.add_typer(scenarios.app, name="scenarios")

# What the emulators need is an extra, so each is imported only when asked for; its options are its
# own, `--help` among them.
emulate = typer.Typer(no_args_is_help=True)
app.add_typer(emulate, name="emulate", help="Play the other side, without any credential.")
FORWARD = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": list[str](),
}


@emulate.command(context_settings=FORWARD)
def gemini(context: typer.Context) -> None:
    """Play Gemini Live on this machine."""
    _play("gemini", context.args)


@emulate.command(context_settings=FORWARD)
def twilio(context: typer.Context) -> None:
    """Play Twilio on this machine: the REST API and a telephone."""
    _play("twilio", context.args)


def _play(name: str, arguments: list[str]) -> None:
    try:
        function = getattr(import_module(f"server.cli.emulate_{name}"), name)
    except ModuleNotFoundError as error:
        typer.echo(
            f"The emulators need the package {error.name!r}. Install them with: "
            "pip install 'voice-ai-system[emulators]'",
            err=True,
        )
        raise typer.Exit(1) from None
    single = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
    )
    single.command()(function)
    single(args=arguments, prog_name=f"voice-ai emulate {name}")
