"""`voice-ai emulate twilio`: a Twilio of your own, with somebody on the phone."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from server.cli.environment import echo, make_folder_or_exit
from server.emulators.twilio import Answer, EmulatedCall, Person, PersonError, TwilioEmulator
from server.emulators.twilio.call_state import CallState
from server.emulators.twilio.emulator import OUR_NUMBER
from server.emulators.twilio.record import Moment

CALLER = "+15550100"
# The same at each start, so that what was put into a `.env` stays true.
ACCOUNT_SID = "AC" + 32 * "0"
# How long applications may take to hear of the end, after Ctrl-C.
GOODBYE_SECS = 3.0


def twilio(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the REST API; 0: a free one.")
    ] = 8020,
    account_sid: Annotated[
        str, typer.Option(help="The account.", show_default="AC and 32 zeros")
    ] = ACCOUNT_SID,
    auth_token: Annotated[str, typer.Option(help="Its token.")] = "emulated-auth-token",  # noqa: S107
    number: Annotated[str, typer.Option(help="Our number: calls are placed from it.")] = OUR_NUMBER,
    person: Annotated[
        Path | None,
        typer.Option(
            help="YAML: what whoever is on the phone says and does. By default: asks Gemini's "
            "default script one question."
        ),
    ] = None,
    ring_secs: Annotated[float, typer.Option(help="How long phones ring.", min=0.0)] = 2.0,
    call_in: Annotated[
        str | None, typer.Option(help="Call our number: the URL of its voice webhook.")
    ] = None,
    from_: Annotated[str, typer.Option("--from", help="Who calls in.")] = CALLER,
    to: Annotated[str | None, typer.Option(help="The number called in to; default: ours.")] = None,
    wav: Annotated[Path | None, typer.Option(help="Folder for a stereo WAV of each call.")] = None,
) -> None:
    """Play Twilio's REST API and its telephones on this machine until Ctrl-C."""
    try:
        somebody = Person.load(person) if person else Person.default()
    except (PersonError, OSError) as problem:
        raise typer.BadParameter(str(problem), param_hint="--person") from None
    if call_in is not None and not call_in.startswith(("http://", "https://")):
        raise typer.BadParameter(
            "an address such as http://127.0.0.1:8000/twilio/inbound is needed",
            param_hint="--call-in",
        )
    if wav is not None:
        make_folder_or_exit(wav)
    emulator = TwilioEmulator(
        account_sid=account_sid,
        auth_token=auth_token,
        numbers=[number],
        anyone=Answer(somebody, ring_secs),
        host=host,
        port=port,
        on_moment=_teller(wav),
    )

    async def call() -> None:
        if call_in is not None:
            await emulator.call_in(from_, to or number, call_in, somebody)

    try:
        asyncio.run(_run(emulator, call))
    except OSError as problem:
        echo(f"Cannot listen on {host}:{port}: {problem.strerror}", err=True)
        raise typer.Exit(1) from None


async def _run(emulator: TwilioEmulator, begin: Callable[[], Awaitable[None]]) -> None:
    """Run until a signal comes; `begin` is awaited once the emulator listens."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with emulator:
        for variable, value in emulator.environment().items():
            echo(f"{variable}={value}")
        await begin()
        await stop.wait()
        await _hang_up_all(emulator)


async def _hang_up_all(emulator: TwilioEmulator) -> None:
    live = [call for call in emulator.calls if not call.state.is_over]
    for call in live:
        call.hang_up("network")
    if live:
        endings = [asyncio.create_task(call.settled()) for call in live]
        await asyncio.wait(endings, timeout=GOODBYE_SECS)


def _teller(wav: Path | None) -> Callable[[EmulatedCall, Moment], None]:
    def tell(call: EmulatedCall, moment: Moment) -> None:
        detail = "  ".join(f"{name}={value}" for name, value in moment.detail.items())
        secs = call.record.secs(moment)
        echo(f"{call.sid[:8]}  {secs:8.3f} s  {moment.kind:<16}  {detail}".rstrip())
        is_over = moment.kind in list(CallState) and CallState(moment.kind).is_over
        if wav is not None and is_over and call.line is not None:
            path = wav / f"{call.sid}.wav"
            call.write_wav(path)
            echo(f"{call.sid[:8]}  written to {path}")

    return tell
