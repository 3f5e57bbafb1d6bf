"""`voice-ai emulate gemini`: a Gemini Live of your own, with a scripted model behind it."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from server.cli.environment import echo
from server.emulators.gemini_live import GeminiLiveEmulator, Script, ScriptError, Session
from server.emulators.gemini_live.session_log import Event

# What comes many times a second says nothing to a reader.
QUIET = {"audio", "outputTranscription", "inputTranscription", "sessionResumptionUpdate"}


def gemini(
    host: Annotated[str, typer.Option(help="Address to listen on: loopback.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0: a free one.")] = 8021,
    script: Annotated[
        Path | None, typer.Option(help="YAML: what the model understands, says and calls.")
    ] = None,
    setup_secs: Annotated[float, typer.Option(help="How long a set-up takes.", min=0.0)] = 0.3,
    thinking_secs: Annotated[
        float, typer.Option(help="From the end of the caller's turn to the answer.", min=0.0)
    ] = 0.3,
    pace: Annotated[
        float, typer.Option(help="Speech is generated so much faster than real time.", min=0.0)
    ] = 4.0,
    connection_life_secs: Annotated[
        float | None, typer.Option(help="Announce and end connections after this long.", min=0.0)
    ] = None,
    api_key: Annotated[
        list[str] | None, typer.Option(help="Take this key; may be repeated. Default: any.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no line per event.")] = False,
) -> None:
    """Play Gemini Live on this machine until Ctrl-C."""
    try:
        chosen = Script.load(script) if script else Script.default()
    except (ScriptError, OSError) as problem:
        raise typer.BadParameter(str(problem), param_hint="--script") from None
    emulator = GeminiLiveEmulator(
        chosen,
        api_keys=api_key,
        host=host,
        port=port,
        setup_secs=setup_secs,
        thinking_secs=thinking_secs,
        pace=pace,
        connection_life_secs=connection_life_secs,
        on_event=None if quiet else _tell,
    )
    emulator.behaviour.keeps_log = False

    async def run() -> None:
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        async with emulator:
            for variable, value in emulator.environment().items():
                echo(f"{variable}={value}")
            await stop.wait()

    try:
        asyncio.run(run())
    except OSError as problem:
        echo(f"Cannot listen on {host}:{port}: {problem.strerror}", err=True)
        raise typer.Exit(1) from None


def _tell(session: Session, event: Event) -> None:
    if event.kind in QUIET:
        return
    arrow = {"in": "→", "out": "←", "note": "·"}[event.direction]
    said = _TOLD.get(event.kind, lambda _: "")(event.message)
    echo(f"{session.id} {arrow} {event.kind} {said}".rstrip())


_TOLD: dict[str, Callable[[object], str]] = {
    "text": str,
    "heard": lambda sentence: str(sentence) if sentence else "(not understood)",
    "says": str,
    "toolCall": str,
    "toolResponse": str,
    "goAway": str,
    "error": str,
    "closed": str,
}
